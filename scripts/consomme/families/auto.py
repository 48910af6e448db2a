"""Architectures outside the table: what transformers' own auto classes load, so far as no inner part need be known.

Such a model can be trained, averaged, evaluated and exported. Where its layers and heads are is unknown, so nothing can
be pruned, dropped or tapped, and none is made from scratch. Code that a checkpoint brings along is never run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError, Unusable
from consomme.families.base import Family
from consomme.families.greedy import CtcFamily
from consomme.families.positions import bounded
from consomme.families.transcription import Transcriber
from consomme.families.translation import Translator

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

EXTRACTORS = ("preprocessor_config.json", "processor_config.json")
LENGTHS = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")


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

        found = AutoProcessor.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        if not hasattr(found, "feature_extractor") or not hasattr(found, "tokenizer"):
            raise ConsommeError(f"{path}: its processor, {type(found).__name__}, lacks feature_extractor or tokenizer")
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
        values = np.asarray(found[extractor.model_input_names[0]][0], dtype=np.float32)
        mask = found.get("attention_mask")
        if mask is not None and len(mask[0]) == len(values):
            values = values[np.asarray(mask[0]).astype(bool)]
        return np.ascontiguousarray(values)

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        import torch

        from consomme.families.settings import padded

        extractor = processor.feature_extractor
        longest = max(len(f) for f in features)
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
        for name in LENGTHS:
            if hasattr(model, name):
                return getattr(model, name)(lengths).to(lengths.dtype)
        raise ConsommeError(f"{type(model).__name__}: it does not tell how many frames it gives, so CTC is impossible")


@dataclass(frozen=True)
class UnknownTranscriber(UnknownSpeech, Transcriber):
    """A recogniser with a decoder."""


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


def family_for(folder: Path, config: Mapping[str, Any]) -> Family | None:
    """What a checkpoint of an unlisted model_type can be used as, by the class that its config names and by whether a
    feature extractor lies beside it; None if it is neither a CTC model nor an encoder-decoder."""
    (name, *_) = config.get("architectures") or [""]
    if name.endswith("ForCTC"):
        return CTC
    if name.endswith(("ForConditionalGeneration", "ForSpeechSeq2Seq", "ForSpeechToText", "EncoderDecoderModel")):
        return SPEECH if any((folder / file).is_file() for file in EXTRACTORS) else TEXT
    return None
