"""config/schema.json, for editors: generated from the models that validate."""

from __future__ import annotations

import json
from typing import Any

from consomme.plan.schema import POLICIES, Configuration


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration. Keys that start with a dot hold YAML anchors and are free."""
    found = Configuration.model_json_schema(by_alias=True)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "Consommé configuration"
    found["patternProperties"] = {r"^\.": {}}
    for definition in found["$defs"].values():
        _loosen(definition)
    return found


def schema_text() -> str:
    """The file's text."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _loosen(definition: dict[str, Any]) -> None:
    """Spellings that the loader takes beside the checked form: a lone name for a list, a mapping for weights."""
    properties = definition.get("properties", {})
    title = definition.get("title")
    if title == "Data":
        names = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
        for key in ("train", "dev", "test"):
            sets = {
                "type": "object",
                "additionalProperties": {"type": ["number", "string"]} if key == "train" else names,
            }
            properties[key] = {"anyOf": [*names["anyOf"], sets], "description": properties[key].get("description", "")}
    if title == "AverageNode":
        for key in ("average", "by"):
            properties[key] = {"anyOf": [{"type": "string"}, properties[key]]}
    if title == "Relabelled":
        properties["by"] = {"anyOf": [{"type": "string"}, properties["by"]]}
    if title == "Augment":
        for key in ("concatenate", "spec_augment", "reverb", "noise", "subwords"):
            properties[key] = {"anyOf": [{"type": "boolean"}, *properties[key]["anyOf"]]}
        properties["spec_augment"]["anyOf"] += [{"enum": list(POLICIES)}]
    if title == "SubwordSampling":
        properties["sides"] = {"anyOf": [{"enum": ["source", "target"]}, properties["sides"]]}
    if title == "Start":
        hub = properties["hub"]
        hub["anyOf"] = [{"type": "string"}, *hub["anyOf"]]
        properties["revision"] = {"type": "string", "description": "of the hub's model, beside its name"}
    if title == "Folder":
        properties["texts"] = {"type": "object", "description": properties["texts"]["description"]}
    if title in ("FromNode", "TrainNode", "AverageNode", "PruneNode", "ExportNode") and "required" in definition:
        # a swept key may stand in the sweep alone
        verb = {"FromNode": "from"}.get(title, title.removesuffix("Node").lower())
        definition["required"] = [key for key in definition["required"] if key == verb]
