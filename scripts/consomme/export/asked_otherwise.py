"""What a Whisper answers when it is asked as the programs ask that it is handed over to: by their defaults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.job import Job
from consomme.common.log import say
from consomme.families.windows import FULL
from consomme.formats import exported_as

if TYPE_CHECKING:
    from consomme.data.prepared import Rows

# faster-whisper and whisper.cpp search with a beam of 5, ask for timestamps, and always give 30 s
WAYS: dict[str, dict[str, Any]] = {
    "as the experiment says": {},
    "in the full window": {"window": FULL},
    "with a beam of 5": {"num_beams": 5},
    "with timestamps, in the full window": {"timestamps": True, "window": FULL},
    "behind a prompt": {"previous_text": True},
}


def asked_otherwise(job: Job, rows: Rows, folder: Path) -> list[dict[str, Any]]:
    """For each way of asking, of an export that has timestamps for its engine: `how`, the word error rate `wer` (percent) and
    the number of `empty` answers to rows that have text. Empty for other models."""
    from consomme.evaluate.deployed import Deployed
    from consomme.evaluate.metrics import metric_named

    if not exported_as(folder):
        return []
    first = Deployed.open(job, {"examples": rows}, folder)
    if not first.running.family.timed or not first.running.processor.tokenizer.timestamps:
        return []
    wer, found = metric_named("wer"), []
    given = {k: v for k, v in (job.spec.get("decoding") or {}).items() if v is not None}
    for how, more in WAYS.items():
        if more == {"window": FULL} and not first.running.window(given).short:
            continue  # it is asked so anyway
        asked = replace(job, spec={**job.spec, "decoding": {**given, **more}})
        deployed = Deployed(
            first.running, {"examples": rows}, asked.spec["languages"], asked.spec["decoding"], job.cache
        )
        texts = deployed.hypotheses("examples").texts
        counted = wer.of_rows(rows.targets, texts, job.spec["normaliser"], rows.written(job.spec["languages"]))
        empty = sum(1 for said, wanted in zip(texts, rows.targets, strict=True) if wanted.strip() and not said.strip())
        found.append({"how": how, "wer": round(float(wer.value(counted.sum(axis=0))), 2), "empty": empty})
        say(f"{how}: WER {found[-1]['wer']:.2f}, {empty} of {len(rows)} answers empty")
    return found
