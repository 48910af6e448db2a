"""A paragraph for the methods section of a paper, written from what was done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from consomme.common.files import read_json
from consomme.report.evidence.claims import Comparison
from consomme.report.lineage import is_run, swept_nodes
from consomme.report.numbers import short
from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records, flat, versions
from consomme.report.trials import studies
from consomme.report.words.before import before

# settings of a training that every reader asks for -> how they are said; the others stand in the page's tables
SAID = {
    "per_device_train_batch_size": "batches of {}",
    "batch_seconds": "batches of {} s",
    "batch_tokens": "batches of {} tokens",
    "gradient_accumulation_steps": "gradients of {} batches together",
    "optim": "{}",
    "learning_rate": "learning rate {}",
    "lr_scheduler_type": "schedule {}",
    "warmup_steps": "{} warm-up steps",
    "label_smoothing_factor": "label smoothing {}",
    "precision": "{}",
}
DULL = {("gradient_accumulation_steps", 1), ("label_smoothing_factor", 0), ("warmup_steps", 0)}
UNTOLD = ("choose_on", "choose")  # said in other words, or by the choice itself


def methods(outcomes: Outcomes, records: Records, comparisons: Sequence[Comparison]) -> str:
    """Models, data, settings, decoding, metrics, tests and software, in sentences."""
    parts = [*_models(outcomes, records), *_sets(outcomes), *_decoding(outcomes), *_evidence(outcomes, comparisons)]
    return " ".join([*parts, *filter(None, [_software(records)])])


def made(outcomes: Outcomes, records: Records, names: Sequence[str]) -> str:
    """How some models were made, a sentence each."""
    return " ".join(_models(outcomes, {key: record for key, record in records.items() if key[0] in names}))


def _models(outcomes: Outcomes, records: Records) -> Iterator[str]:
    """A sentence for each node with a record in the first replicate."""
    replicate, swept = outcomes.replicates[0], swept_nodes(outcomes)
    told: set[str] = set()
    for model in outcomes.models:
        node, record = model["node"], records.get((model["name"], replicate))
        best = model.get("run") == "best"
        if model["replicate"] != replicate or record is None or best or node in told:
            continue
        told.add(node)
        settings, several = record.get("settings") or {}, swept.get(node, []) if is_run(model) else []
        parents = _listed(model.get("parents") or [])
        if model["verb"] in ("from", "start"):
            yield _start(outcomes, node, record, settings)
        elif model["verb"] == "train":
            yield _trained(outcomes, node, parents, record, settings, several)
        elif model["verb"] == "average":
            yield f"{node} is an average of {parents} (method {settings.get('method', 'uniform')}{_with(settings, ('method',))})."
        elif model["verb"] == "prune":
            yield f"{node} was pruned from {parents} ({_removed(record) or _with(settings).removeprefix(', ')})."
        else:
            yield f"{node} was exported from {parents} ({_with(settings).removeprefix(', ')})."


def _start(outcomes: Outcomes, node: str, record: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    size = f", {short(record['parameters'])} parameters" if record.get("parameters") else ""
    family = f"{record['family']}, " if record.get("family") else ""
    return f"{node} is the starting point ({family}{_with(settings).removeprefix(', ')}{size}){before(record, outcomes.before.get(node, []))}."


def _trained(
    outcomes: Outcomes,
    node: str,
    parents: str,
    record: Mapping[str, Any],
    settings: Mapping[str, Any],
    several: Sequence[str],
) -> str:
    corpora = list(record.get("train") or {})
    data = f" on {_listed(corpora)}{_size(outcomes, corpora)}" if corpora else ""
    steps = f" for {record['steps']} steps" if record.get("steps") else ""
    said = [
        words.format(settings[key])
        for key, words in SAID.items()
        if settings.get(key) not in (None, "") and (key, settings[key]) not in DULL
    ]
    distilled = f", distilled from {_listed([t['name'] for t in record['teachers']])}" if record.get("teachers") else ""
    study = studies(outcomes).get((node, outcomes.replicates[0]))
    keys = {key for m in outcomes.models if m["name"] in several for key in m.get("swept") or {}}
    runs = f" in {len(several)} runs that differ in {_listed(sorted(keys - {'trial'}))}" if several else ""
    if study:
        runs += f", found by Optuna {study['sampler']['optuna']} ({study['sampler']['name']}) in generations of {study['batch']}"
    runs += "; of the first:" if several else ":"
    return (
        f"{node} was trained from {parents}{data}{steps}{distilled}{runs} {', '.join(said)}."
        if said
        else (f"{node} was trained from {parents}{data}{steps}{distilled}.")
    )


def _sets(outcomes: Outcomes) -> Iterator[str]:
    """The sets of the first replicate."""
    for split, words in (("dev", "Development sets, which all choices rest on"), ("test", "Test sets")):
        corpora = outcomes.spec["sets"][outcomes.replicates[0]].get(split, {})
        if corpora:
            sets = (f"{name}{_size(outcomes, corpora[name])}" for name in outcomes.sets(split) if name in corpora)
            yield f"{words}: {', '.join(sets)}."


def _size(outcomes: Outcomes, corpora: Sequence[str]) -> str:
    """Rows and hours of corpora, in brackets; empty where they aren't known."""
    folders = [outcomes.spec["corpora"].get(name) for name in corpora]
    files = [Path(folder) / "prepared.json" for folder in folders if folder]
    found = [read_json(file) for file in files if file.is_file()]
    if not found or len(found) < len(corpora):
        return ""
    seconds, rows = sum(f.get("seconds", 0.0) for f in found), sum(f["rows"] for f in found)
    length = f", {seconds / 3600:.1f} h" if seconds >= 360 else f", {seconds / 60:.1f} min" if seconds else ""
    return f" ({rows:,} {'utterances' if outcomes.spec['task'] == 'asr' else 'sentence pairs'}{length})"


def _decoding(outcomes: Outcomes) -> Iterator[str]:
    settings = {k: v for k, v in (outcomes.spec.get("decoding") or {}).items() if v is not None}
    if settings:
        yield f"Decoding: {', '.join(f'{key} {value}' for key, value in flat(settings))}."


def _evidence(outcomes: Outcomes, comparisons: Sequence[Comparison]) -> Iterator[str]:
    yield f"Metrics: {', '.join(outcomes.signature(m) for m in outcomes.metrics)}; intervals are 95 % intervals by the bootstrap t over units."
    claims = [c for c in comparisons if c.declared]
    if claims:
        tests = dict.fromkeys(f"{c.hypothesis} by {c.method}" for c in claims)
        count = f"{len(claims)} claims were" if len(claims) > 1 else "One claim was"
        yield f"{count} declared and tested on the test sets ({'; '.join(tests)}), with Holm's adjustment."
    if len(outcomes.replicates) > 1:
        yield f"All was done {len(outcomes.replicates)} times, under the seeds {_listed(outcomes.replicates)}."


def _software(records: Records) -> str:
    found = versions(records)
    return f"Software: {found}." if found else ""


def _removed(record: Mapping[str, Any]) -> str:
    """The layers that went, by part."""
    layers = (record.get("chosen") or {}).get("layers") or {}
    return ", ".join(
        f"without layers {_listed(list(map(str, plan['dropped'])))} of the {part}"
        for part, plan in layers.items()
        if isinstance(plan, Mapping) and plan.get("dropped")
    )


def _with(settings: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """Settings that are not empty, each behind a comma."""
    kept = {k: v for k, v in settings.items() if v not in (None, {}, []) and k not in (*without, *UNTOLD)}
    return "".join(f", {key} {value}" for key, value in flat(kept)) if kept else ""


def _listed(words: Sequence[str]) -> str:
    shown = [*words[:4], f"{len(words) - 4} more"] if len(words) > 5 else list(words)
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))
