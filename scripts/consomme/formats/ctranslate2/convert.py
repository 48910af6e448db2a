"""CTranslate2: a C++ engine for encoder-decoder models, with 8-bit weights on processors (Klein et al. 2020)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.common.settings import Section
from consomme.formats.stock import keep_source, stock

INTEGERS = ("int8", "int8_float32", "int16")


class Settings(Section):
    """Settings of ctranslate2."""

    quantization: Literal["int8", "int8_float32", "int16", "float16", "bfloat16"] | None = Field(
        None, description="type of the weights; int8_float32 computes in float32; default: unchanged"
    )


def write(model: Path, folder: Path, settings: Mapping[str, Any], work: Path) -> None:
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
    source = stock(model, work)
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
    keep_source(source, folder)
