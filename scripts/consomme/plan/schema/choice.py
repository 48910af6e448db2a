"""What development sets choose by, and how text is decoded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from consomme.common.settings import Section
from consomme.common.values import Integer, Number, Text


class Constraint(Section):
    """A development set that may not get much worse."""

    lose_at_most: Number = Field(ge=0, description="points of the metric, absolute; held by a one-sided 95 % bound")
    of: Text = Field(description="the model to compare with")
    metric: Text | None = Field(None, description="default: the experiment's metric")


Weight = Annotated[Number, Field(gt=0)]
Goal = Literal["best"] | Weight | Constraint


class Decoding(Section):
    """How hypotheses are made; names of transformers' GenerationConfig."""

    num_beams: Integer = Field(1, ge=1, description="width of the beam search; 1 is greedy")
    max_new_tokens: Integer = Field(
        128, ge=1, description="longest output, in tokens; at most what the model has positions for"
    )
    length_penalty: Number = Field(
        1.0, description="above 1 favours longer outputs of a beam search, below 1 shorter ones"
    )
    window: Literal["full", "short"] | None = Field(
        None, description="Whisper: 30 s whatever is said, or as long as needed; default: as the model was trained"
    )
