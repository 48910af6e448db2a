"""`average:` several models into one."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from consomme.average.methods import TABLE
from consomme.common.settings import Chosen, Name
from consomme.common.values import Integer, Text, Texts
from consomme.plan.schema.choice import Goal
from consomme.plan.schema.node import Node, Sweep


class AverageNode(Chosen, Node):
    """Weights averaged over models of one ancestor, or a choice among models."""

    BY, TABLE, HIDDEN = "method", TABLE, ("best_run",)

    average: Texts = Field(description="the models to average: a node (all its runs), or a list of models")
    where: dict[str, Any] = Field(default_factory=dict, description="which runs: swept key: value, or list of values")
    by: Texts = Field(default_factory=list, description="one result for each value of these swept keys")
    method: Text = Field("uniform", description="how the models are combined or chosen")
    quorum: Integer | None = Field(
        None,
        ge=1,
        description="fewest models that must be left once those whose training diverged are left out; fewer are an error. No part of the model's identity; default: 1",
    )
    choose: Sweep | None = Field(
        None,
        description="settings of the method to try; the best on the development sets are taken, and one model is made",
    )
    choose_on: dict[Name, Goal] | None = Field(None, description="development sets that choose")
    metric: Text | None = Field(None, description="for choose_on; default: the experiment's")
