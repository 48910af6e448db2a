"""Peak memory by batch size."""

from __future__ import annotations

from collections.abc import Iterator

from training.speech import speech_plan
from training.table import Line, line
from training.workbench import Bench, corpus_of, model_of

SIZES = (4, 8, 16, 32)


def memory(bench: Bench) -> Iterator[list[Line]]:
    """The peak of anonymous memory over an epoch of ours, and over two steps of the script, whose steps are all equal."""
    nodes = {
        f"of-{size}": {
            "window": "short",
            "full_windows": 0.0,
            "max_steps": 16,
            "per_device_train_batch_size": size,
        }
        for size in SIZES
    }
    plan = speech_plan(bench, nodes)
    parent, clips = bench.folder(model_of(plan, "untrained")), bench.folder(corpus_of(plan, "clips"))
    for size in SIZES[: 2 if bench.smoke else None]:
        ours = bench.ours(model_of(plan, f"of-{size}"))[1]
        arguments = ["--model", parent, "--corpus", clips, "--batch", size, "--steps", 2, "--rows", 2 * size]
        peer = bench.peer("seq2seq_trainer.py speech", *arguments)[1]
        yield [line(f"batch of {size}: peak memory", ours.anonymous, peer.anonymous, "MiB")]
