"""The training examples: features and labels by key, augmented on demand. Rows that can't be trained on are left out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from consomme.common.errors import ConsommeError, Unusable
from consomme.common.log import say
from consomme.data.arrays import one_thread
from consomme.evaluate.left_out import SHOWN, first
from consomme.families.base import BEYOND_WINDOW
from consomme.families.codes import unknown_languages
from consomme.families.positions import REASONS, positions
from consomme.families.vocabulary import special_ids
from consomme.train.augment import Augmenter
from consomme.train.sampler import Key

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.data.arrays import Arrays
    from consomme.data.prepared import Rows
    from consomme.families.base import Family

UNKNOWN = 0.01  # share of the labels' tokens above which unknown ones are reported
TOO_SHORT, TOO_LONG = "transcript longer than its frames", REASONS["target"]


class Example(TypedDict):
    """One training example."""

    features: np.ndarray  # [time, bins], [samples] or [tokens]
    labels: Sequence[int]  # token ids
    seconds: float  # of audio, 0 for text
    timed: NotRequired[bool]  # whether the labels have timestamps
    earlier: NotRequired[Sequence[int]]  # token ids before the start token
    cut: NotRequired[bool]  # whether the earlier text is longer than what is left of the positions


# an example, its turn, corpus and rows, how many times as long as theirs its audio is -> what it gets beside the words
More = Callable[[Example, int, str, Sequence[int], float], None]


@dataclass(frozen=True)
class Corpus:
    """One training corpus as the model sees it. Fields by row cover all rows, usable or not."""

    rows: Rows
    ids: Sequence[str]
    features: Arrays
    labels: Sequence[Any]  # token ids of each row, int [tokens]
    lengths: np.ndarray  # frames or tokens of each row [rows]
    seconds: np.ndarray  # of audio of each row [rows], 0 for text
    usable: np.ndarray  # numbers of the rows to train on
    left_out: Mapping[str, Sequence[str]]  # reason -> ids of the rows
    room: np.ndarray  # most labels of each row [rows], 0 for rows that are not trained on
    languages: Sequence[tuple[str, ...]]  # of each row
    unknown: float = 0.0  # share of unknown tokens in the labels, 0 to 1
    labelled: bool = True  # whether the training uses labels; they are empty otherwise

    @property
    def longer(self) -> np.ndarray:
        """The longer of features and labels of each row [rows], for text."""
        return np.maximum(self.lengths, [len(label) for label in self.labels])


class Examples(Dataset[Example]):
    """Examples by key (turn, corpus, row)."""

    def __init__(
        self,
        family: Family,
        processor: Any,
        corpora: Mapping[str, Corpus],
        augmenter: Augmenter | None = None,
        more: More | None = None,
    ) -> None:
        self.family, self.processor, self.corpora = family, processor, corpora
        self.augmenter, self.more = augmenter, more

    def __len__(self) -> int:
        return sum(len(corpus.usable) for corpus in self.corpora.values())

    def __getitem__(self, index: Key) -> Example:
        turn, name, row = index
        corpus = self.corpora[name]
        example = Example(features=corpus.features[row], labels=corpus.labels[row], seconds=float(corpus.seconds[row]))
        together, stretch = [row], 1.0
        if self.augmenter is not None:
            generator = self.augmenter.generator(turn, name, corpus.ids[row])
            together = self._together(self.augmenter, name, row, generator) if self.augmenter.others else [row]
            with one_thread():
                stretch = self._augment(self.augmenter, example, corpus, together, generator)
        if self.more is not None:
            self.more(example, turn, name, together, stretch)
        return example

    def _augment(
        self,
        augmenter: Augmenter,
        example: Example,
        corpus: Corpus,
        together: Sequence[int],
        generator: np.random.Generator,
    ) -> float:
        """Change an example into that of the rows `together`, augmented. Returns how many times as long its audio is as
        theirs."""
        row, stretch = together[0], 1.0
        if len(together) > 1 or augmenter.source or "source" in augmenter.encode:
            source = original = self._source(corpus, together)
            for change in augmenter.source:
                source = change(source, generator)
            if len(together) > 1 or source is not original or "source" in augmenter.encode:
                front = corpus.rows.tag(row)
                with suppress(Unusable):  # changed so that the model can't take it: it stays as it was
                    text = f"{front}{source}" if front else source
                    example["features"] = self._features(augmenter, text, generator, corpus.languages[row])
                    stretch = len(source) / len(original)
        for change in augmenter.features:
            example["features"] = change(example["features"], generator)
        if len(together) > 1 or "target" in augmenter.encode:
            example["labels"] = self._labels(augmenter, corpus, together, generator)
        example["seconds"] = float(np.sum(corpus.seconds[together]))
        return stretch

    def _together(self, augmenter: Augmenter, name: str, row: int, generator: np.random.Generator) -> list[int]:
        """The rows of one example: `row`, then as many of the drawn ones as fit the model."""
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
                self.family.features(self.processor, source, corpus.languages[together[0]])
            labels = self.family.labels(self.processor, self._target(corpus, together), corpus.languages[together[0]])
        except Unusable:  # more tokens than the model has positions for
            return False
        if self.family.objective != "ctc":
            return len(labels) <= corpus.room[together[0]]
        # frame counts are rounded up: each of the separate rows may have one frame more than its part of the whole
        return needed(labels, True) <= corpus.room[together].sum() - (len(together) - 1)

    def _source(self, corpus: Corpus, together: Sequence[int]) -> np.ndarray | str:
        """The joined audio, or the joined source text without the tag of generated sentences, which must not be augmented."""
        if self.family.task != "asr":
            return " ".join(corpus.rows.untagged[row] for row in together)
        sources = [corpus.rows.audio(row) for row in together]
        return sources[0] if len(sources) == 1 else np.concatenate(sources)

    def _target(self, corpus: Corpus, together: Sequence[int]) -> str:
        return " ".join(corpus.rows.targets[row] for row in together) if corpus.labelled else ""

    def _features(
        self,
        augmenter: Augmenter,
        source: np.ndarray | str,
        generator: np.random.Generator,
        languages: Sequence[str],
    ) -> np.ndarray:
        if (encode := augmenter.encode.get("source")) and isinstance(source, str):
            with suppress(Unusable):  # the sampled subwords are more tokens than the model has positions
                return np.asarray(encode(source, generator, languages), dtype=np.int64)
        return self.family.features(self.processor, source, languages)

    def _labels(
        self, augmenter: Augmenter, corpus: Corpus, together: Sequence[int], generator: np.random.Generator
    ) -> Sequence[int]:
        text, languages = self._target(corpus, together), corpus.languages[together[0]]
        if encode := augmenter.encode.get("target"):
            with suppress(Unusable):
                labels = encode(text, generator, languages)
                if len(labels) <= corpus.room[together[0]]:
                    return labels
        if len(together) == 1:
            return corpus.labels[together[0]]
        return self.family.labels(self.processor, text, languages)

    @cached_property
    def _companions(self) -> dict[str, Companions]:
        return {name: Companions(corpus) for name, corpus in self.corpora.items()}


class Companions:
    """The usable rows of a corpus by speaker and language. Rows of the same speaker in the same language may be joined;
    without speakers, all rows in it."""

    def __init__(self, corpus: Corpus) -> None:
        self.speakers = list(zip(corpus.rows.speakers, corpus.languages, strict=True))
        self.rows: dict[tuple[str | None, tuple[str, ...]], list[int]] = {}
        for row in sorted(map(int, corpus.usable)):
            self.rows.setdefault(self.speakers[row], []).append(row)

    def of(self, row: int) -> tuple[int, Callable[[Sequence[int]], list[int]]]:
        """The number of rows that may follow `row`, and a function from their numbers (from 0) to rows."""
        rows = self.rows[self.speakers[row]]
        own = bisect_left(rows, row)  # position of `row`, which is skipped
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
    labels_key: str,
    fastest: float = 1.0,
    labelled: bool = True,
    hybrid: bool = False,
) -> Corpus:
    """Read a prepared corpus for training. ConsommeError if the training uses labels and the corpus has none.

    share: fraction of the rows to train on, 0 to 1; languages: of rows that name none; fastest: the largest factor of speed perturbation, which shortens
    audio; labelled: whether the training uses labels; hybrid: whether an encoder-decoder's labels must also fit CTC's
    frames; processor_key, labels_key: as of `features_of` and `labels_of`.

    Features and labels are computed for the whole corpus, whatever the share, so that the runs of a sweep over shares use one
    cache."""
    from consomme.data.features import features_of
    from consomme.data.labels import labels_of

    for corpus, _, _ in rows.parts():
        if labelled and corpus.about.get("missing"):
            raise ConsommeError(
                f"data.train: {corpus.name} has no {corpus.about['missing']} side, which this training needs: only a CTC "
                "student with distil.weight 1 needs no labels; else let a model write them (a corpus of source relabelled)"
            )
    ids = list(rows.ids)
    chosen = np.arange(len(ids))
    if share < 1:
        kept = set(rows.share(share, share_seed).ids)
        chosen = np.array([i for i, identity in enumerate(ids) if identity in kept], dtype=np.int64)
    spoken = rows.languages(languages)
    features = features_of(family, processor, rows, cache, processor_key, languages)
    lengths = features.lengths
    labels: Sequence[Any] = [np.zeros(0, np.int32)] * len(ids)
    unwritten: Mapping[int, tuple[str, str]] = {}
    reasons: dict[str, list[str]] = {}

    def leave_out(row: int, reason: str) -> None:
        reasons.setdefault(reason, []).append(ids[row])

    unheard = family.unheard(model, lengths) | {i: reason for i, (reason, _) in features.problems.items()}
    unheard |= {i: BEYOND_WINDOW for i, length in enumerate(lengths.tolist()) if family.long(processor, length)}
    unknown_languages(family, processor, spoken)  # raises here if the languages are wrong
    if labelled:
        labels = written = labels_of(family, processor, rows, cache, labels_key, languages)
        unwritten = written.problems
    reasons_of = {i: reason for i, (reason, _) in unwritten.items()} | unheard
    for i in map(int, chosen if reasons_of else ()):
        if i in reasons_of:
            leave_out(i, reasons_of[i])
    chosen = np.array([i for i in map(int, chosen) if i not in reasons_of], dtype=np.int64)
    unknown = unknown_share((labels[i] for i in chosen), processor)
    # rows outside the share have no labels and are not checked
    shortened = np.floor(lengths[chosen] / fastest).astype(np.int64)
    room = np.zeros(len(ids), np.int64)
    room[chosen] = rooms(family, model, chosen, shortened)
    fits = np.array([needed(labels[i], family.objective == "ctc") <= room[i] for i in chosen], dtype=bool)
    for i in chosen[~fits]:
        leave_out(i, TOO_SHORT if family.objective == "ctc" else TOO_LONG)
    chosen, shortened = chosen[fits], shortened[fits]
    if hybrid and len(chosen):
        special = special_ids(getattr(processor, "tokenizer", processor))
        frames = family.output_frames(model, torch.as_tensor(np.maximum(shortened, 1))).numpy()
        said = [[token for token in labels[i].tolist() if token not in special] for i in chosen]
        fits = np.array([needed(s, True) <= f for s, f in zip(said, frames, strict=True)], dtype=bool)
        for i in chosen[~fits]:
            leave_out(i, TOO_SHORT)
        chosen = chosen[fits]
    seconds = np.asarray(rows.seconds) if family.task == "asr" else np.zeros(len(ids))
    return Corpus(rows, ids, features, labels, lengths, seconds, chosen, reasons, room, spoken, unknown, labelled)


def unknown_share(labels: Iterable[np.ndarray], processor: Any) -> float:
    """The share, 0 to 1, of unknown tokens in `labels`: text that the tokenizer can't spell."""
    tokenizer = getattr(processor, "tokenizer", processor)
    unknown = getattr(tokenizer, "unk_token_id", None)
    # byte-level tokenizers spell everything, and some use the end of text as unknown token
    if unknown is None or unknown in (tokenizer.eos_token_id, tokenizer.pad_token_id):
        return 0.0
    total = found = 0
    for row in labels:
        total += len(row)
        found += int(np.count_nonzero(row == unknown))
    return found / total if total else 0.0


def needed(labels: Sequence[int], ctc: bool) -> int:
    """The number of places that `labels` [n] need: one each, and for CTC one more between two equal neighbours."""
    return len(labels) + (int(np.sum(np.diff(labels) == 0)) if ctc else 0)


def rooms(family: Family, model: PreTrainedModel, chosen: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The number of places for labels of each of the rows `chosen` [n]: for CTC its output frames, else the decoder's
    positions. lengths: of the features of each chosen row."""
    if not len(chosen):
        return np.zeros(0, np.int64)
    if family.objective != "ctc":
        return np.full(len(chosen), positions(model.config, "target") or np.iinfo(np.int64).max)
    return family.output_frames(model, torch.as_tensor(np.maximum(lengths, 1))).numpy()


def much_unknown(corpora: Mapping[str, Corpus]) -> dict[str, float]:
    """Corpus -> the share of unknown tokens in its labels, 0 to 1, where it is above `UNKNOWN`."""
    return {name: round(corpus.unknown, 4) for name, corpus in corpora.items() if corpus.unknown > UNKNOWN}


def left_out(corpora: Mapping[str, Corpus]) -> dict[str, dict[str, dict[str, Any]]]:
    """Corpus -> reason -> the number of `rows` left out and the ids of the `first`, for the provenance."""
    return {
        name: {reason: {"rows": len(ids), "first": list(ids[:SHOWN])} for reason, ids in corpus.left_out.items()}
        for name, corpus in corpora.items()
        if corpus.left_out
    }


def report_left_out(corpora: Mapping[str, Corpus]) -> None:
    """Log the rows left out and the share of unknown tokens. ConsommeError if a corpus has no row left."""
    for name, share in much_unknown(corpora).items():
        say(
            f"{name}: {100 * share:.1f} % of its labels are unknown tokens: the tokenizer can't spell the text (wrong case, "
            "missing characters), and the model learns to write <unk>; give the corpus "
            "another normaliser, or a CTC checkpoint a new tokenizer (from: {..., tokenizer: {type: characters}})"
        )
    for name, corpus in corpora.items():
        for reason, ids in corpus.left_out.items():
            say(f"{name}: {len(ids)} left out of training: {reason} ({first(ids)})")
        if not len(corpus.usable):
            why = "; ".join(f"{reason}: {len(ids)}" for reason, ids in corpus.left_out.items()) or "it has no rows"
            raise ConsommeError(f"data.train: {name}: no row is left to train on ({why})")
