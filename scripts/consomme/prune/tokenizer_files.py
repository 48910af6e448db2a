"""The files of a tokenizer with fewer tokens.

Two layouts are known: tokenizer.json of the tokenizers library (byte pairs or a unigram model), and SentencePiece models
beside a vocab.json that numbers their pieces. The tokens that go are always ordinary pieces. Special tokens, codes of
languages, single characters and bytes stay, so that whatever could be written before still can be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_json

BYTE = re.compile("<0x[0-9A-F]{2}>")
CODE = re.compile(">>.+<<")  # Marian's target languages
SENTENCEPIECE = ("source.spm", "target.spm", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
NUMBERED = ("vocab.json", "added_tokens.json")  # token -> id
# keys of config.json and generation_config.json whose values are ids, lists of them, or mappings to them
IDS = re.compile(r".*_token_ids?|(begin_)?suppress_tokens|(lang|task)_to_id|(bad|force)_words_ids")
PAIRS = "forced_decoder_ids"  # [place, id]


@dataclass(frozen=True)
class Pieces:
    """The pieces that may go -> their ids; and the pieces that a piece may have been merged from, none where pieces are not
    merged."""

    ids: Mapping[str, int]
    parts: Callable[[str], Iterable[str]]


def pieces(folder: Path, tokenizer: Any) -> Pieces:
    """The ordinary pieces of a checkpoint's tokenizer. ConsommeError for a layout that isn't known."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return _of_tokenizers(json.loads(backend.to_str()))
    if getattr(tokenizer, "separate_vocabs", False):
        raise ConsommeError("vocabulary: source and target have a vocabulary each, which can't be trimmed")
    models = [_read(folder / name) for name in SENTENCEPIECE if (folder / name).is_file()]
    if not models or not (folder / "vocab.json").is_file():
        raise ConsommeError(
            f"vocabulary: {folder}: its tokenizer can't be trimmed; it needs a tokenizer.json, or SentencePiece models "
            "and a vocab.json"
        )
    return _of_sentencepiece(models, read_json(folder / "vocab.json"), set(tokenizer.all_special_tokens))


def staying(known: Pieces, used: Iterable[int], size: int) -> list[int]:
    """The ids that stay, ascending, of a model of `size` tokens: all but the ordinary pieces that are neither used, nor a
    single character or byte, nor what such a piece is merged from."""
    used, stay = set(used), set[str]()
    waiting = [piece for piece, number in known.ids.items() if number in used or len(piece) == 1 or BYTE.match(piece)]
    while waiting:
        piece = waiting.pop()
        if piece in known.ids and piece not in stay:
            stay.add(piece)
            waiting += known.parts(piece)
    gone = {number for piece, number in known.ids.items() if piece not in stay}
    return [number for number in range(size) if number not in gone]


def rewrite(folder: Path, tokenizer: Any, new: Mapping[int, int], size: int) -> None:
    """Rewrite the files of the checkpoint in `folder` that name ids. tokenizer: as it was; new: id -> new id of the tokens
    that stay, of `size` tokens."""
    vocabulary = {name: read_json(folder / name) for name in NUMBERED if (folder / name).is_file()}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        _write_tokenizers(folder, json.loads(backend.to_str()), new)
    else:
        gone = {piece for piece, number in vocabulary["vocab.json"].items() if number not in new}
        for path in (folder / name for name in SENTENCEPIECE):
            if path.is_file():
                path.write_bytes(_without(_read(path), gone))
    for name, numbers in vocabulary.items():
        write_json(folder / name, {token: new[number] for token, number in numbers.items() if number in new})
    path = folder / "tokenizer_config.json"
    about = read_json(path) if path.is_file() else {}
    if added := about.get("added_tokens_decoder"):
        write_json(path, about | {"added_tokens_decoder": {str(new[int(n)]): token for n, token in added.items()}})
    for path in (folder / "config.json", folder / "generation_config.json"):
        if path.is_file():
            write_json(path, renumbered(read_json(path), new, size))


def renumbered(settings: Mapping[str, Any], new: Mapping[int, int], size: int) -> dict[str, Any]:
    """What a config holds, for another vocabulary: sizes (the old one is `size`), and ids, of which lists lose those that
    are gone."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key.endswith("vocab_size") and value == size:
            found[key] = len(new)
        elif key == PAIRS and value:
            found[key] = [[place, new.get(number, number)] for place, number in value]
        elif IDS.fullmatch(key):
            found[key] = _moved(value, new)
        else:
            found[key] = renumbered(value, new, size) if isinstance(value, dict) else value
    return found


def _moved(value: Any, new: Mapping[int, int]) -> Any:
    if isinstance(value, dict):
        return {key: _moved(one, new) for key, one in value.items()}
    if isinstance(value, list):
        inner = [_moved(one, new) for one in value if isinstance(one, list) or one in new]
        return [one for one in inner if one != []]
    return new.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value


# -- tokenizer.json ------------------------------------------------------------------------------------------------------
def _of_tokenizers(about: Mapping[str, Any]) -> Pieces:
    model = about["model"]
    kept = {token["content"] for token in about["added_tokens"]} | {model.get("unk_token")}
    if model["type"] == "Unigram":
        ids = {piece: i for i, (piece, _) in enumerate(model["vocab"]) if i != model["unk_id"]}
    elif model["type"] == "BPE":
        ids = model["vocab"]
    else:
        raise ConsommeError(f"vocabulary: a tokenizer of type {model['type']} can't be trimmed; possible: BPE, Unigram")
    parts: dict[str, list[str]] = {}
    for one, other in model.get("merges", ()):
        parts.setdefault(one + other, []).extend((one, other))
    return Pieces({p: i for p, i in ids.items() if p not in kept}, lambda piece: parts.get(piece, ()))


def _write_tokenizers(folder: Path, about: dict[str, Any], new: Mapping[int, int]) -> None:
    """tokenizer.json, and merges.txt where there is one. A SentencePiece model beside them goes: it would still have all
    pieces."""
    model = about["model"]
    if model["type"] == "Unigram":
        model["unk_id"] = new[model["unk_id"]]
        model["vocab"] = [piece for i, piece in enumerate(model["vocab"]) if i in new]
    else:
        stay = {piece: new[number] for piece, number in model["vocab"].items() if number in new}
        model["vocab"] = stay
        model["merges"] = [[a, b] for a, b in model["merges"] if a in stay and b in stay and a + b in stay]
        if (folder / "merges.txt").is_file():
            lines = [f"{a} {b}\n" for a, b in model["merges"]]
            (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(lines), encoding="utf-8")
    for token in about["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber_processors(about["post_processor"], new)
    write_json(folder / "tokenizer.json", about | {"padding": None, "truncation": None})
    for name in SENTENCEPIECE:
        (folder / name).unlink(missing_ok=True)


def _renumber_processors(part: Any, new: Mapping[int, int]) -> None:
    """The ids that post-processors of the tokenizers library put around a text, in place."""
    if isinstance(part, list):
        for one in part:
            _renumber_processors(one, new)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key == "ids":
                part[key] = [new[number] for number in value]
            elif key in ("sep", "cls"):
                part[key] = [value[0], new[value[1]]]
            else:
                _renumber_processors(value, new)


# -- SentencePiece -------------------------------------------------------------------------------------------------------
def _read(path: Path) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    found = sentencepiece_model_pb2.ModelProto()  # ty: ignore[missing-attribute]
    found.ParseFromString(path.read_bytes())
    return found


def _of_sentencepiece(models: list[Any], vocabulary: Mapping[str, int], special: set[str]) -> Pieces:
    ids: dict[str, int] = {}
    merged: set[str] = set()
    for model in models:
        kinds = type(model).SentencePiece
        ordinary = {p.piece for p in model.pieces if p.type in (0, kinds.NORMAL)} - special
        ids |= {p: vocabulary[p] for p in ordinary if p in vocabulary and not CODE.fullmatch(p)}
        if model.trainer_spec.model_type == type(model.trainer_spec).BPE:
            merged |= ordinary

    def parts(piece: str) -> list[str]:
        halves = ((piece[:n], piece[n:]) for n in range(1, len(piece)) if piece in merged)
        return [half for pair in halves if merged.issuperset(pair) for half in pair]

    return Pieces(ids, parts)


def _without(model: Any, gone: set[str]) -> bytes:
    kept = [p for p in model.pieces if p.piece not in gone]
    del model.pieces[:]
    model.pieces.extend(kept)
    model.trainer_spec.vocab_size = len(kept)
    model.DiscardUnknownFields()  # such as samples of how texts were cut, which SentencePiece tries when it loads
    return model.SerializeToString()
