"""Time of a step with our dropout and with torch's."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from training import watch
from training.table import Line, line
from training.translation import tokens_of, translation_plan
from training.workbench import BATCH, SENTENCES, Bench, model_of

STEPS, START = 40, 4  # steps in all, and first ones that do not count


def dropout(bench: Bench) -> Iterator[list[Line]]:
    """A recogniser of 18 layers and width 64, and the translator of the section translation."""
    steps = 8 if bench.smoke else STEPS
    deep = {"max_steps": steps, "per_device_train_batch_size": BATCH}
    yield _against_torch(bench, deep_plan(bench, deep), "ctc, 18 layers of width 64, 16 utterances: a step")
    longer, _ = tokens_of(bench, translation_plan(bench, {}))
    filled = {"max_steps": steps, "batch_tokens": round(SENTENCES * longer)}
    yield _against_torch(bench, translation_plan(bench, {"node": filled}), "marian, 3 + 3 layers of width 256: a step")


def deep_plan(bench: Bench, settings: Mapping[str, Any]) -> Any:
    """Generated speech, and a deep and narrow recogniser trained on it."""
    clips = {
        "source": "generated",
        "generator": "spoken-numbers",
        "domain": "clean",
        "size": 64 if bench.smoke else 800,
    }
    config = {
        "corpora": {"clips": clips, "dev": {**clips, "split": "dev", "size": 8}},
        "experiments": {
            "deep": {
                "task": "asr",
                "languages": ["en"],
                "data": {"train": "clips", "dev": {"d": "dev"}},
                "models": {
                    "untrained": {"from": {"scratch": {"family": "ctc", "num_hidden_layers": 18, "hidden_size": 64}}},
                    "node": {"train": "untrained", **settings},
                },
            }
        },
    }
    return bench.prepare(config, "deep/untrained")


def _against_torch(bench: Bench, plan: Any, what: str) -> list[Line]:
    found: dict[str, list[float]] = {"ours": [], "torch's": []}
    for _ in range(bench.rounds):
        for name, options in (("ours", ()), ("torch's", ("--torch-dropout",))):
            steps: watch.Steps = bench.ours(model_of(plan, "node"), *options)[0]
            found[name].append(statistics.median(1000 * (s["ended"] - s["began"]) for s in steps[START:]))
    return [line(what, found["ours"], found["torch's"], "ms")]
