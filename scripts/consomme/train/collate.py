"""A batch of examples as the model's inputs, in microbatches, and what it holds, counted before any device is involved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from consomme.families.windows import fitting
from consomme.train.microbatches import PASS, microbatches

if TYPE_CHECKING:
    from consomme.families.base import Family
    from consomme.train.examples import Example


class Collator:
    """Pads with `Family.collate`, each of a batch's microbatches for itself: {"microbatches": inputs of each, "counts": of the batch}.
    `counts` travels with the batch, so that worker processes need not be asked.

    short: whether windows are as short as their piece allows, but for a share `full` of the batches; ctc: whether CTC on
    the encoder needs the labels without special tokens, and the lengths of the features; per_pass: what a pass costs,
    see `microbatches`; room: seconds or tokens that a microbatch has room for."""

    def __init__(
        self,
        family: Family,
        processor: Any,
        *,
        short: bool = False,
        full: float = 0.0,
        ctc: bool = False,
        per_pass: float = PASS["cpu"],
        room: float | None = None,
    ) -> None:
        self.family, self.processor, self.short, self.full = family, processor, short, full
        self.special = set(getattr(processor, "tokenizer", processor).all_special_ids) if ctc else None
        self.per_pass, self.room = per_pass, room

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        short = self.short and draw(examples) >= self.full
        # full windows are all of one length
        cut = [range(len(examples))] if self.family.windows and not short else self._cut(examples)
        made = [self._piece([examples[i] for i in rows], short) for rows in cut]
        counts = {
            "utterances": len(examples),
            "seconds": sum(e["seconds"] for e in examples),
            "tokens": sum(len(e["labels"]) for e in examples),
            "filled": sum(len(e["features"]) for e in examples),  # frames or tokens of the source
            "room": sum(room for _, room in made),  # the same with the padding
        }
        return {"microbatches": [batch for batch, _ in made], "counts": counts}

    def _cut(self, examples: Sequence[Example]) -> list[np.ndarray]:
        """The rows of each piece."""
        lengths, room = np.array([[len(e["features"])] for e in examples]), self.room
        if self.family.task == "asr":  # what is said takes little beside the sound, of which there is room for seconds
            room = room and room * lengths.sum() / sum(e["seconds"] for e in examples)
        else:  # a text's translation is padded like it
            lengths = np.hstack([lengths, [[len(e["labels"])] for e in examples]])
        return microbatches(lengths, self.per_pass, room)

    def _piece(self, examples: Sequence[Example], short: bool) -> tuple[dict[str, Any], int]:
        """The inputs, and the frames or tokens of the source that they have room for."""
        features, labels = [e["features"] for e in examples], [e["labels"] for e in examples]
        lengths = [len(f) for f in features]
        window = fitting(self.family, True, max(lengths)) if short else {}
        batch: dict[str, Any] = dict(self.family.collate(self.processor, features, labels, **window))
        if self.special is not None:
            batch |= self._for_ctc(labels, lengths, self.special)
        longest = batch["input_features"].shape[-1] if self.family.windows else max(lengths)
        return batch, longest * len(lengths)

    def _for_ctc(self, labels: Sequence[Sequence[int]], lengths: Sequence[int], special: set[int]) -> dict[str, Any]:
        import torch

        from consomme.families.settings import padded
        from consomme.train.losses import IGNORED

        said = [[int(token) for token in label if int(token) not in special] for label in labels]
        return {"ctc_labels": padded(said, IGNORED), "lengths": torch.tensor(lengths)}


def draw(examples: Sequence[Example]) -> float:
    """A number from 0 to 1 that is the batch's own: the same in whichever process it is made, another for other rows."""
    text = b"".join(np.asarray(e["labels"], dtype=np.int64).tobytes() for e in examples)
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) / 2**32
