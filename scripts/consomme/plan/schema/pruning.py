"""`prune:` a model into a smaller one."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from consomme.common.settings import Name, Section
from consomme.common.values import Integer, Part, Share, Text
from consomme.plan.schema.choice import Goal
from consomme.plan.schema.node import Node
from consomme.prune.choosers.base import OPTIONS


class Layers(Section):
    """Which layers of one side go, or stay; counted from 1."""

    keep: list[Integer] | None = None
    drop: Share | None = Field(None, description="a fraction such as 1/3, or a list such as [2, 5, 8]")
    by: Text | None = Field(
        None,
        description="for a fraction: uniform, spaced, truncate, random, greedy, random_search, leave_one_out, similarity, angular, learned",
    )
    beam: Integer = Field(1, ge=1, description="greedy: so many sets of layers go on at each step")
    swaps: bool = Field(
        False, description="greedy: in the end layers that stay and layers that went change places while it helps"
    )
    rank: Integer = Field(
        1, ge=1, description="greedy, random_search: the k-th best set that the search has tried, instead of the best"
    )
    of: Text = Field("layers", description="what a fraction counts: layers, or sublayers as units of their own")

    @model_validator(mode="after")
    def _one(self) -> Layers:
        if (self.keep is None) == (self.drop is None):
            raise ValueError("layers have one of keep, drop")
        if isinstance(self.drop, str) and self.by is None:
            raise ValueError("a fraction to drop needs `by`: uniform, greedy or another way to choose")
        if not isinstance(self.drop, str) and self.by is not None:
            raise ValueError("`by` goes with a fraction; here the layers are listed already")
        if not isinstance(self.drop, str) and self.of != "layers":
            raise ValueError(f"`of: {self.of}` goes with a fraction; lists are of layers")
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """An option that is as it is by default is no part of a model's identity."""
        found = serialize(self)
        return {k: v for k, v in found.items() if k not in (*OPTIONS, "of") or v != type(self).model_fields[k].default}


class Sides(Section):
    """Layers by side."""

    encoder: Layers | None = None
    decoder: Layers | None = None


class Heads(Section):
    """Attention heads to remove."""

    drop: Part = Field(description="a fraction of all heads")
    by: Text = Field("taylor", description="taylor, leave_one_out, magnitude, random")
    per: Text = Field("model", description="model: the lowest of all heads go; layer: the same share of each module's")


class Width(Section):
    """Feed-forward neurons to remove, the same number from every layer of a side."""

    drop: Part = Field(description="a fraction of each feed-forward sublayer's neurons")
    by: Text = Field("taylor", description="taylor, magnitude, random")
    sides: list[Text] | None = Field(None, description="encoder, decoder; default: all that the model has")

    @field_validator("sides")
    @classmethod
    def _named(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("each side once, and one at least: encoder, decoder")
        return sorted(value) if value else None


class PruneNode(Node):
    """A smaller model."""

    prune: Text
    layers: Sides | None = None
    heads: Heads | None = None
    width: Width | None = None
    choose_on: dict[Name, Goal] | None = Field(None, description="development sets that a search looks at")
    metric: Text = Field("loss", description="what a search looks at")

    @model_validator(mode="after")
    def _something(self) -> PruneNode:
        if (
            self.heads is None
            and self.width is None
            and (self.layers is None or (self.layers.encoder is None and self.layers.decoder is None))
        ):
            raise ValueError("nothing to prune: give layers, heads or width")
        return self
