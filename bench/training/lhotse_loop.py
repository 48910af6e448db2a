"""The peer: a plain torch loop over the batches of lhotse's DynamicBucketingSampler, padded to the same window as in our
trainings: python bench/lhotse_loop.py RECORD.json --help

Features come from the cache of our trainings in results/cache; lhotse gets the durations only."""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path

import watch


def main() -> None:
    """Train, and write the timed steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=Path, help="file for the timed steps")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="of audio in a batch, with padding")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--buckets", type=int, default=10)
    parser.add_argument("--fused", action="store_true", help="fused AdamW instead of torch's default")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    import torch
    from lhotse import CutSet, MonoCut
    from lhotse.dataset import DynamicBucketingSampler

    from consomme.data.features import features_of
    from consomme.data.prepared import Rows
    from consomme.evaluate.identity import processor_key
    from consomme.families import family_of, load
    from consomme.train.stage import quiet

    quiet()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    family = family_of(given.model)
    processor, model = family.processor(given.model, ["en"]), load(given.model).train()
    rows = Rows.open({"corpus": given.corpus})
    key = processor_key(given.model, family, ["en"])
    features = features_of(family, processor, rows, Path("results/cache"), key)
    labels = [family.labels(processor, text, ["en"]) for text in rows.targets]
    cuts = CutSet.from_cuts(MonoCut(str(i), 0, float(s), 0) for i, s in enumerate(rows.seconds)).repeat(
        preserve_id=True
    )
    sampler = DynamicBucketingSampler(
        cuts, max_duration=given.seconds, shuffle=True, num_buckets=given.buckets, buffer_size=2000
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=given.fused)
    mixed = torch.autocast("cpu", torch.bfloat16) if given.precision == "bfloat16" else contextlib.nullcontext()
    steps: list[dict[str, float]] = []
    batches = iter(sampler)
    for _ in range(given.steps):
        began = time.perf_counter()
        chosen = [int(cut.id.partition("_")[0]) for cut in next(batches)]
        longest = max(len(features[i]) for i in chosen)
        batch = family.collate(
            processor, [features[i] for i in chosen], [labels[i] for i in chosen], frames=family.window(longest)
        )
        waited = time.perf_counter() - began
        with mixed, family.fitted(model, batch):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        steps.append(
            {
                "began": began,
                "waited": waited,
                "ended": time.perf_counter(),
                "utterances": len(chosen),
                "seconds": float(sum(rows.seconds[i] for i in chosen)),
                "filled": sum(len(features[i]) for i in chosen),
                "room": len(chosen) * batch["input_features"].shape[-1],
            }
        )
    watch.write(given.record, steps)


if __name__ == "__main__":
    main()
