"""Characters as the tokens of a CTC model: the vocabulary, the tokenizer, and the text of each token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.families import keys

BLANK = 0  # id of the padding token, which is CTC's blank


class Settings(Section):
    """Characters as tokens."""

    type: keys.Kind = "characters"


def write_vocabulary(
    folder: Path, settings: Mapping[str, Any], texts: Callable[[], Iterator[str]], family: str
) -> dict[str, int]:
    """Write vocab.json of the characters in the texts to `folder`, which is made where it is not there: token -> id."""
    from consomme.common.files import write_json

    if settings["type"] != "characters":
        raise ConsommeError(f"tokenizer.type: '{settings['type']}' given; allowed for {family}: characters")
    seen: set[str] = set()
    for text in texts():
        seen.update(text)
    characters = sorted(c for c in seen if not c.isspace() and c != "|")
    if not characters:
        raise ConsommeError("tokenizer: the training texts have no characters; check the corpora's text column")
    vocabulary = {t: i for i, t in enumerate(["<pad>", "<unk>", "|", *characters])}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", vocabulary)
    return vocabulary


def tokenizer(vocabulary: Path) -> Any:
    """The stock tokenizer over a vocab.json of `write_vocabulary`."""
    from transformers import Wav2Vec2CTCTokenizer

    return Wav2Vec2CTCTokenizer(
        str(vocabulary),
        bos_token=None,
        eos_token=None,
        unk_token="<unk>",
        pad_token="<pad>",
        word_delimiter_token="|",
        clean_up_tokenization_spaces=False,
    )


def pieces(tokenizer: Any) -> list[str]:
    """Text of each token id: special tokens are empty, the word delimiter is a space."""
    special = set(tokenizer.all_special_tokens) - {tokenizer.word_delimiter_token}
    names = tokenizer.convert_ids_to_tokens(range(max(tokenizer.get_vocab().values()) + 1))
    return ["" if t in special else " " if t == tokenizer.word_delimiter_token else t for t in names]
