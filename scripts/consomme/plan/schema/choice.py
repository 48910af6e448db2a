"""Choices on development sets, and decoding."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from consomme.common.settings import Section
from consomme.common.values import Integer, Number, Text


class Constraint(Section):
    """A limit on the loss of quality on a development set."""

    lose_at_most: Number = Field(
        ge=0, le=1000, description="points of the metric, absolute; held by a one-sided 95 % bound"
    )
    of: Text = Field(description="the model to compare with")
    metric: Text | None = Field(None, description="default: the experiment's metric")


Weight = Annotated[Number, Field(gt=0, le=10**6)]
Goal = Literal["best"] | Weight | Constraint


class Decoding(Section):
    """How hypotheses are made; names of transformers' GenerationConfig."""

    num_beams: Integer = Field(1, ge=1, le=1000, description="width of the beam search; 1 is greedy")
    max_new_tokens: Integer | None = Field(
        None,
        ge=1,
        le=10**6,
        description="longest output, in tokens, at most the model's number of positions; default: half as many again as "
        "the longest reference of the set has in the model's tokens, and 16 more",
    )
    length_penalty: Number = Field(
        1.0, ge=-2, le=10, description="above 1 favours longer outputs of a beam search, below 1 shorter ones"
    )
    window: Literal["full", "short"] | None = Field(
        None,
        description="Whisper: always 30 s (full), or as long as the audio (short); default: as the model was trained",
    )
    precision: Literal["float32", "bfloat16", "float16"] | None = Field(
        None,
        description="precision of the weights while hypotheses and speeds are made; losses are always those of the stored "
        "weights; default: that of the stored weights",
    )

    engine: Text | None = Field(
        None,
        description="what makes the hypotheses of checkpoints: ctranslate2 or onnx (Whisper and translators), by a conversion in "
        "float32 that is checked on the first rows; choices are still made by transformers; default: transformers",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, made: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without newer settings that aren't given, so that no older digest changes."""
        return {k: v for k, v in made(self).items() if k not in ("precision", "engine") or v is not None}
