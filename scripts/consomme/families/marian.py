"""Marian: an encoder-decoder Transformer for translation, with SentencePiece."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.families import keys, subwords, translation
from consomme.families.base import BART_STACKS, Subwords
from consomme.families.codes import code_of
from consomme.families.positions import bounded, fits
from consomme.families.translation import Translator

if TYPE_CHECKING:
    import numpy as np


class Scratch(translation.Scratch):
    """As its relatives."""

    activation_function: keys.Activation = "swish"
    share_encoder_decoder_embeddings: keys.Shared = True


@dataclass(frozen=True)
class Marian(Translator):
    """See `Family`."""

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        from transformers import GenerationConfig, MarianConfig, MarianTokenizer

        from consomme.common.files import write_json
        from consomme.families.settings import merged, new_model, save

        settings = merged("scratch", self.scratch, settings, more=list(MarianConfig().to_dict()))
        tokens = merged("tokenizer", self.tokenizer, tokenizer)
        pieces, spm = subwords.sentencepiece(texts, tokens, self.name, ("unigram", "bpe"))
        vocabulary = {piece: i for i, piece in enumerate([*(name for name, _ in pieces), "<pad>"])}
        pad = vocabulary["<pad>"]
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "vocab.json", vocabulary)
        for name in ("source.spm", "target.spm"):
            (out / name).write_bytes(spm)
        source, target = [*languages, None, None][:2]
        with warnings.catch_warnings():
            _hush()
            processor = MarianTokenizer(
                source_spm=str(out / "source.spm"),
                target_spm=str(out / "target.spm"),
                vocab=str(out / "vocab.json"),
                source_lang=source,
                target_lang=target,
                model_max_length=settings["max_position_embeddings"],
            )
        ids = {"pad_token_id": pad, "eos_token_id": vocabulary["</s>"], "bos_token_id": None}
        fixed = {
            **ids,
            "vocab_size": len(vocabulary),
            "decoder_vocab_size": len(vocabulary),
            "decoder_start_token_id": pad,
            "forced_eos_token_id": None,
            "is_encoder_decoder": True,
        }
        model = new_model(self, settings, fixed, seed)
        model.generation_config = GenerationConfig(
            **ids, decoder_start_token_id=pad, bad_words_ids=[[pad]], max_length=settings["max_position_embeddings"]
        )
        save(model, processor, out)

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        """The tokenizer. Its `target_code` is what a model of several target languages wants before each source, as in
        ">>fr<< Hello": empty for a model of one, None for one of several if no languages are given."""
        from transformers import MarianTokenizer

        with warnings.catch_warnings():
            _hush()
            found = bounded(MarianTokenizer.from_pretrained(path, local_files_only=True), path)
        found.target_code = None if target_codes(found) else ""
        found.spoken = {}  # language -> its code
        self.speak(found, languages)
        return found

    def speak(self, processor: Any, languages: Sequence[str]) -> None:
        if not languages or processor.target_code == "":
            return
        target = languages[-1]
        if target not in processor.spoken:
            processor.spoken[target] = code_of(target, target_codes(processor), self.name)
        processor.target_code = f">>{processor.spoken[target]}<< "

    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        self.speak(processor, languages)
        return super().features(processor, marked(processor, str(source)))

    def some_languages(self, source: Path) -> list[str]:
        codes = list(target_codes(self.processor(source)))
        return ["en", codes[0]] if codes else super().some_languages(source)

    def misfit(self, config: Any, processor: Any) -> str | None:
        sides = {"source": (processor.encoder, config.vocab_size)}
        if processor.separate_vocabs:
            sides["target"] = (processor.target_encoder, config.decoder_vocab_size or config.vocab_size)
        for side, (vocabulary, size) in sides.items():
            token, number = max(vocabulary.items(), key=lambda item: item[1])
            if number >= size:
                return (
                    f"its {side} vocabulary gives '{token}' the id {number}, and the model knows only 0 to {size - 1}"
                )
        return None

    def subwords(self, processor: Any, side: str) -> Subwords | None:
        from consomme.families.settings import pieces

        spm = processor.spm_source if side == "source" else processor.spm_target
        separate = side == "target" and processor.separate_vocabs
        vocabulary = processor.target_encoder if separate else processor.encoder
        # partial and not closures: worker processes may get them pickled
        return Subwords(
            *pieces(spm, vocabulary),
            partial(_spelled, self, processor, spm, side),
            partial(_ids, processor, vocabulary, side),
        )


def _hush() -> None:
    # sacremoses would only normalise punctuation, and the tokenizer as it is called here does not use it
    warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")


def target_codes(processor: Any) -> dict[str, int]:
    """The codes of the target languages that a model of several wants before its sources -> token id."""
    return {
        token[2:-2]: number
        for token, number in processor.encoder.items()
        if token.startswith(">>") and token[-2:] == "<<"
    }


def marked(processor: Any, source: str) -> str:
    """The source with the code of the target language before it, where the model wants one. A source that has a code of
    the model's already keeps it. ConsommeError if there is none to put."""
    if processor.target_code == "":
        return source
    (code, *_) = [*processor.remove_language_code(source)[0], ""]
    if code in processor.encoder:
        return source
    if processor.target_code is None:
        raise ConsommeError(
            "languages: this Marian translates into several languages, and none is given; allowed: "
            f"{', '.join(sorted(target_codes(processor)))}. Or the sources begin with its code, as in '>>fr<< Hello'"
        )
    return processor.target_code + source


def _spelled(
    family: Translator, processor: Any, spm: Any, side: str, text: str, languages: Sequence[str] = ()
) -> tuple[list[str], str]:
    """The language code before a sentence, as in ">>fr<< Hello", and the text as SentencePiece spells it."""
    family.speak(processor, languages)
    code, text = processor.remove_language_code(marked(processor, text) if side == "source" else text)
    return code, spm.normalize(text)


def _ids(
    processor: Any, vocabulary: Mapping[str, int], side: str, tokens: Sequence[str], languages: Sequence[str] = ()
) -> list[int]:
    unknown = vocabulary[processor.unk_token]
    ids = processor.build_inputs_with_special_tokens([vocabulary.get(token, unknown) for token in tokens])
    return fits(processor, ids, "".join(tokens), side)


FAMILY = Marian(
    name="marian",
    task="nmt",
    objective="seq2seq",
    model_type="marian",
    published=("opus-mt", "marian"),
    architecture="MarianMTModel",
    config="MarianConfig",
    stacks=BART_STACKS,
    scratch=Scratch,
    tokenizer=subwords.SentencePiece,
    dropouts=("dropout",),
    exports=("safetensors", "ctranslate2", "onnx"),
    languages=True,
    trimmed=True,
)
