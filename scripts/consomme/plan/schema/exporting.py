"""`export:` a model into another format."""

from __future__ import annotations

from pydantic import Field

from consomme.common.settings import Chosen
from consomme.common.values import Text
from consomme.formats import TABLE
from consomme.plan.schema.node import Node


class ExportNode(Chosen, Node):
    """A model's files for use elsewhere. Nothing can be made of an export."""

    BY, TABLE = "format", TABLE

    export: Text = Field(description="the model")
    format: Text = Field("safetensors", description="format of the files")
