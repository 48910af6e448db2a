"""A batch of examples -> the model's inputs in microbatches, with the counts of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from consomme.families.vocabulary import special_ids
from consomme.train.microbatches import PASS, microbatches

if TYPE_CHECKING:
    from consomme.families.base import Family
    from consomme.train.examples import Example


class Collator:
    """Pads each microbatch with `Family.collate`. Returns {"microbatches": inputs of each, "counts": counts of the batch}.
    Counts are part of the batch because batches may come from worker processes.

    short: cut each window to the longest example of its microbatch; full: the share of batches with the full window
    instead; ctc: add labels without special tokens and feature lengths, for CTC on the encoder; per_pass: cost of a
    forward pass, see `microbatches`; room: largest padded size of a microbatch, in seconds or tokens."""

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
        tokenizer = getattr(processor, "tokenizer", processor)
        self.special = special_ids(tokenizer) if ctc else None
        self.per_pass, self.room = per_pass, room

    def __call__(self, examples: Sequence[Example], labels: Sequence[Sequence[int]] | None = None) -> dict[str, Any]:
        """labels: of the whole batch, where `examples` are one rank's part of it, perhaps none."""
        from consomme.train.losses import IGNORED

        if labels is None:
            labels = [e["labels"] for e in examples]
        short = self.short and draw(labels) >= self.full
        cut = self._cut(examples, full=self.family.windows and not short)
        made = [self._piece([examples[i] for i in rows], short) for rows in cut]
        counts = {
            "utterances": len(examples),
            "seconds": sum(e["seconds"] for e in examples),
            "tokens": sum(len(e["labels"]) for e in examples),
            "labels": sum(int((batch["labels"] != IGNORED).sum()) for batch, _ in made),  # those with a loss
            "filled": sum(len(e["features"]) for e in examples),  # frames or tokens of the source, without padding
            "room": sum(room for _, room in made),  # the same with padding
            "timestamps": sum(e.get("timed", False) for e in examples),
            "prompts": sum(len(e.get("earlier", ())) > 0 for e in examples),
            "cut_prompts": sum(e.get("cut", False) for e in examples),
        }
        return {"microbatches": [batch for batch, _ in made], "counts": counts}

    def _cut(self, examples: Sequence[Example], full: bool) -> list[np.ndarray]:
        """The rows of each microbatch. full: whether each row takes the full window."""
        if not examples:
            return []
        lengths, room = np.array([[len(e["features"])] for e in examples]), self.room
        if self.family.task == "asr":  # transcripts are short; room is in seconds of audio: convert it to frames
            room = room and room * lengths.sum() / sum(e["seconds"] for e in examples)
            if full:
                lengths[:] = self.processor.feature_extractor.nb_max_frames
        else:  # both sides of a translation count
            lengths = np.hstack([lengths, [[len(e["labels"])] for e in examples]])
        return microbatches(lengths, self.per_pass, room)

    def _piece(self, examples: Sequence[Example], short: bool) -> tuple[dict[str, Any], int]:
        """The inputs of a microbatch, and its frames or tokens of the source with padding."""
        features, labels = [e["features"] for e in examples], [e["labels"] for e in examples]
        lengths = [len(f) for f in features]
        window = {"frames": self.family.window(max(lengths))} if short else {}
        earlier = {"earlier": [e.get("earlier", ()) for e in examples]} if any("earlier" in e for e in examples) else {}
        batch: dict[str, Any] = dict(self.family.collate(self.processor, features, labels, **window, **earlier))
        if self.special is not None:
            batch |= self._for_ctc(labels, lengths, self.special)
        longest = batch["input_features"].shape[-1] if self.family.windows else max(lengths)
        return batch, longest * len(lengths)

    def _for_ctc(
        self, labels: Sequence[Sequence[int]], lengths: Sequence[int], special: Collection[int]
    ) -> dict[str, Any]:
        import torch

        from consomme.families.settings import padded
        from consomme.train.losses import IGNORED

        said = [[int(token) for token in label if int(token) not in special] for label in labels]
        return {"ctc_labels": padded(said, IGNORED), "lengths": torch.tensor(lengths)}


def draw(labels: Sequence[Sequence[int]]) -> float:
    """A number from 0 to 1 that depends on the batch's labels alone: the same in every process."""
    text = b"".join(np.asarray(label, dtype=np.int64).tobytes() for label in labels)
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) / 2**32
