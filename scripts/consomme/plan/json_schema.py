"""config/schema.json, for editors, generated from the validating models and the tables of methods, families and so on."""

from __future__ import annotations

import json
from typing import Any

from consomme.families import TABLE as FAMILIES
from consomme.families import Family
from consomme.plan.schema import VERBS, Configuration
from consomme.train.augment import TABLE as AUGMENTATIONS
from consomme.train.augment.spec_augment import POLICIES

# as pydantic writes the bounds of a number that may be null
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration. Keys that start with a dot hold YAML anchors and are free."""
    found = Configuration.model_json_schema(by_alias=True)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "Consommé configuration"
    found["patternProperties"] = {r"^\.": {}}
    definitions = found["$defs"]
    for verb, node in VERBS.items():
        definitions[node.__name__]["required"] = [verb]  # any other key may be given by the sweep only
    start = definitions["Start"]["properties"]
    start["hub"]["anyOf"].insert(0, {"type": "string"})
    start["revision"] = {"type": "string", "description": "of the hub's model, beside its name"}
    start["scratch"] = {**_scratch(), "description": start["scratch"]["description"]}
    augment = definitions["Augment"]["properties"]
    for name, kind in AUGMENTATIONS.items():
        if isinstance(kind.settings, type):
            augment[name]["anyOf"].insert(0, {"type": "boolean"})
    augment["spec_augment"]["anyOf"].append({"enum": list(POLICIES)})
    return _with_bounds(found)


def schema_text() -> str:
    """The file's text."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _with_bounds(value: Any) -> Any:
    """The schema with all bounds of numbers under their names in JSON schemas."""
    if isinstance(value, list):
        return [_with_bounds(v) for v in value]
    if not isinstance(value, dict):
        return value
    names = _BOUNDS if "type" in value else {}
    return {names.get(key, key): _with_bounds(v) for key, v in value.items()}


def _scratch() -> dict[str, Any]:
    """The schema of `scratch`: a family and the settings of a new model, with their defaults."""
    made = {name: family for name, family in FAMILIES.items() if family.scratch}
    return {
        "type": "object",
        "properties": {"family": {"enum": list(made)}},
        "allOf": [
            {"if": {"properties": {"family": {"const": name}}, "required": ["family"]}, "then": _settings(family)}
            for name, family in made.items()
        ],
    }


def _settings(family: Family) -> dict[str, Any]:
    known = family.scratch.model_json_schema()["properties"] if family.scratch else {}
    return {"properties": {"family": True, **known}, "additionalProperties": False}
