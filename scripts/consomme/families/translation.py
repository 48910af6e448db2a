"""What the families of translators share: sentences as token ids, batches, languages."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.families import keys
from consomme.families.base import Subwords
from consomme.families.codes import code_of, codes_like
from consomme.families.encoder_decoder import EncoderDecoder
from consomme.families.positions import bounded, fits, most_tokens
from consomme.families.vocabulary import names_special, spelled

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel


class Scratch(Section):
    """A new model, in the names of BART's descendants. Sizes that train on a processor."""

    d_model: keys.Width = 96
    encoder_layers: keys.EncoderLayers = 3
    decoder_layers: keys.DecoderLayers = 2
    encoder_attention_heads: keys.EncoderHeads = 4
    decoder_attention_heads: keys.DecoderHeads = 4
    encoder_ffn_dim: keys.EncoderNeurons = 384
    decoder_ffn_dim: keys.DecoderNeurons = 384
    max_position_embeddings: keys.MostPositions = 512
    activation_function: keys.Activation = "relu"
    scale_embedding: keys.ScaledInput = True
    tie_word_embeddings: keys.Tied = True
    dropout: keys.Dropout = 0.1
    attention_dropout: keys.AttentionDropout = 0.0
    activation_dropout: keys.ActivationDropout = 0.0
    encoder_layerdrop: keys.LayerDrop = 0.0
    decoder_layerdrop: keys.DecoderLayerDrop = 0.0
    init_std: keys.Spread = 0.02


@dataclass(frozen=True)
class Translator(EncoderDecoder):
    """See `Family`."""

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        from transformers import AutoTokenizer

        return bounded(AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False), path)

    def speak(self, processor: Any, languages: Sequence[str]) -> None:
        """Set the tokenizer to these languages, where it tells languages apart; without any it stays as it is. Unusable if
        it has no code for one of them."""

    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        import numpy as np

        if not isinstance(source, str):
            raise TypeError("a sentence is needed, not a waveform")
        self.speak(processor, languages)
        return np.asarray(fits(processor, _whole(processor, source, "source"), source, "source"), dtype=np.int64)

    def labels(self, processor: Any, text: str, languages: Sequence[str]) -> list[int]:
        self.speak(processor, languages)
        return fits(processor, _whole(processor, text, "target"), text, "target")

    def subwords(self, processor: Any, side: str) -> Subwords | None:
        """Of a tokenizer that holds a SentencePieceProcessor or is a unigram model of the tokenizers library."""
        from consomme.families.settings import pieces

        vocabulary = processor.get_vocab()
        if hasattr(processor, "sp_model"):
            kind, scores = pieces(processor.sp_model, vocabulary)
        else:
            backend = getattr(processor, "backend_tokenizer", None)
            model = json.loads(backend.to_str())["model"] if backend else {}
            if model.get("type") != "Unigram":
                return None  # NLLB's: the merges of its byte pairs go by pair and not by piece
            special = set(processor.all_special_tokens)
            kind, scores = "unigram", {piece: score for piece, score in model["vocab"] if piece not in special}
        # partial and not closures: worker processes may get them pickled
        spell, ids = partial(self.spelled, processor, side), partial(self.framed, processor, vocabulary, side, {})
        return Subwords(kind, scores, spell, ids)

    def spelled(self, processor: Any, side: str, text: str, languages: Sequence[str] = ()) -> tuple[list[str], str]:
        """The text as the pieces spell it; no tokens stand before it."""
        if hasattr(processor, "sp_model"):
            return [], processor.sp_model.normalize(text)
        backend = processor.backend_tokenizer
        normalised = backend.normalizer.normalize_str(text) if backend.normalizer else text
        return [], "".join(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normalised))

    def framed(
        self,
        processor: Any,
        vocabulary: Mapping[str, int],
        side: str,
        frames: dict[tuple[str, ...], tuple[list[int], list[int]]],
        tokens: Sequence[str],
        languages: Sequence[str] = (),
    ) -> list[int]:
        """Token ids of the tokens, between the special tokens of this side. frames: those found before, by languages."""
        pair = tuple(languages)
        if pair not in frames:
            self.speak(processor, languages)
            frames[pair] = frame(processor, side)
        first, last = frames[pair]
        ids = [*first, *(vocabulary.get(token, processor.unk_token_id) for token in tokens), *last]
        return fits(processor, ids, "".join(tokens), side)

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        import torch

        from consomme.families.settings import padded

        ids = padded(features, processor.pad_token_id)
        lengths = torch.tensor([[len(f)] for f in features])
        batch = {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths).long()}
        if labels is not None:
            batch["labels"] = padded(labels, -100)
        return batch

    def generation_settings(self, processor: Any, languages: Sequence[str]) -> dict[str, Any]:
        return self.beginning(processor, languages)

    def most_tokens(self, model: PreTrainedModel, processor: Any) -> int:
        return min(super().most_tokens(model, processor), most_tokens(processor, "target"))


CODE = "[a-z]{2,3}_[A-Z][A-Za-z]+"  # mBART's and NLLB's, which are the tokens themselves; M2M100's are __en__
BETWEEN = "__[a-z]{2,3}(_[A-Z][a-z]+)?__"  # SeamlessM4T's, whose tokenizer doesn't list them


@dataclass(frozen=True)
class Multilingual(Translator):
    """A family whose tokenizer marks sentences with the codes of their languages."""

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        found = super().processor(path)
        found.spoken = {}  # pairs of languages -> the tokenizer's codes
        self.speak(found, languages)
        return found

    def speak(self, processor: Any, languages: Sequence[str]) -> None:
        if not languages:
            return
        pair = tuple(languages)
        if pair not in processor.spoken:
            known = codes(processor)
            processor.spoken[pair] = tuple(code_of(language, known, self.name) for language in pair)
        source, target = processor.spoken[pair]
        processor.tgt_lang = target
        if processor.src_lang != source:  # setting it makes the tokenizer's template anew
            processor.src_lang = source

    def known_languages(self, folder: Path) -> Collection[str] | None:
        return codes_like(f"({CODE})", folder) or codes_like("__([a-z]{2,3})__", folder) or None

    def some_languages(self, source: Path) -> list[str]:
        known = list(codes(super().processor(source)))
        english, french = ([code for code in known if code.startswith(two)] for two in ("en", "fr"))
        return [[*english, *known][0], [*french, *known[::-1]][0]]

    def beginning(self, processor: Any, languages: Sequence[str] = ()) -> dict[str, Any]:
        return {"forced_bos_token_id": self.target(processor, languages)}

    def target(self, processor: Any, languages: Sequence[str]) -> int:
        """The token id of the target's language. ConsommeError if there is none."""
        self.speak(processor, languages)
        if processor.tgt_lang is None:
            raise ConsommeError(f"{self.name}: the tokenizer's files name no tgt_lang, and no languages are given")
        return codes(processor)[processor.tgt_lang]


def _whole(processor: Any, text: str, side: str) -> list[int]:
    """The token ids of a sentence of this side with the special tokens around it."""
    argument = "text" if side == "source" else "text_target"
    if not names_special(processor, text):
        return processor(**{argument: text}).input_ids
    first, last = frame(processor, side)
    return [*first, *spelled(processor, text, argument), *last]


def frame(processor: Any, side: str) -> tuple[list[int], list[int]]:
    """The special tokens before and after a sentence of this side."""
    name = {"text": "a"} if side == "source" else {"text_target": "a"}
    whole = processor(**name).input_ids
    bare = processor(**name, add_special_tokens=False).input_ids
    start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]


def codes(tokenizer: Any) -> dict[str, int]:
    """Language code -> token id, as the tokenizer spells them."""
    known = getattr(tokenizer, "lang_code_to_id", None)
    if not known:
        names = [t for t in tokenizer.all_special_tokens if re.fullmatch(f"{CODE}|{BETWEEN}", t)]
        known = dict(zip((n.strip("_") for n in names), tokenizer.convert_tokens_to_ids(names), strict=True))
    return {code: number for code, number in known.items() if number != tokenizer.unk_token_id}
