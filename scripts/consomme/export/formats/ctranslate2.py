"""CTranslate2: a C++ engine for encoder-decoder models, with 8-bit weights on processors (Klein et al. 2020)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.common.settings import Section
from consomme.export.formats.base import Ask, Format

if TYPE_CHECKING:
    import numpy as np

    from consomme.families.base import Family

INTEGERS = ("int8", "int8_float32", "int16")
BATCH = 8


class Settings(Section):
    """Settings of ctranslate2."""

    quantization: Literal["int8", "int8_float32", "int16", "float16", "bfloat16"] | None = Field(
        None, description="type of the weights; int8_float32 computes in float32; default: unchanged"
    )


def write(model: Path, folder: Path, settings: Mapping[str, Any], about: dict[str, Any], work: Path) -> None:
    """Convert with CTranslate2's own converter, and add the tokenizer or processor files.

    CTranslate2 needs the same number of heads in all layers, so a head-pruned model is converted from its zeroed copy."""
    import shutil

    from ctranslate2.converters import TransformersConverter

    from consomme.common.model_files import copy_inherited
    from consomme.families import family_of
    from consomme.families.settings import quiet

    quiet()
    reason = family_of(model).no_conversion(read_json(model / "config.json"))
    if reason:
        raise ConsommeError(f"format: {model} can't be written as ctranslate2: {reason}; export it as safetensors")
    source = _stock(model, work)
    converted = work / "converted"
    shutil.rmtree(converted, ignore_errors=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TransformersConverter(str(source)).convert(str(converted), quantization=settings.get("quantization"))
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise ConsommeError(
            f"format: ctranslate2's converter can't convert this model: {type(error).__name__}: {error}; "
            f"export it as safetensors"
        ) from error
    copy_inherited(source, folder)
    for path in sorted(converted.iterdir()):
        shutil.copyfile(path, folder / path.name)
    shutil.rmtree(converted)
    extractor = getattr(family_of(source).processor(source), "feature_extractor", None)
    if extractor is not None:  # under the name that programs with CTranslate2 expect
        extractor.save_pretrained(folder)


def _stock(model: Path, work: Path) -> Path:
    """The model in its stock shape: itself, its zeroed copy, or a new zeroed copy in `work`."""
    import shutil

    from consomme.common.model_files import ZEROED
    from consomme.weights.compatibility import config
    from consomme.weights.zeroed_copy import write_zeroed_copy

    if not config(model).get("pruned_heads"):
        return model
    if (model / ZEROED / "model.safetensors").exists():
        return model / ZEROED
    shutil.rmtree(work / ZEROED, ignore_errors=True)
    return write_zeroed_copy(model, work / ZEROED)


def say(folder: Path, ask: Ask) -> list[str]:
    """The outputs of the converted model on a CPU, decoded greedily. All files, tokenizer included, are read from `folder`."""
    processor, engine = ask.family.processor(folder, ask.languages), _engine(folder, ask)
    written = {"nmt": _translate, "asr": _transcribe}[ask.family.task]

    def answer(which: Sequence[int], languages: Sequence[str]) -> list[str]:
        inputs = [ask.family.features(processor, ask.rows.source(i), languages) for i in which]
        return written(engine, processor, ask, inputs, languages)

    return ask.in_row_order(answer, BATCH)


def _engine(folder: Path, ask: Ask) -> Any:
    import ctranslate2

    kind = ctranslate2.Translator if ask.family.task == "nmt" else ctranslate2.models.Whisper
    return kind(str(folder), device="cpu", intra_threads=ask.threads)


def _translate(engine: Any, tokenizer: Any, ask: Ask, inputs: list[np.ndarray], languages: Sequence[str]) -> list[str]:
    sentences = [tokenizer.convert_ids_to_tokens(ids.tolist()) for ids in inputs]
    # the target's first tokens, such as that of its language, if the family has any: CTranslate2 needs them as prefix
    first = [i for i in ask.family.beginning(tokenizer, languages).values() if i is not None]
    prefix = [tokenizer.convert_ids_to_tokens(first)] * len(sentences) if first else None
    found = engine.translate_batch(sentences, target_prefix=prefix, beam_size=1, max_decoding_length=ask.max_new_tokens)
    ids = [tokenizer.convert_tokens_to_ids(one.hypotheses[0]) for one in found]
    return [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]


def _transcribe(engine: Any, processor: Any, ask: Ask, inputs: list[np.ndarray], languages: Sequence[str]) -> list[str]:
    import ctranslate2
    import numpy as np

    batch = ask.family.collate(processor, inputs, None)
    features = np.ascontiguousarray(batch["input_features"].numpy(), dtype=np.float32)
    prompt = _prompt(ask.family, processor, languages)
    found = engine.generate(
        ctranslate2.StorageView.from_array(features),
        [prompt] * len(inputs),
        beam_size=1,
        max_length=2 * ask.max_new_tokens,  # half of it is for the prompt
    )
    ids = [one.sequences_ids[0] for one in found]
    return [text.strip() for text in processor.tokenizer.batch_decode(ids, skip_special_tokens=True)]


def _prompt(family: Family, processor: Any, languages: Any) -> list[int]:
    """The start token, then the labels before the text (the last label is the end token)."""
    start = processor.tokenizer.convert_tokens_to_ids("<|startoftranscript|>")
    return [start, *family.labels(processor, "", languages)[:-1]]


CTRANSLATE2 = Format(
    "ctranslate2", write, say, Settings, exact=lambda settings: settings.get("quantization") not in INTEGERS
)
