"""The origin of a model, written to provenance.json in its folder.

Equal inputs give equal bytes, so it contains no time, no host, and no paths except those in the settings."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import consomme
from consomme.common import content
from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import hash_file, read_json, write_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.model_files import forget_code, inherited

NAME = "provenance.json"
WEIGHTS = "model.safetensors"
RECORDS = (NAME, content.NAME)
UNFINISHED = ("diverged", "stopped")  # entries of a training that has not reached its end
PACKAGES = (
    "ctranslate2",
    "datasets",
    "jiwer",
    "numpy",
    "pyarrow",
    "sacrebleu",
    "safetensors",
    "sentencepiece",
    "tokenizers",
    "torch",
    "transformers",
)


def write_provenance(job: Job, folder: Path, **more: Any) -> dict[str, Any]:
    """Write `folder`/provenance.json for the model that `job` has just made there, the last step of making one; what its configs
    name of code to run is removed first. Returns its content.

    more: entries of the stage, such as `chosen=...`; ValueError for a name that is used already."""
    spec = job.spec
    forget_code(folder)
    record = {
        "verb": "from" if spec["stage"] == "start" else spec["stage"],
        "digest": spec["digest"],
        "label": spec.get("label", {}),
        "task": spec["task"],
        "languages": spec.get("languages", []),
        "seed": spec.get("seed"),
        "settings": spec["settings"],
        "train": spec.get("train") or {},
        "share": spec.get("share"),
        "dev": spec.get("dev") or {},
        "corpora": {n: read_json(p / "prepared.json")["fingerprint"] for n, p in job.labelled("corpus").items()},
        "parents": _models(job, "parent"),
        "teachers": _models(job, "teacher"),
        "references": _models(job, "reference"),
        "versions": versions(),
        "weights": hash_weights(folder),
        # what is made of the model starts anew where this file changes: it tells of all that is inherited
        "files": digest(_inherited_files(folder), 32),
    }
    if found := _inherited_lineage(job, more.get("chosen")):
        record["lineage"] = found
    taken = sorted(set(record) & set(more))
    if taken:
        raise ValueError(f"provenance has these entries already: {', '.join(taken)}")
    record.update(more)
    write_json(folder / NAME, record)
    return record


def contents(job: Job) -> dict[str, Any]:
    """Everything that the result of a job on models depends on, except the code: the digest of its settings, and the
    contents of its parents, its references and its development corpora."""
    return {
        "digest": job.spec["digest"],
        "parents": [[name, model_content(path)] for name, path in job.labelled("parent").items()],
        "references": [[name, model_content(path)] for name, path in job.labelled("reference").items()],
        "dev": {n: read_json(p / "prepared.json")["fingerprint"] for n, p in job.labelled("corpus").items()},
    }


def unfinished(models: Mapping[str, Path], kinds: Sequence[str] = UNFINISHED) -> dict[str, str]:
    """Name -> `diverged at step N` or `stopped at step N`, for each model whose training diverged or was stopped by its sweep.
    ConsommeError if none is left."""
    found = {}
    for name, path in models.items():
        record = read_json(path / NAME) if (path / NAME).is_file() else {}
        if why := next((kind for kind in kinds if record.get(kind)), None):
            found[name] = f"{why} at step {record[why]['step']}"
    listed = ", ".join(f"{name} {why}" for name, why in found.items())
    if found and len(found) == len(models):
        raise ConsommeError(f"nothing is left to average: {listed}")
    if found:
        say(f"left out: {listed}")
    return found


def lineage(folder: Path | str) -> dict[str, Any]:
    """The oldest ancestor to which a model's layers can be traced through training, averaging and pruning: {"weights":
    the ancestor's hash, "layers": {side: the ancestor's layers that are left, from 1}}. A side that isn't named has all
    layers. "neurons", if present, is a hash of the neurons removed. A model without a record is its own ancestor."""
    path = Path(folder) / NAME
    record = read_json(path) if path.exists() else {}
    if record.get("lineage"):
        return record["lineage"]
    return {"weights": weights_hash(folder), "layers": {}}


def _inherited_lineage(job: Job, chosen: Any) -> dict[str, Any] | None:
    """The common lineage of the chosen parents, with the layers and neurons that this job pruned removed; None if their
    lineages differ."""
    chosen = chosen if isinstance(chosen, Mapping) else {}
    parents = job.labelled("parent")
    taken = [name for name in chosen.get("ingredients") or [] if name in parents] or list(parents)
    found = [lineage(parents[name]) for name in taken]
    if not found or any(other != found[0] for other in found):
        return None
    layers = dict(found[0]["layers"])
    for side, plan in (chosen.get("layers") or {}).items():
        before = layers.get(side)
        layers[side] = [before[n - 1] for n in plan["kept"]] if before else list(plan["kept"])
    neurons = found[0].get("neurons")
    if "width" in chosen:
        neurons = digest([neurons, chosen["width"]["gone"]])
    return {"weights": found[0]["weights"], "layers": layers, **({"neurons": neurons} if neurons else {})}


def versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that can change a result; imports none of them."""
    found = {"python": platform.python_version(), "consomme": consomme.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def weights_hash(folder: Path | str) -> str:
    """The hash of a model's weights: from its provenance.json, else computed from its files."""
    record = Path(folder) / NAME
    known = read_json(record).get("weights") if record.exists() else None
    return known or hash_weights(folder)


def model_content(folder: Path) -> dict[str, Any]:
    """What a model is, by content: the hash of its weights, and of each file that what is made of it inherits: config,
    processor or tokenizer. Weights alone don't tell what a model says."""
    return {
        "weights": weights_hash(folder),
        "files": _inherited_files(folder),
    }


def _inherited_files(folder: Path) -> list[list[str]]:
    return [[name.as_posix(), hash_file(folder / name)] for name in inherited(folder)]


def hash_weights(folder: Path | str) -> str:
    """`hash_file` of model.safetensors; if there is none (exports), of all files and their names, records left out."""
    folder = Path(folder)
    if (folder / WEIGHTS).exists():
        now = (folder / WEIGHTS).stat()
        return _hashed(folder / WEIGHTS, now.st_size, now.st_mtime_ns)
    found, records = hashlib.blake2b(digest_size=16), [folder / name for name in RECORDS]
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p not in records):
        found.update(f"{path.relative_to(folder).as_posix()} {hash_file(path)}\n".encode())
    return found.hexdigest()


@cache
def _hashed(path: Path, size: int, modified: int) -> str:
    """Cached, because a job needs the hash more than once."""
    return hash_file(path)


def _models(job: Job, kind: str) -> list[dict[str, str]]:
    models = job.labelled(kind)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # hashes gigabytes for models without provenance
        return [
            {"name": name, "weights": found}
            for name, found in zip(models, pool.map(weights_hash, models.values()), strict=True)
        ]
