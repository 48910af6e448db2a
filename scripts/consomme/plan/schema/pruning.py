"""`prune:` a model into a smaller one."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from consomme.common.settings import Chosen, Name, Section
from consomme.common.values import Integer, Part, Share, Text
from consomme.plan.schema.choice import Goal
from consomme.plan.schema.node import Node
from consomme.prune.choosers import TABLE as CHOOSERS
from consomme.prune.merging import Way
from consomme.prune.scores import TABLE as SCORES


class Layers(Chosen):
    """The layers of one side to remove or to keep, counted from 1."""

    BY, TABLE = "by", CHOOSERS

    keep: list[Integer] | None = Field(None, description="the layers to keep, counted from 1; instead of drop")
    drop: Share | None = Field(
        None, description="the layers to remove: a fraction such as 1/3, or a list such as [2, 5, 8]"
    )
    by: Text | None = Field(None, description="for a fraction: how the layers to remove are chosen")
    of: Text = Field("layers", description="unit of a fraction: layers, or sublayers")
    merge: Way | None = Field(
        None,
        description="merge the dropped layers into those that stay, by mean, or by laco, the sum of differences; null: they are lost",
    )

    @model_validator(mode="after")
    def _one(self) -> Layers:
        if (self.keep is None) == (self.drop is None):
            raise ValueError("layers have one of keep, drop")
        if isinstance(self.drop, str) and self.by is None:
            raise ValueError("a fraction to drop needs `by`: uniform, greedy or another way to choose")
        if not isinstance(self.drop, str) and self.by is not None:
            raise ValueError("`by` is only for a fraction, and the layers are listed here")
        if not isinstance(self.drop, str) and self.of != "layers":
            raise ValueError(f"`of: {self.of}` is only for a fraction; a list names layers")
        if self.merge is not None and self.of != "layers":
            raise ValueError(f"`merge: {self.merge}` is for whole layers, not for `of: {self.of}`")
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out options with their default value: they are no part of a model's identity."""
        found, fields = serialize(self), type(self).model_fields
        options = {"of", "merge", *(fields.keys() - Layers.model_fields.keys())}
        return {k: v for k, v in found.items() if k not in options or v != fields[k].default}


class Sides(Section):
    """Layers by side."""

    encoder: SerializeAsAny[Layers] | None = Field(None, description="its layers")
    decoder: SerializeAsAny[Layers] | None = Field(None, description="its layers")


class Heads(Chosen):
    """Attention heads to remove."""

    BY, TABLE = "by", SCORES

    drop: Part = Field(description="a fraction of all heads")
    by: Text = Field("taylor", description="how heads are scored")
    per: Text = Field(
        "model",
        description="model: remove the lowest-scored heads of the whole model; layer: the same fraction of every attention module",
    )


class Width(Chosen):
    """Feed-forward neurons to remove, the same number from every layer of a side."""

    BY, TABLE = "by", SCORES

    drop: Part = Field(description="a fraction of each feed-forward sublayer's neurons")
    by: Text = Field("taylor", description="how neurons are scored")
    sides: list[Text] | None = Field(None, description="encoder, decoder; default: all sides of the model")

    @field_validator("sides")
    @classmethod
    def _named(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("each side once, and one at least: encoder, decoder")
        return sorted(value) if value else None


class Vocabulary(Section):
    """Tokens to remove."""

    keep: Literal["used"] = Field(
        description="used: the tokens that the training and development texts use, special tokens, single characters and bytes"
    )


class PruneNode(Node):
    """A smaller model."""

    prune: Text = Field(description="the model to prune; each of its runs")
    layers: Sides | None = Field(None, description="layers to remove or to keep, by side")
    heads: SerializeAsAny[Heads] | None = Field(None, description="attention heads to remove")
    width: SerializeAsAny[Width] | None = Field(None, description="feed-forward neurons to remove")
    vocabulary: Vocabulary | None = Field(None, description="tokens to remove, with their rows of the embeddings")
    choose_on: dict[Name, Goal] | None = Field(None, description="development sets that a search is judged on")
    metric: Text = Field("loss", description="metric that a search is judged by")

    @model_validator(mode="after")
    def _something(self) -> PruneNode:
        if (
            self.heads is None
            and self.width is None
            and self.vocabulary is None
            and (self.layers is None or (self.layers.encoder is None and self.layers.decoder is None))
        ):
            raise ValueError("nothing to prune: give layers, heads, width or vocabulary")
        return self
