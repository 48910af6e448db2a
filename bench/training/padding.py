"""Share of padding in batches, and the time that a step waits for its batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from training import watch
from training.speech import speech_plan
from training.table import Line, line
from training.translation import tokens_of, translation_plan
from training.workbench import BATCH, GROUPED, REPOSITORY, SENTENCES, Bench, model_of


def padding(bench: Bench) -> Iterator[list[Line]]:
    """The share of padding in the frames of an epoch, and the share of a step's time that it waits for its batch."""
    noisy = {"speed": [0.9, 1.0, 1.1], "gain": [-6, 6]}
    short = {"window": "short", "full_windows": 0.0}
    nodes = {
        "fixed": {**short, "per_device_train_batch_size": BATCH},
        "filled": {**short, "batch_seconds": 72.0},
        "of-like-lengths": {**short, "per_device_train_batch_size": BATCH, **GROUPED},
        "augmented": {**short, "per_device_train_batch_size": BATCH, "augment": noisy},
    }
    plan = speech_plan(bench, nodes)
    yield from _waste(bench, plan, "whisper, short windows", nodes)
    plan, nodes = demo_plan(bench, noisy)
    yield from _waste(bench, plan, "ctc of the demo", nodes)
    longer, _ = tokens_of(bench, translation_plan(bench, {}))
    nodes = {
        "fixed": {"max_steps": 175, "per_device_train_batch_size": SENTENCES},
        "filled": {"max_steps": 175, "batch_tokens": round(SENTENCES * longer)},
        "of-like-lengths": {"max_steps": 175, "batch_tokens": round(SENTENCES * longer), **GROUPED},
    }
    if bench.smoke:
        nodes = {name: {**settings, "max_steps": 8} for name, settings in nodes.items()}
    yield from _waste(bench, translation_plan(bench, nodes), "marian", nodes)


def demo_plan(bench: Bench, noisy: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The demo's recogniser, trained from scratch for an epoch."""
    demo = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text(encoding="utf-8"))
    clean = {**demo["corpora"]["spoken-clean-train"], "size": 64 if bench.smoke else 1500}
    size = demo["experiments"]["spoken-numbers"]["models"]["base"]["per_device_train_batch_size"]
    shared = {"train": "untrained", "num_train_epochs": 1}
    nodes = {
        "fixed": {**shared, "per_device_train_batch_size": size},
        "filled": {**shared, "batch_seconds": 2.5 * size},
        "augmented": {**shared, "per_device_train_batch_size": size, "augment": dict(noisy)},
    }
    config = {
        "corpora": {"clean": clean, "dev": {**clean, "split": "dev", "size": 8}},
        "experiments": {
            "ctc": {
                "task": "asr",
                "languages": ["en"],
                "data": {"train": "clean", "dev": {"d": "dev"}},
                "models": {
                    "untrained": demo["experiments"]["spoken-numbers"]["models"]["untrained"]
                    | {"data": {"train": "clean"}},
                    **nodes,
                },
            }
        },
    }
    return bench.prepare(config, "ctc/untrained"), nodes


def _waste(bench: Bench, plan: Any, what: str, nodes: Mapping[str, Any]) -> Iterator[list[Line]]:
    lines = []
    for name in nodes:
        steps = bench.ours(model_of(plan, name))[0]
        steady = steps[min(3, len(steps) // 2) :]
        spent = steady[-1]["ended"] - steady[0]["began"]
        waited = sum(step["waited"] for step in steady)
        wasted = 100 * (1 - watch.share(steps, "filled", "room"))
        name = name.replace("-", " ")
        if name != "augmented":
            lines.append(line(f"{what}, {name}: padding", wasted, None, "% of the source", "≤", 10))
        each = f"{1000 * spent / len(steady):.0f} ms a step"
        lines.append(
            line(f"{what}, {name}: waiting for batches ({each})", 100 * waited / spent, None, "% of a step", "≤", 5)
        )
    yield lines
