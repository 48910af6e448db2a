"""Model cards, with the evidence: a file for each export and for the experiment's last model, which can be its README.md on the
hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from consomme.common.files import write_text
from consomme.report.evidence.claims import Comparison
from consomme.report.lineage import ancestors, final_model, is_run
from consomme.report.numbers import metric_title
from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records
from consomme.report.words.before import trained_before
from consomme.report.words.claims import claim_line
from consomme.report.words.methods import made

PIPELINES = {"asr": "automatic-speech-recognition", "nmt": "translation"}
WHAT = {"asr": "Speech recogniser", "nmt": "Translator"}


def write_cards(
    folder: Path, outcomes: Outcomes, records: Records, scores: pd.DataFrame, comparisons: Sequence[Comparison]
) -> None:
    """Write NAME.md for each model that is handed over, and remove those of an earlier report."""
    names = [m["name"] for m in outcomes.models if m["verb"] == "export" and not is_run(m)]
    names = list(dict.fromkeys([*names, *filter(None, [final_model(outcomes)])]))
    for path in folder.glob("*.md"):
        if path.stem not in {_file(name) for name in names}:
            path.unlink()
    for name in names:
        if (name, outcomes.replicates[0]) in records:
            write_text(folder / f"{_file(name)}.md", card(outcomes, records, scores, comparisons, name))


def _file(name: str) -> str:
    return name.replace("/", "-")


def card(
    outcomes: Outcomes, records: Records, scores: pd.DataFrame, comparisons: Sequence[Comparison], name: str
) -> str:
    """Markdown with the hub's front matter: what the model is, how it was made, what it scores, which claims hold, what it
    isn't, whose it is, how to load it. Of several replicates the first is described."""
    replicate = outcomes.replicates[0]
    record, above = records[name, replicate], ancestors(outcomes, name)
    lineage = [n for n in dict.fromkeys(m["name"] for m in outcomes.models) if n in {name, *above}]
    starts = {n: records[n, replicate] for n in lineage if records.get((n, replicate), {}).get("verb") == "from"}
    own = scores[(scores["model"] == name) & (scores["replicate"] == replicate) & (scores["split"] == "test")]
    own = own[own["metric"].isin(outcomes.metrics)]
    languages = " to ".join(outcomes.spec.get("languages") or record.get("languages") or ())
    several = len(outcomes.replicates) > 1
    parts = [
        _front(outcomes, name, own, starts),
        f"# {outcomes.spec['experiment']}: {name}",
        ", ".join(filter(None, [WHAT[outcomes.spec["task"]], languages])) + ".",
        f"## How it was made\n\n{made(outcomes, records, lineage)}",
        f"## Results\n\n{_table(own)}"
        + ("\n\nOf the first replicate, which this is." if several else "")
        + "\n\nIn brackets the 95 % interval over other test data of this kind.",
    ]
    about = [c for c in comparisons if c.declared and name in (c.model, c.against)]
    if about:
        parts.append(
            "## Claims\n\nDeclared before they were tested:\n\n" + "\n".join(f"- {claim_line(c)}" for c in about)
        )
    parts.append("## Limits\n\n" + "\n".join(f"- {line}" for line in _limits(outcomes, record, starts)))
    parts.append("## Whose it is\n\n" + "\n".join(f"- {line}" for line in _owners(outcomes, starts, records, lineage)))
    if loading := _loading(record):
        parts.append(f"## How to load it\n\n{loading}")
    return "\n\n".join(parts) + "\n"


def _front(outcomes: Outcomes, name: str, own: pd.DataFrame, starts: Mapping[str, Mapping[str, Any]]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=PIPELINES[outcomes.spec["task"]],
            dataset_type=str(row["set"]),
            dataset_name=str(row["set"]),
            dataset_split="test",
            metric_type=str(row["metric"]),
            metric_value=round(float(row["value"]), 2),
        )
        for row in own[own["way"] == ""].to_dict("records")
    ]
    bases = [r["origin"]["hub"] for r in starts.values() if (r.get("origin") or {}).get("hub")]
    licences = {(r.get("card") or {}).get("license") for r in starts.values()} - {None}
    data = ModelCardData(
        language=list(outcomes.spec.get("languages") or ()) or None,
        license=licences.pop() if len(licences) == 1 else None,
        base_model=bases or None,
        pipeline_tag=PIPELINES[outcomes.spec["task"]],
        tags=["consomme"],
        model_name=f"{outcomes.spec['experiment']}-{_file(name)}",
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _table(own: pd.DataFrame) -> str:
    """A row a test set and way of decoding, a column a metric."""
    metrics = list(dict.fromkeys(own["metric"]))
    lines = [
        "| test set | " + " | ".join(metric_title(m) for m in metrics) + " |",
        "| --- |" + " --- |" * len(metrics),
    ]
    for (name, way), rows in own.groupby(["set", "way"], sort=False):
        cells = rows.set_index("metric")
        shown = [
            f"{cells.value[m]:.2f} ({cells.ci_low[m]:.2f} to {cells.ci_high[m]:.2f})" if m in cells.index else ""
            for m in metrics
        ]
        lines.append(f"| {name}{f', {way}' if way else ''} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _limits(outcomes: Outcomes, record: Mapping[str, Any], starts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    sets = ", ".join(outcomes.sets("test"))
    lines = [f"Measured on {sets} alone; nothing is known of other speakers, subjects, languages and recordings."]
    if agreed := record.get("agreement"):
        lines.append(
            f"{agreed['same']} of {agreed['examples']} development rows come out word for word as from the model that it was made of."
        )
    lines += [
        f"Asked {row['how']}, its WER on up to 32 development rows is {row['wer']:.2f}, with {row['empty']} empty answers."
        for row in record.get("asked_otherwise") or ()
    ]
    return [*lines, *trained_before({(name, ""): start for name, start in starts.items()}, outcomes.before)]


def _owners(
    outcomes: Outcomes, starts: Mapping[str, Mapping[str, Any]], records: Records, lineage: Sequence[str]
) -> list[str]:
    lines = []
    for name, start in starts.items():
        if (start.get("settings") or {}).get("scratch"):
            continue
        licence = (start.get("card") or {}).get("license")
        origin = (start.get("origin") or {}).get("hub") or name
        lines.append(f"{origin}: {licence if licence else 'its licence is not known here'}.")
    replicate = outcomes.replicates[0]
    data = dict.fromkeys(c for n in lineage for c in records.get((n, replicate), {}).get("train") or ())
    if data:
        lines.append(
            f"Training data: {', '.join(data)}; its licence is not known here, and may bind what is made of it."
        )
    return lines


def _loading(record: Mapping[str, Any]) -> str:
    """How a program loads it, in a sentence."""
    from consomme.formats import TABLE

    name = (record.get("settings") or {}).get("format", "safetensors")
    return TABLE[name].loading if name in TABLE else ""
