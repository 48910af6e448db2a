"""A batch of examples as the model's inputs, and what it holds, counted before any device is involved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from consomme.families.windows import fitting

if TYPE_CHECKING:
    from consomme.families.base import Family
    from consomme.train.examples import Example


class Collator:
    """Pads with `Family.collate`. `counts` travels with the batch, so that worker processes need not be asked.

    short: whether windows are as short as their batch allows, but for a share `full` of the batches; ctc: whether CTC on
    the encoder needs the labels without special tokens, and the lengths of the features."""

    def __init__(
        self, family: Family, processor: Any, *, short: bool = False, full: float = 0.0, ctc: bool = False
    ) -> None:
        self.family, self.processor, self.short, self.full = family, processor, short, full
        self.special = set(getattr(processor, "tokenizer", processor).all_special_ids) if ctc else None

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        features = [e["features"] for e in examples]
        lengths = [len(f) for f in features]
        window = {}
        if self.short and draw(examples) >= self.full:
            window = fitting(self.family, True, max(lengths))
        labels = [e["labels"] for e in examples]
        batch: dict[str, Any] = dict(self.family.collate(self.processor, features, labels, **window))
        if self.special is not None:
            batch |= self._for_ctc(labels, lengths)
        room = batch["input_features"].shape[-1] if self.family.windows else max(lengths)
        batch["counts"] = {
            "utterances": len(examples),
            "seconds": sum(e["seconds"] for e in examples),
            "tokens": sum(len(label) for label in labels),
            "filled": sum(lengths),  # frames or tokens of the source
            "room": room * len(lengths),  # the same with the padding
        }
        return batch

    def _for_ctc(self, labels: Sequence[Sequence[int]], lengths: Sequence[int]) -> dict[str, Any]:
        import torch

        from consomme.families.settings import padded
        from consomme.train.losses import IGNORED

        said = [[int(token) for token in label if int(token) not in self.special] for label in labels]
        return {"ctc_labels": padded(said, IGNORED), "lengths": torch.tensor(lengths)}


def draw(examples: Sequence[Example]) -> float:
    """A number from 0 to 1 that is the batch's own: the same in whichever process it is made, another for other rows."""
    text = b"".join(np.asarray(e["labels"], dtype=np.int64).tobytes() for e in examples)
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) / 2**32
