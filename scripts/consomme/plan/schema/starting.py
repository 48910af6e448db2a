"""`from:` where a model begins."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from consomme.common.settings import Section
from consomme.common.values import Local, Place, Text
from consomme.plan.schema.corpora import Data
from consomme.plan.schema.node import Node


class HubModel(Section):
    """A checkpoint of the Hugging Face hub."""

    name: Place = Field(description="name of the checkpoint on the Hugging Face hub")
    revision: Text | None = Field(None, description="a commit, for reproducible results")


class Start(Section):
    """Where a graph starts: one of hub, folder, folders, scratch."""

    hub: HubModel | None = Field(
        None,
        description="name of a checkpoint of the Hugging Face hub; give `revision` with it for reproducible results",
    )
    folder: Local | None = Field(None, description="a checkpoint folder")
    folders: list[Local] | None = Field(None, description="checkpoint folders or patterns; each is a run")
    scratch: dict[str, Any] | None = Field(
        None, description="a new model with random weights: family, and the keys of its config"
    )
    tokenizer: dict[str, Any] = Field(
        default_factory=dict,
        description="settings of a scratch model's tokenizer, by family; for a checkpoint: the type of a new one, made with a new CTC head",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("hub"), str):
            value = dict(value)
            value["hub"] = {"name": value["hub"]} | ({"revision": value.pop("revision")} if "revision" in value else {})
        return value

    @model_validator(mode="after")
    def _one(self) -> Start:
        if sum(v is not None for v in (self.hub, self.folder, self.folders, self.scratch)) != 1:
            raise ValueError("a starting point has one of hub, folder, folders, scratch")
        return self


class FromNode(Node):
    """A starting point."""

    from_: Start = Field(alias="from", description="where the graph starts")
    data: Data | None = Field(None, description="corpora whose texts a new tokenizer is made of")
