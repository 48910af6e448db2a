"""Architectures outside the table: what transformers' own auto classes load, so far as no inner part need be known.

Such a model can be trained, averaged, evaluated and exported. Where its layers and heads are is unknown, so nothing can
be pruned, dropped or tapped, and none is made from scratch. Code that a checkpoint brings along is never run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError, Unusable
from consomme.common.languages import same_language
from consomme.common.model_files import config as config_of
from consomme.common.model_files import json_mapping
from consomme.families.base import BEYOND_WINDOW, Family
from consomme.families.codes import code_of
from consomme.families.greedy import CtcFamily
from consomme.families.positions import bounded
from consomme.families.transcription import Transcriber
from consomme.families.translation import Translator, codes, frame

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

EXTRACTORS = ("preprocessor_config.json", "processor_config.json")
LENGTHS = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")
GENERATES = ("ForConditionalGeneration", "ForSpeechSeq2Seq", "ForSpeechToText", "EncoderDecoderModel")  # ends of names


@dataclass(frozen=True)
class Unknown(Family):
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
        raise ConsommeError(f"scratch.family: {self.name} is for fetched checkpoints; none is made from scratch")

    def new_head(
        self, source: Path, out: Path, tokenizer: Mapping[str, Any], texts: Callable[[], Iterator[str]], seed: int
    ) -> None:
        raise ConsommeError(f"from.tokenizer: the parts of '{self.name}' are unknown, so it keeps its tokenizer")


@dataclass(frozen=True)
class UnknownSpeech(Unknown):
    """A recogniser; its processor has a feature_extractor and a tokenizer."""

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        from transformers import AutoProcessor

        _hears(path)
        found = AutoProcessor.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        if not hasattr(found, "feature_extractor") or not hasattr(found, "tokenizer"):
            found = _pair(path)
        return bounded(found, path)

    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        import numpy as np

        from consomme.families.settings import mono

        extractor = processor.feature_extractor
        wave = mono(source)
        try:
            found = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="np")
        except (ValueError, RuntimeError, IndexError) as error:  # as for audio of less than a frame
            raise Unusable("refused by the model's feature extractor", f"{len(wave)} samples; {error}") from error
        inputs = found[extractor.model_input_names[0]]
        if len(inputs) > 1:  # cut into pieces
            raise Unusable(
                BEYOND_WINDOW, f"{len(wave)} samples; the feature extractor makes {len(inputs)} inputs of them"
            )
        values = np.asarray(inputs[0], dtype=np.float32)
        mask = found.get("attention_mask")
        if mask is not None and len(mask[0]) == len(values):
            values = values[np.asarray(mask[0]).astype(bool)]
        if not np.isfinite(values).all():  # as for audio of one frame, which has no variance
            raise Unusable(
                "refused by the model's feature extractor", f"{len(wave)} samples; its features are no numbers"
            )
        return np.ascontiguousarray(values)

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        import torch

        from consomme.families.settings import padded

        extractor = processor.feature_extractor
        # what the processor tells its feature extractor of padding, such as a number of samples that batches are multiples of
        multiple = (getattr(processor, "audio_kwargs", None) or {}).get("pad_to_multiple_of") or 1
        longest = -(-max(map(len, features)) // multiple) * multiple
        shape = (len(features), longest, *features[0].shape[1:])
        values = torch.full(shape, float(extractor.padding_value))
        for i, feature in enumerate(features):
            values[i, : len(feature)] = torch.tensor(feature)
        batch = {extractor.model_input_names[0]: values}
        if getattr(extractor, "return_attention_mask", "attention_mask" in extractor.model_input_names):
            lengths = torch.tensor([[len(f)] for f in features])
            batch["attention_mask"] = (torch.arange(longest) < lengths).long()
        if labels is not None:
            batch["labels"] = padded(labels, -100)
        return batch

    def padding_matters(self, config: Any) -> bool:
        return True  # as far as anyone knows

    def _frames_of(self, model: PreTrainedModel, lengths: np.ndarray) -> np.ndarray:
        import torch

        count = _counter(model)
        return count(torch.as_tensor(lengths)).numpy() if count else lengths


@dataclass(frozen=True)
class UnknownCtc(UnknownSpeech, CtcFamily):
    """A recogniser with a CTC head."""

    def texts(self, processor: Any, ids: Sequence[np.ndarray]) -> list[str]:
        tokenizer = processor.tokenizer
        if hasattr(tokenizer, "word_delimiter_token"):
            return CtcFamily.texts(self, processor, ids)
        told = {"group_tokens": False} if hasattr(type(tokenizer), "_decode") else {}
        said = [tokenizer.decode(row.tolist(), skip_special_tokens=True, **told) for row in ids]
        return [" ".join(text.split()) for text in said]

    def output_frames(self, model: PreTrainedModel, lengths: Tensor) -> Tensor:
        if count := _counter(model):
            return count(lengths).to(lengths.dtype)
        raise ConsommeError(f"{type(model).__name__}: it does not tell how many frames it gives, so CTC is impossible")


@dataclass(frozen=True)
class UnknownTranscriber(UnknownSpeech, Transcriber):
    """A recogniser with a decoder. Before and behind a transcript stands what its tokenizer puts around a target, such as the
    code of a language; its processor's tokenizer has got `first`, the token that the decoder starts with."""

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        found = super().processor(path)
        found.tokenizer.first = _first(path)
        return found

    def misfit(self, config: Any, processor: Any) -> str | None:
        if processor.tokenizer.first is None:
            return "neither its config.json nor its generation_config.json names a decoder_start_token_id"
        if self.end(processor.tokenizer) is None:
            return "its tokenizer has neither eos_token nor sep_token, so no transcript could end"
        return super().misfit(config, processor)

    def some_languages(self, source: Path) -> list[str]:
        known = _codes(self.processor(source).tokenizer)
        return super().some_languages(source) if not known or same_language(known, "en") else list(known)[:1]

    def prefix(self, processor: Any, languages: Sequence[str]) -> list[int]:
        tokenizer = processor.tokenizer
        if languages and (known := _codes(tokenizer)):
            tokenizer.tgt_lang = code_of(languages[-1], known, self.name)
        before, _ = frame(tokenizer, "target")
        return before[1:] if before[:1] == [tokenizer.first] else before

    def end(self, tokenizer: Any) -> int:
        return tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id


@dataclass(frozen=True)
class UnknownTranslator(Unknown, Translator):
    """A translator without languages of its own."""


CTC = UnknownCtc(
    name="auto-ctc",
    task="asr",
    batch_norm=True,
    objective="ctc",
    model_type="",
    architecture="AutoModelForCTC",
    config="AutoConfig",
    stacks={},
    optional=("masked_spec_embed",),
    masks_input=True,
)
SPEECH = UnknownTranscriber(
    name="auto-speech",
    task="asr",
    batch_norm=True,
    objective="seq2seq",
    model_type="",
    architecture="AutoModelForSpeechSeq2Seq",
    config="AutoConfig",
    stacks={},
    optional=("masked_spec_embed",),
)
TEXT = UnknownTranslator(
    name="auto-text",
    task="nmt",
    objective="seq2seq",
    model_type="",
    architecture="AutoModelForSeq2SeqLM",
    config="AutoConfig",
    stacks={},
)


def family_for(folder: Path, config: Mapping[str, Any]) -> Family:
    """What a checkpoint of an unlisted model_type can be used as, by the class that its config names and by whether a
    feature extractor lies beside it. ConsommeError if it is neither a CTC model nor an encoder-decoder."""
    (name, *_) = config.get("architectures") or [""]
    if name.endswith("ForCTC"):
        return CTC
    if not name.endswith(GENERATES):
        raise ConsommeError(
            f"{name} is neither a CTC model nor an encoder-decoder, by its name"
            if name
            else "its architectures name no class"
        )
    if not config.get("is_encoder_decoder"):
        raise ConsommeError(
            f"{name} is no encoder-decoder (is_encoder_decoder is not true there): a language model that reads audio among the "
            "tokens of a prompt can't be used here"
        )
    return SPEECH if any((folder / file).is_file() for file in EXTRACTORS) else TEXT


def _hears(path: Path) -> None:
    """ConsommeError if the class of a checkpoint takes something else than audio first: it may speak, or make music."""
    import transformers

    (name, *_) = config_of(path).get("architectures") or [""]
    if getattr(getattr(transformers, name, None), "main_input_name", "") == "input_ids":
        raise ConsommeError(f"{path}: {name} takes text before anything else (input_ids), so it recognises no speech")


def _pair(path: Path) -> Any:
    """The feature extractor and the tokenizer of a checkpoint whose files name no processor that transformers knows."""
    from types import SimpleNamespace

    from transformers import AutoFeatureExtractor, AutoTokenizer

    known = {"local_files_only": True, "trust_remote_code": False}
    try:
        extractor = AutoFeatureExtractor.from_pretrained(path, **known)
    except (OSError, ValueError) as error:
        raise ConsommeError(f"{path}: no feature extractor for audio lies beside its weights: {error}") from error
    return SimpleNamespace(feature_extractor=extractor, tokenizer=AutoTokenizer.from_pretrained(path, **known))


def _first(path: Path) -> int | None:
    """The token that the decoder of a checkpoint starts with, None if its files name none."""
    files = (file for file in (path / "config.json", path / "generation_config.json") if file.is_file())
    found = (json_mapping(file).get("decoder_start_token_id") for file in files)
    return next((token for token in found if token is not None), None)


def _counter(model: Any) -> Callable[[Tensor], Tensor] | None:
    """What tells how many frames the model makes of inputs of some lengths; None if no part of it does."""
    return next((getattr(part, name) for part in model.modules() for name in LENGTHS if hasattr(part, name)), None)


def _codes(tokenizer: Any) -> dict[str, int]:
    """Language code -> token id, of a tokenizer that is told the language of a target; empty for others."""
    return codes(tokenizer) if hasattr(tokenizer, "tgt_lang") else {}
