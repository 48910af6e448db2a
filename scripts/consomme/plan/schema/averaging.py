"""`average:` several models into one."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from consomme.average.methods import TABLE
from consomme.common.settings import Chosen, Name
from consomme.common.values import Text
from consomme.plan.schema.choice import Goal
from consomme.plan.schema.node import Node


class AverageNode(Chosen, Node):
    """Weights averaged over models of one ancestor, or a choice among models."""

    BY, TABLE, HIDDEN = "method", TABLE, ("best_run",)

    average: list[Text] = Field(description="a node (all its runs), or a list of models")
    where: dict[str, Any] = Field(default_factory=dict, description="which runs: swept key: value, or list of values")
    by: list[Text] = Field(default_factory=list, description="one result for each value of these swept keys")
    method: Text = Field("uniform", description="how the models become one")
    choose_on: dict[Name, Goal] | None = Field(None, description="development sets that choose")
    metric: Text | None = Field(None, description="for choose_on; default: the experiment's")

    @field_validator("average", "by", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value
