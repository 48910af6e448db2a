"""What a text can become: the tokens of a tokenizer, and their ids beside the size of a model."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any


def spellable(tokenizer: Any) -> dict[str, int]:
    """Token -> id of all that a text can become: every token but the special ones; the unknown token, and one that stands
    for a space, are among them."""
    special = _special(tokenizer)
    return {token: number for token, number in tokenizer.get_vocab().items() if token not in special}


@lru_cache(maxsize=8)
def _special(tokenizer: Any) -> frozenset[str]:
    """The special tokens, those that only the tokenizer's own file marks as such among them."""
    kept = {tokenizer.unk_token, getattr(tokenizer, "word_delimiter_token", None)} - {tokenizer.eos_token}
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return frozenset({*tokenizer.all_special_tokens, *added} - kept)


@lru_cache(maxsize=8)
def special_ids(tokenizer: Any) -> frozenset[int]:
    """The ids in labels that are no text: of special tokens, the unknown one among them, and of timestamps."""
    named = tokenizer.convert_tokens_to_ids(sorted(_special(tokenizer)))
    return frozenset({*named, *tokenizer.all_special_ids, *getattr(tokenizer, "timestamps", ())})


@lru_cache(maxsize=8)
def _names(tokenizer: Any) -> re.Pattern[str]:
    names = sorted({*_special(tokenizer), tokenizer.unk_token} - {None}, key=len, reverse=True)
    return re.compile("|".join(re.escape(name) for name in names if len(name) > 1) or "(?!)")


def beyond(tokenizer: Any, size: int) -> str | None:
    """Which token of a text has an id that a model of `size` tokens doesn't know; None if there is none."""
    token, number = max(spellable(tokenizer).items(), key=lambda item: item[1], default=("", -1))
    if number < size:
        return None
    return f"its tokenizer gives '{token}' the id {number}, and the model knows only the ids 0 to {size - 1}"


def names_special(tokenizer: Any, text: str) -> bool:
    """Whether the name of a special token, such as </s>, is in a text. A tokenizer would take it for that token."""
    return bool(_names(tokenizer).search(text))


def spelled(tokenizer: Any, text: str, side: str = "text") -> list[int]:
    """The token ids of a text that `names_special`, without special tokens around it: such a name is spelled, and never
    becomes that token. side: the tokenizer's argument, text or text_target."""
    ids = tokenizer(**{side: text}, add_special_tokens=False, split_special_tokens=True).input_ids
    vocabulary, ordinary = tokenizer.get_vocab(), set(spellable(tokenizer).values())
    found: list[int] = []
    for number in ids:
        # to a unigram model the name is one of its pieces
        letters = [number] if number in ordinary else tokenizer.convert_ids_to_tokens(number)
        found += [
            vocabulary.get(letter, tokenizer.unk_token_id) if isinstance(letter, str) else letter for letter in letters
        ]
    return found
