"""A batch of examples as the model's inputs, and what it holds, counted before any device is involved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consomme.families.base import Family
    from consomme.train.examples import Example


class Collator:
    """Pads with `Family.collate`. `counts` travels with the batch, so that worker processes need not be asked."""

    def __init__(self, family: Family, processor: Any) -> None:
        self.family, self.processor = family, processor

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        features = [e["features"] for e in examples]
        batch: dict[str, Any] = dict(self.family.collate(self.processor, features, [e["labels"] for e in examples]))
        lengths = [len(f) for f in features]
        batch["counts"] = {
            "utterances": len(examples),
            "seconds": sum(e["seconds"] for e in examples),
            "tokens": sum(len(e["labels"]) for e in examples),
            "filled": sum(lengths),  # frames or tokens of the source
            "room": max(lengths) * len(lengths),  # the same with the padding
        }
        return batch
