"""`average:` several models into one."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from consomme.common.settings import Name
from consomme.common.values import Integer, Number, Text
from consomme.plan.schema.choice import Goal
from consomme.plan.schema.node import Node


class AverageNode(Node):
    """Weights averaged over models of one ancestor, or a choice among models."""

    average: list[Text] = Field(description="a node (all its runs), or a list of models")
    where: dict[str, Any] = Field(default_factory=dict, description="which runs: swept key: value, or list of values")
    by: list[Text] = Field(default_factory=list, description="one result for each value of these swept keys")
    method: Text = Field(
        "uniform",
        description="uniform, weighted, greedy, learned, interpolate, fisher, regmean, slerp, task_arithmetic, ties, dare_linear, "
        "dare_ties, model_stock; of one run's checkpoints: last, best, ema, window; ensemble; smallest: of models of any shape the one with the fewest "
        "parameters that keeps the limits of choose_on",
    )
    alpha: Number | None = Field(None, ge=0, le=1, description="interpolate, slerp: 0 is the first model, 1 the second")
    points: Integer = Field(11, ge=2, description="interpolate: how many alphas are tried where none is given")
    weights: list[Number] | dict[str, list[Number]] | None = Field(
        None, description="one for each model; weighted: also {encoder, decoder or name pattern: list}"
    )
    base: Text | None = Field(None, description="the model that all were tuned from; default: their one parent")
    scale: Number | None = Field(None, description="of the merged differences from the base; default 1")
    density: Number | None = Field(
        None, gt=0, le=1, description="the share of each difference from the base that stays"
    )
    rank_by: Text | None = Field(None, description="greedy: the metric of the order; default: that of the choice")
    replacement: bool | None = Field(None, description="greedy: each step takes the model that helps most, again too")
    at_most: Integer | None = Field(None, ge=1, description="greedy: so many ingredients at most")
    count: Integer | None = Field(
        None, ge=1, description="last, best: so many checkpoints; default: all that were kept"
    )
    from_step: Integer | None = Field(
        None, ge=0, description="window: the mean over the steps after this one; default 0"
    )
    to_step: Integer | None = Field(None, ge=1, description="window: to this one; default: the last")
    groups: Text | None = Field(None, description="learned: model (one weight for each), or layer; default model")
    steps: Integer | None = Field(None, ge=1, description="learned: of Adam on 16 development rows each; default 60")
    learning_rate: Number | None = Field(None, gt=0, description="learned: of Adam on the logits; default 0.1")
    examples: Integer | None = Field(
        None, ge=1, description="fisher, regmean: development rows to measure on; default 128"
    )
    choose_on: dict[Name, Goal] | None = Field(None, description="development sets that choose")
    metric: Text | None = Field(None, description="for choose_on; default: the experiment's")

    @field_validator("average", "by", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value
