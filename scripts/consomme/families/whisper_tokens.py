"""Whisper's tokens: the special ones, what `generate` has to know of them, what stands before a transcript, new tokenizers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError, nearest
from consomme.families.codes import code_of

END, START, SILENT = "<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"
TASKS = ("<|translate|>", "<|transcribe|>")
PREVIOUS = "<|startofprev|>"
OTHERS = ("<|startoflm|>", PREVIOUS, "<|nospeech|>")
LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")
ENGLISH_ONLY_END = 50256  # the id of END in OpenAI's English-only vocabulary; 50257 in the multilingual one
PREFIX = 4  # START, language, task, SILENT
TICK = 0.02  # seconds between two timestamps


def generation_ids(tokenizer: Any) -> dict[str, Any]:
    """What transformers' `generate` has to know of the tokenizer, by the keys of generation_config.json. ConsommeError if
    the tokenizer lacks a token that every Whisper has."""
    known = tokenizer.get_added_vocab()
    english = english_only(tokenizer)
    spoken = {} if english else {token: number for token, number in known.items() if LANGUAGE.fullmatch(token)}
    needed = [START, SILENT, *([] if english else TASKS)]
    lost = [token for token in needed if token not in known] or (
        [] if english or spoken else ["a language, such as <|en|>"]
    )
    if lost:
        raise ConsommeError(
            f"its tokenizer has no token for {lost[0]}, which Whisper is asked with; copy the tokenizer's files from the "
            "checkpoint that this one was trained from"
        )
    ids: dict[str, Any] = {"is_multilingual": not english, "no_timestamps_token_id": known[SILENT]}
    if PREVIOUS in known:
        ids["prev_sot_token_id"] = known[PREVIOUS]
    if not english:
        ids |= {"lang_to_id": spoken, "task_to_id": {token.strip("<|>"): known[token] for token in TASKS}}
    return ids


def english_only(tokenizer: Any) -> bool:
    return getattr(tokenizer, "english_only", False) or tokenizer.convert_tokens_to_ids(END) == ENGLISH_ONLY_END


def trimmed_english(path: Path) -> bool:
    """Whether the generation config says that the model is English-only: ids say nothing in a trimmed vocabulary."""
    from consomme.common.files import read_json

    file = path / "generation_config.json"
    return file.is_file() and read_json(file).get("is_multilingual") is False


def language_token(tokenizer: Any, languages: Sequence[str]) -> str:
    """The token of the spoken language. Unusable if the tokenizer has none."""
    if not languages:
        raise ConsommeError("languages: whisper needs the spoken language; give its code, such as [en]")
    known = [token.strip("<|>") for token in tokenizer.get_added_vocab() if LANGUAGE.fullmatch(token)]
    return f"<|{code_of(languages[0], known, 'whisper')}|>"


def timestamp(tokenizer: Any, seconds: float) -> int:
    """The id of the token for a time."""
    return tokenizer.timestamps[min(max(round(seconds / TICK), 0), len(tokenizer.timestamps) - 1)]


def segments(tokenizer: Any, ids: Sequence[int]) -> list[tuple[float, float | None, str]]:
    """Start, end and text of each segment of what a model wrote with timestamps; no end where it wrote none."""
    found: list[tuple[float, float | None, str]] = []
    start, written = 0.0, list[int]()
    for token in ids:
        if token not in tokenizer.timestamps:
            written.append(token)
            continue
        time = round((token - tokenizer.timestamps.start) * TICK, 2)
        if text := tokenizer.decode(written, skip_special_tokens=True).strip():
            found.append((start, time, text))
        start, written = time, []
    if text := tokenizer.decode(written, skip_special_tokens=True).strip():
        found.append((start, None, text))
    return found


def prefix(tokenizer: Any, languages: Sequence[str]) -> list[int]:
    """The tokens before a transcript, as the stock tokenizer's set_prefix_tokens puts them."""
    names = [START, SILENT]
    if not english_only(tokenizer):
        names[1:1] = [language_token(tokenizer, languages), "<|transcribe|>"]
    return tokenizer.convert_tokens_to_ids(names)


def new_tokenizer(
    texts: Callable[[], Iterator[str]], settings: Mapping[str, Any], languages: Sequence[str], positions: int
) -> Any:
    """Byte-level BPE of at most `vocab_size` pieces (256 of them bytes), then Whisper's special tokens."""
    import json

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import WhisperTokenizer
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    if settings["type"] != "bpe":
        raise ConsommeError(f"tokenizer.type: '{settings['type']}' given; allowed for whisper: bpe")
    if settings["vocab_size"] < 256:
        raise ConsommeError(
            f"tokenizer.vocab_size: {settings['vocab_size']} given; at least 256, one a byte, are needed"
        )
    if not languages:
        raise ConsommeError("languages: whisper needs the spoken language; give its code, such as [en]")
    for code in languages:
        if code not in LANGUAGES:
            raise ConsommeError(
                f"languages: whisper knows no '{code}'{nearest(code, LANGUAGES)}; allowed: {', '.join(sorted(LANGUAGES))}"
            )
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings["vocab_size"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(texts(), trainer)
    trained = json.loads(bpe.to_str())["model"]
    # all languages in their order: the stock tokenizer counts their ids from START
    special = [START, *(f"<|{code}|>" for code in LANGUAGES), *TASKS, *OTHERS, SILENT]
    return WhisperTokenizer(
        vocab=trained["vocab"] | {END: len(trained["vocab"])},
        merges=[tuple(m) for m in trained["merges"]],
        additional_special_tokens=special,
        pad_token=END,
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
        language=languages[0],
        task="transcribe",
    )
