"""The training examples: features and labels by key, augmented on demand; what can't be learnt from is left out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from consomme.common.errors import ConsommeError
from consomme.common.log import say
from consomme.train.augment import Augmenter
from consomme.train.sampler import Key

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.data.prepared import Rows
    from consomme.families.base import Family

UNKNOWN = 0.01  # share of the labels' tokens above which unknown ones are reported
TOO_SHORT, TOO_LONG = "transcript longer than its frames", "labels longer than the decoder's positions"


class Example(TypedDict):
    """features: [time, bins], [samples] or [tokens]; labels: token ids; seconds: of audio, 0 for text."""

    features: np.ndarray
    labels: Sequence[int]
    seconds: float


@dataclass(frozen=True)
class Corpus:
    """One training corpus as the model sees it.

    features, labels: of all its rows; lengths: frames or tokens of each row; usable: numbers of the rows to train on;
    left_out: reason -> number of rows; room: how many labels each row has room for, 0 where that doesn't matter;
    languages: of the experiment; unknown: share of the labels' tokens that the tokenizer doesn't know, 0 to 1; labelled:
    whether labels are looked at, which are empty otherwise."""

    rows: Rows
    ids: Sequence[str]
    features: Sequence[np.ndarray]
    labels: Sequence[Sequence[int]]
    lengths: np.ndarray
    seconds: np.ndarray
    usable: np.ndarray
    left_out: Mapping[str, int]
    room: np.ndarray
    languages: Sequence[str]
    unknown: float = 0.0
    labelled: bool = True

    @property
    def longer(self) -> np.ndarray:
        """The longer of features and labels of each row [rows], for text."""
        return np.maximum(self.lengths, [len(label) for label in self.labels])


class Examples(Dataset[Example]):
    """Examples by key (turn, corpus, row)."""

    def __init__(
        self, family: Family, processor: Any, corpora: Mapping[str, Corpus], augmenter: Augmenter | None = None
    ) -> None:
        self.family, self.processor, self.corpora, self.augmenter = family, processor, corpora, augmenter

    def __len__(self) -> int:
        return sum(len(corpus.usable) for corpus in self.corpora.values())

    def __getitem__(self, index: Key) -> Example:
        turn, name, row = index
        corpus = self.corpora[name]
        example = Example(features=corpus.features[row], labels=corpus.labels[row], seconds=float(corpus.seconds[row]))
        if self.augmenter is None:
            return example
        augmenter, generator = self.augmenter, self.augmenter.generator(turn, name, corpus.ids[row])
        together = self._together(augmenter, name, row, generator) if augmenter.others else [row]
        if len(together) > 1 or augmenter.source or "source" in augmenter.encode:
            source = original = self._source(corpus, together)
            for change in augmenter.source:
                source = change(source, generator)
            if len(together) > 1 or source is not original or "source" in augmenter.encode:
                front = corpus.rows.tag(row)
                example["features"] = self._features(augmenter, f"{front}{source}" if front else source, generator)
        for change in augmenter.features:
            example["features"] = change(example["features"], generator)
        if len(together) > 1 or "target" in augmenter.encode:
            example["labels"] = self._labels(augmenter, corpus, together, generator)
        example["seconds"] = float(np.sum(corpus.seconds[together]))
        return example

    def _together(self, augmenter: Augmenter, name: str, row: int, generator: np.random.Generator) -> list[int]:
        """The rows that make one example: `row`, and those drawn to follow it as far as the whole fits the model."""
        corpus = self.corpora[name]
        number, those = self._companions[name].of(row)
        drawn = [row, *(those(augmenter.others(number, generator)) if augmenter.others else ())]
        return next(drawn[:n] for n in range(len(drawn), 0, -1) if n == 1 or self._fits(augmenter, corpus, drawn[:n]))

    def _fits(self, augmenter: Augmenter, corpus: Corpus, together: Sequence[int]) -> bool:
        seconds = float(np.sum(corpus.seconds[together]))
        window, rate = augmenter.longest, corpus.rows.sampling_rate
        if seconds > (augmenter.seconds or np.inf):
            return False
        if window and rate and round(seconds * rate) > window:
            return False
        try:
            if self.family.task != "asr":
                source = f"{corpus.rows.tag(together[0])}{self._source(corpus, together)}"
                self.family.features(self.processor, source)
            labels = self.family.labels(self.processor, self._target(corpus, together), corpus.languages)
        except ConsommeError:  # more tokens than the tokenizer's limit
            return False
        if self.family.objective != "ctc":
            return len(labels) <= corpus.room[together[0]]
        # a subsampling that rounds up gives the parts a frame more than the whole
        return needed(labels, True) <= corpus.room[together].sum() - (len(together) - 1)

    def _source(self, corpus: Corpus, together: Sequence[int]) -> np.ndarray | str:
        """What is heard, or read but for the word that marks made sentences: that one isn't for augmentation."""
        if self.family.task != "asr":
            return " ".join(corpus.rows.untagged[row] for row in together)
        sources = [corpus.rows.audio(row) for row in together]
        return sources[0] if len(sources) == 1 else np.concatenate(sources)

    def _target(self, corpus: Corpus, together: Sequence[int]) -> str:
        return " ".join(corpus.rows.targets[row] for row in together) if corpus.labelled else ""

    def _features(self, augmenter: Augmenter, source: np.ndarray | str, generator: np.random.Generator) -> np.ndarray:
        if (encode := augmenter.encode.get("source")) and isinstance(source, str):
            with suppress(ConsommeError):  # cut so finely that it has more tokens than the model has positions
                return np.asarray(encode(source, generator), dtype=np.int64)
        return self.family.features(self.processor, source)

    def _labels(
        self, augmenter: Augmenter, corpus: Corpus, together: Sequence[int], generator: np.random.Generator
    ) -> Sequence[int]:
        text = self._target(corpus, together)
        if encode := augmenter.encode.get("target"):
            with suppress(ConsommeError):
                labels = encode(text, generator)
                if len(labels) <= corpus.room[together[0]]:
                    return labels
        if len(together) == 1:
            return corpus.labels[together[0]]
        return self.family.labels(self.processor, text, corpus.languages)

    @cached_property
    def _companions(self) -> dict[str, Companions]:
        return {name: Companions(corpus) for name, corpus in self.corpora.items()}


class Companions:
    """The usable rows of a corpus by speaker: those that may follow a row, which are the same speaker's where one is
    named and all where none is."""

    def __init__(self, corpus: Corpus) -> None:
        self.speakers = corpus.rows.speakers
        self.rows: dict[str | None, list[int]] = {}
        for row in sorted(map(int, corpus.usable)):
            self.rows.setdefault(self.speakers[row], []).append(row)

    def of(self, row: int) -> tuple[int, Callable[[Sequence[int]], list[int]]]:
        """How many may follow `row`, and which of them have the given numbers, from 0."""
        rows = self.rows[self.speakers[row]]
        own = bisect_left(rows, row)  # is not among them
        return len(rows) - 1, lambda numbers: [rows[n + (n >= own)] for n in numbers]


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
    labelled: bool = True,
    hybrid: bool = False,
) -> Corpus:
    """Read a prepared corpus for training. fastest: the largest factor of speed perturbation, which shortens; labelled:
    whether the training looks at labels; hybrid: whether an encoder-decoder's labels have to fit CTC's frames too.
    ConsommeError if labels are looked at and the corpus has none.

    The features are those of the whole corpus, whatever the share of it that is trained on: the runs of a sweep over
    shares have one cache."""
    from consomme.data.features import features_of

    for corpus, _, _ in rows.parts():
        if labelled and corpus.about.get("missing"):
            raise ConsommeError(
                f"data.train: {corpus.name} has no {corpus.about['missing']} side, which this training looks at: only a CTC "
                "student with distil.weight 1 needs no labels; else have a model write them (a corpus of source relabelled)"
            )
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
    targets = rows.targets if labelled else [""] * len(ids)
    for i in chosen:
        try:
            labels[i] = np.asarray(family.labels(processor, targets[i], languages), dtype=np.int32)
        except ConsommeError:  # the family says so of a text that has more tokens than the tokenizer's limit
            reasons[TOO_LONG] = reasons.get(TOO_LONG, 0) + 1
            continue
        fitting.append(i)
    chosen = np.array(fitting, dtype=np.int64)
    unknown = unknown_share([labels[i] for i in chosen], processor)
    # only what is trained on is measured: a row that the share leaves aside has no labels
    shortened = np.floor(lengths[chosen] / fastest).astype(np.int64)
    room = np.zeros(len(ids), np.int64)
    room[chosen] = rooms(family, model, chosen, shortened)
    fits = np.array([needed(labels[i], family.objective == "ctc") <= room[i] for i in chosen], dtype=bool)
    if not fits.all():
        reason = TOO_SHORT if family.objective == "ctc" else TOO_LONG
        reasons[reason] = reasons.get(reason, 0) + int((~fits).sum())
    chosen, shortened = chosen[fits], shortened[fits]
    if hybrid and len(chosen):
        special = set(getattr(processor, "tokenizer", processor).all_special_ids)
        frames = family.output_frames(model, torch.as_tensor(np.maximum(shortened, 1))).numpy()
        said = [[token for token in labels[i].tolist() if token not in special] for i in chosen]
        fits = np.array([needed(s, True) <= f for s, f in zip(said, frames, strict=True)], dtype=bool)
        if not fits.all():
            reasons[TOO_SHORT] = reasons.get(TOO_SHORT, 0) + int((~fits).sum())
        chosen = chosen[fits]
    seconds = np.asarray(rows.seconds) if family.task == "asr" else np.zeros(len(ids))
    return Corpus(rows, ids, features, labels, lengths, seconds, chosen, reasons, room, languages, unknown, labelled)


def unknown_share(labels: Sequence[np.ndarray], processor: Any) -> float:
    """The share, 0 to 1, of the tokens in `labels` that stand for text which the tokenizer can't spell."""
    tokenizer = getattr(processor, "tokenizer", processor)
    unknown = getattr(tokenizer, "unk_token_id", None)
    # byte-level tokenizers spell everything, and some call their end of text unknown
    if unknown is None or unknown in (tokenizer.eos_token_id, tokenizer.pad_token_id):
        return 0.0
    total = sum(map(len, labels))
    return sum(int(np.count_nonzero(row == unknown)) for row in labels) / total if total else 0.0


def needed(labels: Sequence[int], ctc: bool) -> int:
    """How many places `labels` [n] take: one each, and for CTC one more between two equal ones."""
    return len(labels) + (int(np.sum(np.diff(labels) == 0)) if ctc else 0)


def rooms(family: Family, model: PreTrainedModel, chosen: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """How many places for labels each of the rows `chosen` [n] has: for CTC its output frames, else the decoder's
    positions. lengths: of the features of each chosen row."""
    if not len(chosen):
        return np.zeros(0, np.int64)
    if family.objective != "ctc":
        return np.full(len(chosen), positions(model))
    return family.output_frames(model, torch.as_tensor(np.maximum(lengths, 1))).numpy()


def positions(model: PreTrainedModel) -> int:
    """How many tokens the decoder has positions for."""
    for name in ("max_target_positions", "max_position_embeddings"):
        limit = getattr(model.config, name, None)
        if limit:
            return int(limit)
    return np.iinfo(np.int64).max


def much_unknown(corpora: Mapping[str, Corpus]) -> dict[str, float]:
    """Corpus -> the share of unknown tokens in its labels, 0 to 1, where it is above `UNKNOWN`."""
    return {name: round(corpus.unknown, 4) for name, corpus in corpora.items() if corpus.unknown > UNKNOWN}


def report_left_out(corpora: Mapping[str, Corpus]) -> dict[str, dict[str, int]]:
    """Say what was left out, corpus -> reason -> rows, and what the tokenizer can't spell; ConsommeError if nothing
    remains of a corpus."""
    for name, share in much_unknown(corpora).items():
        say(
            f"{name}: {100 * share:.1f} % of its labels are unknown tokens: the tokenizer can't spell the text (capital "
            "letters for small ones, signs that it doesn't have), and the model learns to write <unk>; give the corpus "
            "another normaliser, or a CTC checkpoint a new tokenizer (from: {..., tokenizer: {type: characters}})"
        )
    for name, corpus in corpora.items():
        for reason, count in corpus.left_out.items():
            say(f"{name}: {count} left out of training: {reason}")
        if not len(corpus.usable):
            why = "; ".join(f"{reason}: {count}" for reason, count in corpus.left_out.items()) or "it has no rows"
            raise ConsommeError(f"data.train: {name}: no row is left to train on ({why})")
    return {name: dict(corpus.left_out) for name, corpus in corpora.items() if corpus.left_out}
