"""The vocabulary: keep the tokens that texts use, and cut the rows of the others out of embeddings and output layer."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError, Unusable
from consomme.common.log import say
from consomme.prune.tokenizer_files import pieces, rewrite, staying

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.data.prepared import Rows
    from consomme.families.base import Family


TABLES = ("shared", "embed_tokens")  # what transformers calls the embeddings of tokens


class Text(NamedTuple):
    """A text of a row."""

    side: str  # source or target
    text: str
    languages: tuple[str, ...]


class Vocabulary(NamedTuple):
    """The vocabulary of a model beside the texts that it is trimmed to."""

    parent: Path
    processor: Any  # of the parent
    spelled: dict[Text, array[int]]  # the token ids of each text
    kept: list[int]  # the ids that stay, ascending
    size: int  # of the whole vocabulary

    @property
    def new(self) -> dict[int, int]:
        """The id of each token that stays -> its new one."""
        return {old: number for number, old in enumerate(self.kept)}


def vocabulary(family: Family, parent: Path, size: int, sets: Iterable[Rows], languages: Sequence[str]) -> Vocabulary:
    """The tokens of a checkpoint that the rows' texts use, in any case of letters, among `size`. languages: of rows that name none. ConsommeError if
    there is nothing to cut."""
    processor = family.processor(parent, languages)
    spelled: dict[Text, array[int]] = {}
    for text in _texts(sets, languages):
        if text not in spelled:
            spelled[text] = array("i", _ids(family, processor, text))
    used = {number for ids in spelled.values() for number in ids}
    kept = staying(pieces(parent, getattr(processor, "tokenizer", processor)), used, size)
    if len(kept) == size:
        raise ConsommeError(f"vocabulary: the texts use all {size} tokens; there is nothing to prune")
    say(f"vocabulary: {len(kept)} of {size} tokens stay; the texts use {len(used)}")
    return Vocabulary(parent, processor, spelled, kept, size)


def no_trimming(family: Family) -> str:
    """Why the vocabulary of a family that isn't `trimmed` stays."""
    from consomme.families import TABLE

    if family.objective == "ctc":
        why = f"'{family.name}' has a CTC head, whose few tokens are not worth trimming"
    else:
        why = f"the tokenizer of '{family.name}' is unknown"
    return f"{why}; possible: {', '.join(name for name, one in TABLE.items() if one.trimmed)}"


def size_of(model: PreTrainedModel) -> int:
    """The number of tokens that a model has rows for."""
    return int(model.get_output_embeddings().weight.shape[0])


def cut(model: PreTrainedModel, kept: Sequence[int]) -> None:
    """Keep these rows of the embeddings and of the output layer of `model`, in place. Tied ones stay tied."""
    import torch
    from torch import nn

    index, size = torch.tensor(kept), size_of(model)
    modules: list[Any] = [m for name, m in model.named_modules() if name.rpartition(".")[2] in TABLES]
    cut_already: dict[int, nn.Parameter] = {}

    def rows(weight: nn.Parameter) -> nn.Parameter:
        if id(weight) not in cut_already:
            fewer = nn.Parameter(weight.detach()[index].clone(), weight.requires_grad)
            cut_already[id(weight)] = cut_already[id(fewer)] = fewer
        return cut_already[id(weight)]

    for module in [*modules, model.get_output_embeddings()]:
        if len(module.weight) not in (size, len(kept)):
            raise ConsommeError(
                f"vocabulary: an embedding has {len(module.weight)} rows and the output layer {size}, so that they can't be "
                "cut alike"
            )
        module.weight = rows(module.weight)
        if getattr(module, "bias", None) is not None:
            module.bias = rows(module.bias)
    bias = getattr(model, "final_logits_bias", None)
    if bias is not None:
        model.final_logits_bias = bias[:, index].clone()


def finish(family: Family, folder: Path, found: Vocabulary, languages: Sequence[str]) -> dict[str, Any]:
    """Rewrite the tokenizer's files and the configs of the checkpoint in `folder`, and spell every text again. Returns what
    was kept, for the provenance. ConsommeError if a text is spelled otherwise than before."""
    new = found.new
    rewrite(folder, getattr(found.processor, "tokenizer", found.processor), new, found.size)
    processor = family.processor(folder, languages)
    for text, ids in found.spelled.items():
        if _ids(family, processor, text) != [new[number] for number in ids]:
            raise ConsommeError(
                f"vocabulary: the trimmed tokenizer spells {text.text[:80]!r} otherwise than that of {found.parent}; its kind "
                "can't be trimmed"
            )
    return {"kept": len(new), "of": found.size, "tokens": digest(found.kept)}


def _texts(sets: Iterable[Rows], languages: Sequence[str]) -> Iterable[Text]:
    for rows in sets:
        sides: Mapping[str, Sequence[str]] = {"target": rows.targets}
        if rows.task == "nmt":
            sides = {"source": rows.sources, **sides}
        spoken = rows.languages(languages)
        for side, texts in sides.items():
            for text, row in zip(texts, spoken, strict=True):
                for written in _cases(text):
                    yield Text(side, written, row)


def _cases(text: str) -> list[str]:
    """A text as it is, in small letters, and with a capital at the head of each word: transcripts often have other letters
    than a pretrained model writes, and a word may stand first in the next sentence. Each also behind a space: so published
    Whisper models begin, and their byte pairs have another token for a word there."""
    cases = (text, text.lower(), " ".join(word[:1].upper() + word[1:] for word in text.split(" ")))
    return [before + case for case in cases for before in ("", " ")]


def _ids(family: Family, processor: Any, text: Text) -> list[int]:
    """The token ids of a text; none if no model can take it."""
    try:
        if text.side == "source":
            return family.features(processor, text.text, text.languages).tolist()
        return list(family.labels(processor, text.text, text.languages))
    except Unusable:
        return []
