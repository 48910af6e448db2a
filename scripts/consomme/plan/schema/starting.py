"""`from:` where a model begins."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from consomme.common.settings import Section
from consomme.common.values import Text
from consomme.plan.schema.corpora import Data
from consomme.plan.schema.node import Node


class HubModel(Section):
    """A checkpoint of the Hugging Face hub."""

    name: Text = Field(description="name of the checkpoint on the Hugging Face hub")
    revision: Text | None = Field(None, description="a commit, for a result that can be repeated")


class Start(Section):
    """Where a graph starts: one of hub, folder, folders, scratch."""

    hub: HubModel | None = Field(None, description="NAME, or with `revision` beside it")
    folder: Text | None = Field(None, description="a checkpoint folder")
    folders: list[Text] | None = Field(None, description="checkpoint folders or patterns; each is a run")
    scratch: dict[str, Any] | None = Field(None, description="family, and its architecture in its config's names")
    tokenizer: dict[str, Any] = Field(
        default_factory=dict,
        description="of a scratch model, by family; or a new one, with a new CTC head, for a checkpoint: its type",
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
    data: Data | None = Field(None, description="whose texts a tokenizer is made of, where one is made")
