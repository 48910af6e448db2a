"""The training examples: features and labels by key, augmented on demand; what can't be learnt from is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from consomme.common.errors import ConsommeError
from consomme.common.stage import say
from consomme.train.augment import Augmenter
from consomme.train.sampler import Key

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.data.prepared import Rows
    from consomme.families.base import Family


class Example(TypedDict):
    """features: [time, bins], [samples] or [tokens]; labels: token ids; seconds: of audio, 0 for text."""

    features: np.ndarray
    labels: Sequence[int]
    seconds: float


@dataclass(frozen=True)
class Corpus:
    """One training corpus as the model sees it.

    features, labels: of all its rows; lengths: frames or tokens of each row; usable: numbers of the rows to train on;
    left_out: reason -> number of rows."""

    rows: Rows
    ids: Sequence[str]
    features: Sequence[np.ndarray]
    labels: Sequence[Sequence[int]]
    lengths: np.ndarray
    seconds: np.ndarray
    usable: np.ndarray
    left_out: Mapping[str, int]


class Examples(Dataset):
    """Examples by key (turn, corpus, row)."""

    def __init__(
        self, family: Family, processor: Any, corpora: Mapping[str, Corpus], augmenter: Augmenter | None = None
    ) -> None:
        self.family, self.processor, self.corpora, self.augmenter = family, processor, corpora, augmenter

    def __len__(self) -> int:
        return sum(len(corpus.usable) for corpus in self.corpora.values())

    def __getitem__(self, key: Key) -> Example:
        turn, name, row = key
        corpus = self.corpora[name]
        features, labels, seconds = None, corpus.labels[row], float(corpus.seconds[row])
        if self.augmenter:
            generator = self.augmenter.generator(turn, name, corpus.ids[row])
            if self.augmenter.waveform:
                wave = original = corpus.rows.audio(row)
                for change in self.augmenter.waveform:
                    wave = change(wave, generator)
                if wave is not original:  # else the cached features are the right ones
                    features = self.family.features(self.processor, wave)
            if features is None:
                features = corpus.features[row]
            for change in self.augmenter.features:
                features = change(features, generator)
        return {
            "features": corpus.features[row] if features is None else features,
            "labels": labels,
            "seconds": seconds,
        }


def open_corpus(
    family: Family,
    processor: Any,
    model: PreTrainedModel,
    rows: Rows,
    *,
    share: float,
    share_seed: int,
    languages: Sequence[str],
    cache: Path,
    processor_key: str,
    fastest: float = 1.0,
) -> Corpus:
    """Read a prepared corpus for training. fastest: the largest factor of speed perturbation, which shortens.

    The features are those of the whole corpus, whatever the share of it that is trained on: the runs of a sweep over
    shares have one cache."""
    from consomme.data.features import features_of

    ids = list(rows.ids)
    chosen = np.arange(len(ids))
    if share < 1:
        kept = set(rows.share(share, share_seed).ids)
        chosen = np.array([i for i, identity in enumerate(ids) if identity in kept], dtype=np.int64)
    features = features_of(family, processor, rows, cache, processor_key)
    lengths = features.lengths
    labels: list[Sequence[int]] = [()] * len(ids)
    reasons: dict[str, int] = {}
    fitting = []
    family.labels(processor, "", languages)  # an error with no text at all is one of the languages
    targets = rows.targets
    for i in chosen:
        try:
            labels[i] = np.asarray(family.labels(processor, targets[i], languages), dtype=np.int32)
        except ConsommeError:  # the family says so of a text that has more tokens than the tokenizer's limit
            reasons["labels longer than the decoder's positions"] = (
                reasons.get("labels longer than the decoder's positions", 0) + 1
            )
            continue
        fitting.append(i)
    chosen = np.array(fitting, dtype=np.int64)
    # only what is trained on is measured: a row that the share leaves aside has no labels
    shortened = np.floor(lengths[chosen] / fastest).astype(np.int64)
    chosen, more = usable(family, model, chosen, shortened, labels)
    for reason, count in more.items():
        reasons[reason] = reasons.get(reason, 0) + count
    seconds = np.asarray(rows.seconds) if family.task == "asr" else np.zeros(len(ids))
    return Corpus(rows, ids, features, labels, lengths, seconds, chosen, reasons)


def usable(
    family: Family,
    model: PreTrainedModel,
    chosen: np.ndarray,
    lengths: np.ndarray,
    labels: Sequence[Sequence[int]],
) -> tuple[np.ndarray, dict[str, int]]:
    """The row numbers of `chosen` that the objective can learn from, and how many it can't, by reason.

    lengths: of the features of each chosen row. CTC needs a frame for each label and one more between two equal ones;
    a decoder has so many positions and no more."""
    if not len(chosen):
        return chosen, {}
    wanted = np.array([len(labels[i]) for i in chosen])
    if family.objective == "ctc":
        wanted += [int(np.sum(np.diff(labels[i]) == 0)) for i in chosen]
        room = family.output_frames(model, torch.as_tensor(np.maximum(lengths, 1))).numpy()
        reason = "transcript longer than its frames"
    else:
        room = np.full(len(chosen), positions(model))
        reason = "labels longer than the decoder's positions"
    fits = wanted <= room
    return chosen[fits], {reason: int((~fits).sum())} if not fits.all() else {}


def positions(model: PreTrainedModel) -> int:
    """How many tokens the decoder has positions for."""
    for name in ("max_target_positions", "max_position_embeddings"):
        limit = getattr(model.config, name, None)
        if limit:
            return int(limit)
    return np.iinfo(np.int64).max


def report_left_out(corpora: Mapping[str, Corpus]) -> dict[str, dict[str, int]]:
    """Say what was left out, corpus -> reason -> rows; ConsommeError if nothing remains of a corpus."""
    for name, corpus in corpora.items():
        for reason, count in corpus.left_out.items():
            say(f"{name}: {count} left out of training: {reason}")
        if not len(corpus.usable):
            why = "; ".join(f"{reason}: {count}" for reason, count in corpus.left_out.items()) or "it has no rows"
            raise ConsommeError(f"data.train: {name}: no row is left to train on ({why})")
    return {name: dict(corpus.left_out) for name, corpus in corpora.items() if corpus.left_out}
