"""`export:` a model into another format."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from consomme.common.values import Text
from consomme.plan.schema.node import Node


class ExportNode(Node):
    """A model for use elsewhere; only ends."""

    export: Text
    format: Text = Field("safetensors", description="safetensors or ctranslate2")
    quantization: Literal["int8", "int8_float32", "int16", "float16", "bfloat16"] | None = None
