"""The train stage with timed steps: python bench/training/ours.py RECORD.json [options of python -m consomme.train]

Writes the steps in the form of `watch`. With --flops the training is built but not run, and the steps are the first
batches of an epoch with `flops` (forward and backward, matrix products and convolutions) and `utterances`. With
--torch-dropout, dropout is torch's own."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import watch

from consomme.common.job import Job
from consomme.common.stage import main


def held(batch: dict[str, Any]) -> dict[str, float]:
    """The collator's counts."""
    return batch["counts"]


COUNTED = 10  # batches


def flops(job: Job) -> list[dict[str, float]]:
    """FLOPs and utterances of the first batches of an epoch."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from consomme.families import family_of
    from consomme.train.assemble import assemble
    from consomme.train.spec import parent_of
    from consomme.train.stage import quiet

    quiet()
    parent = parent_of(job)
    with tempfile.TemporaryDirectory() as work:
        trainer = assemble(job, family_of(parent), parent, "cpu", Path(work), 1).trainer
    found = []
    for keys in islice(trainer.parts.batches, COUNTED):
        batch = trainer.data_collator([trainer.train_dataset[key] for key in keys])
        counts = batch["counts"]
        counter = FlopCounterMode(display=False)
        with sdpa_kernel(SDPBackend.MATH), counter:
            for piece in batch["microbatches"]:
                trainer.compute_loss(trainer.model, piece, num_items_in_batch=counts["tokens"]).backward()
        found.append({"flops": counter.get_total_flops(), "utterances": counts["utterances"]})
    torch._dynamo.reset()
    return found


if __name__ == "__main__":
    record, *arguments = sys.argv[1:]
    if "--flops" in arguments:
        arguments.remove("--flops")
        main(lambda job: watch.write(record, flops(job)), "count", arguments)
    else:
        from consomme.train import dropout
        from consomme.train.stage import run

        if "--torch-dropout" in arguments:
            arguments.remove("--torch-dropout")
            dropout.quick = contextlib.nullcontext
        steps = watch.watch(held)
        main(run, "watched", arguments)
        watch.write(record, steps)
