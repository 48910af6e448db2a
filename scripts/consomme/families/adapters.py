"""Checkpoints with an adapter for each language, as MMS is published (Pratap et al. 2023).

Beside the weights, each language has a file of small layers and an output layer, and a vocabulary of its own: vocab.json
holds language -> token -> id. A model here is for one language: its adapter goes into the weights and its vocabulary
alone remains, so that whatever is made of the model keeps both, and the stock classes load it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError, nearest
from consomme.common.files import write_json
from consomme.common.languages import spelled_as_in
from consomme.common.model_files import config, json_mapping, refuse_links_out
from consomme.common.tensor_files import header

VOCABULARY, TOKENIZER, WEIGHTS = "vocab.json", "tokenizer_config.json", "model.safetensors"
SHOWN = 20  # languages that a message lists


def vocabularies(source: Path) -> dict[str, Any]:
    """Language -> token -> id; empty for a checkpoint with one vocabulary, or none."""
    path = source / VOCABULARY
    found = json_mapping(path) if path.is_file() else {}
    return found if found and all(isinstance(inner, dict) for inner in found.values()) else {}


def language_of(source: Path, languages: Sequence[str]) -> str:
    """The language that a checkpoint with several is used for: the experiment's, else the one that its tokenizer names.
    ConsommeError if it is none of the checkpoint's."""
    known = vocabularies(source)
    language = spelled_as_in(known, languages[0]) if languages else _own_language(source)
    if language not in known:
        shown = ", ".join(list(known)[:SHOWN]) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
        what = (
            f"knows no '{language}'{nearest(language, known)}"
            if language
            else "has several languages, and none is named"
        )
        raise ConsommeError(f"languages: {source} {what}; allowed: {shown}")
    return language


def adapter_of(source: Path, languages: Sequence[str]) -> str | None:
    """The name of the file with the adapter for the experiment's language; None where the weights have it already."""
    language = language_of(source, languages)
    has_layers = config(source).get("adapter_attn_dim") is not None
    if language == _own_language(source) and not (has_layers and (source / _file(language)).is_file()):
        return None
    if not has_layers:
        raise ConsommeError(
            f"languages: '{language}' given, and the weights in {source} are for '{_own_language(source)}': its config.json "
            "has no adapter_attn_dim, so there are no adapters for other languages"
        )
    return _file(language)


def put_in(source: Path, folder: Path, languages: Sequence[str]) -> str:
    """Make the copy in `folder` of the checkpoint in `source` a model of one language. Returns what was done."""
    from safetensors.torch import load_file, save_file

    known, language, file = vocabularies(source), language_of(source, languages), adapter_of(source, languages)
    settings = json_mapping(folder / TOKENIZER) if (folder / TOKENIZER).is_file() else {}
    if settings.get("target_lang") != language:  # ids of tokens that were added to another language's vocabulary
        settings.pop("added_tokens_decoder", None)
        (folder / "added_tokens.json").unlink(missing_ok=True)
    write_json(folder / TOKENIZER, {**settings, "target_lang": language})
    write_json(folder / VOCABULARY, {language: known[language]})
    if file is None:
        return f"its vocabulary for '{language}'"
    if not (source / file).is_file():
        raise ConsommeError(
            f"languages: '{language}' given, and there is no {file} in {source}: copy it from where the checkpoint was published"
        )
    refuse_links_out(source, [source / file], str(source))
    header(source / file, str(source))
    weights, adapter = load_file(folder / WEIGHTS), load_file(source / file)
    strange = sorted(adapter.keys() - weights.keys())
    if strange:
        raise ConsommeError(f"{source / file} does not fit the weights beside it: {', '.join(strange[:3])}")
    weights |= {name: tensor.to(weights[name].dtype) for name, tensor in adapter.items()}
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    write_json(folder / "config.json", {**config(folder), "vocab_size": len(weights["lm_head.weight"])})
    return f"the adapter and the vocabulary for '{language}'"


def _own_language(source: Path) -> str:
    """The language that the tokenizer's files name; empty if they name none."""
    path = source / TOKENIZER
    return (json_mapping(path).get("target_lang") if path.is_file() else None) or ""


def _file(language: str) -> str:
    return f"adapter.{language}.safetensors"
