"""A claim's hash, and what it is about. `spec` is the report's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consomme.common.digest import digest
from consomme.common.evidence import unit_of
from consomme.common.files import read_json
from consomme.register.chain import DIGITS

ALL = ("decoding_digest", "normaliser")  # settings that every claim rests on
OWN = {"rare-words": ("rare_words",), "glossary": ("glossary_content",)}  # metric -> the settings that make it

Claim = Mapping[str, Any]  # model, hypothesis, against, on, metric, margin
Spec = Mapping[str, Any]


def claims_of(spec: Spec) -> list[Claim]:
    """The claims of the configuration: those that are tested, then those on sealed test sets."""
    return [*spec.get("claims", ()), *spec["register"]["claims"]]


def claim_hash(spec: Spec, claim: Claim) -> str:
    """A hash of the claim's words, the experiment's name, and the settings of the test set's corpora."""
    tests = [[content for content, _ in corpora] for corpora in spec["register"]["tests"].get(claim["on"], ())]
    return digest({"experiment": spec["experiment"], "claim": claim, "test": tests}, DIGITS)


def subject(spec: Spec, claim: Claim) -> str:
    """A digest of what the claim's words leave open: which two models stand behind the names in each replicate, how their
    answers are decoded and normalised, what a metric of the configuration's own is, and what counts as independent."""
    models = {(m["name"], str(m["replicate"])): m["digest"] for m in spec["models"]}
    pairs = [[r, *(models.get((claim[side], r), "") for side in ("model", "against"))] for r in replicates(spec)]
    metric = (spec.get("commands") or {}).get(claim["metric"]) or [
        spec.get(key) for key in OWN.get(claim["metric"], ())
    ]
    settings = {key: spec[key] for key in ALL if spec.get(key) is not None}
    if "units" in spec:
        settings["units"] = unit_of(spec["units"], claim["on"])
    return digest({"models": pairs, "metric": metric, **settings})


def rows(spec: Spec, test: str) -> list[str]:
    """Fingerprints of a test set's rows, one for each set of corpora that replicates have under that name; empty for one
    that isn't prepared yet. As the evaluations name them."""
    return [_fingerprint([Path(folder) for _, folder in c]) for c in spec["register"]["tests"].get(test, ())]


def replicates(spec: Spec) -> list[str]:
    """The names of the replicates."""
    return [str(r) for r in spec["replicates"]]


def _fingerprint(folders: list[Path]) -> str:
    files = [folder / "prepared.json" for folder in folders]
    if not all(file.is_file() for file in files):
        return ""
    whole = [read_json(file)["fingerprint"] for file in files]
    return whole[0] if len(whole) == 1 else digest(whole, 32)
