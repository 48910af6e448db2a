"""The reference of all keys, made of the JSON schema, which is made of the settings: no key is described twice by hand.

Examples are taken from the YAML blocks of the pages, which tests load."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from consomme.families import TABLE as FAMILIES
from consomme.plan.json_schema import schema_text

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ["config/README.md", "docs/*.md", "docs/tutorials/*.md"]
# page: its title, and the parts of the schema that it begins with; what these use, and no page has, follows them
PAGES = {
    "configuration": (
        "The whole file",
        ["Configuration", "Experiment", "Data", "Decoding", "Claim", "Sweep", "Constraint"],
    ),
    "corpora": (
        "corpora",
        ["Manifest", "Folder", "CommonVoice", "Parallel", "Hub", "Generated", "Relabelled"],
    ),
    "augment": ("augment", ["Augment"]),
    "from": ("from", ["FromNode"]),
    "train": ("train", ["TrainNode"]),
    "average": ("average", ["AverageNode"]),
    "prune": ("prune", ["PruneNode"]),
    "export": ("export", ["ExportNode"]),
}
BOUNDS = {
    "gt": "above {}",
    "exclusiveMinimum": "above {}",
    "ge": "at least {}",
    "minimum": "at least {}",
    "lt": "below {}",
    "exclusiveMaximum": "below {}",
    "le": "at most {}",
    "maximum": "at most {}",
}
TYPES = {"string": "text", "boolean": "true or false", "number": "number", "integer": "whole number", "null": "nothing"}


def pages() -> Iterator[tuple[str, str]]:
    """Name and Markdown of each page of the reference."""
    schema = whole()
    samples: dict[str, list[Json]] = {}
    for block in blocks():
        if "models" in block:
            block = {"experiments": {"x": block}}
        collect(schema, {"$ref": "#/$defs/Configuration"}, block, samples)
    homes = homes_of(schema)
    yield "index", index()
    for page, (title, _) in PAGES.items():
        parts = [name for name, home in homes.items() if home == page]
        yield page, f"# {title}\n\n" + "\n".join(part(schema, name, homes, samples, page) for name in parts)
    yield "families", families()


def whole() -> Json:
    """The schema's definitions by name, the whole file and an experiment among them."""
    schema = json.loads(schema_text())
    parts = schema.pop("$defs")
    (holder,) = schema["properties"]["experiments"]["patternProperties"].items()
    parts["Experiment"] = holder[1]
    experiments = schema["properties"]["experiments"] | {
        "patternProperties": {holder[0]: {"$ref": "#/$defs/Experiment"}}
    }
    parts["Configuration"] = {**schema, "properties": schema["properties"] | {"experiments": experiments}}
    return parts


def blocks() -> Iterator[Json]:
    """The YAML blocks of the pages."""
    for pattern in EXAMPLES:
        for path in sorted(ROOT.glob(pattern)):
            for block in re.findall(r"^```yaml\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL):
                yield yaml.safe_load(block)


def reference(node: Json) -> str | None:
    return node["$ref"].rsplit("/", 1)[1] if "$ref" in node else None


def collect(parts: dict[str, Json], node: Json, value: Any, samples: dict[str, list[Json]]) -> None:
    """Put each mapping of an example under the name of the definition that describes it."""
    name = reference(node)
    if name:
        node = parts[name]
        if isinstance(value, dict):
            samples.setdefault(name, []).append(value)
    for option in node.get("anyOf", []):
        if fits(parts, option, value):
            collect(parts, option, value, samples)
            break
    if isinstance(value, dict):
        patterns = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
        inner = next((pattern for pattern in patterns if isinstance(pattern, dict)), None)
        for key, below in value.items():
            found = node.get("properties", {}).get(key, inner)
            if found:
                collect(parts, found, below, samples)
    elif isinstance(value, list) and isinstance(node.get("items"), dict):
        for below in value:
            collect(parts, node["items"], below, samples)


def fits(parts: dict[str, Json], option: Json, value: Any) -> bool:
    option = parts[name] if (name := reference(option)) else option
    if not isinstance(value, dict):
        return isinstance(value, list) == (option.get("type") == "array") and option.get("type") != "object"
    known = option.get("properties")
    if known is None:
        return option.get("type") == "object"
    constant = known.get("source", {}).get("const")
    return (
        set(value) <= set(known)
        and set(option.get("required", [])) <= set(value)
        and constant in (None, value.get("source"))
    )


def homes_of(parts: dict[str, Json]) -> dict[str, str]:
    """The page of each definition, in the order in which they stand there."""
    homes = {name: page for page, (_, names) in PAGES.items() for name in names}
    for page, (_, names) in reversed(PAGES.items()):  # the whole file uses everything, so it is asked last
        for name in names:
            for found in used(parts, parts[name], set()):
                homes.setdefault(found, page)
    return homes


def used(parts: dict[str, Json], node: Any, seen: set[str]) -> Iterator[str]:
    if isinstance(node, dict):
        name = reference(node)
        if name and name not in seen:
            seen.add(name)
            yield name
            yield from used(parts, parts[name], seen)
        for value in node.values():
            yield from used(parts, value, seen)
    elif isinstance(node, list):
        for value in node:
            yield from used(parts, value, seen)


def part(parts: dict[str, Json], name: str, homes: dict[str, str], samples: dict[str, list[Json]], page: str) -> str:
    """One definition: what it is, then each of its keys."""
    node = parts[name]
    lines = [f"## {title_of(name, node)} {{#{name.lower()}}}", "", node.get("description", ""), ""]
    needed = node.get("required", [])
    properties = node.get("properties", {})
    for key in [*needed, *(key for key in properties if key not in needed)]:
        value = properties[key]
        if "const" in value:
            continue
        facts = [f"**Type** {type_of(parts, value, homes, page)}"]
        if limits := bounds_of(value):
            facts.append(f"**Allowed** {limits}")
        if key in needed:
            facts.append("**Needed**")
        elif value.get("default") not in (None, {}, []):
            facts.append(f"**Default** `{spelt(value['default'])}`")
        lines += [f"### `{key}` {{#{name.lower()}-{key}}}", "", " · ".join(facts), ""]
        if text := value.get("description"):
            lines += [sentence(text), ""]
        if example := example_of(key, samples.get(name, [])):
            lines += ["```yaml", example, "```", ""]
    return "\n".join(lines)


def title_of(name: str, node: Json) -> str:
    source = node.get("properties", {}).get("source", {}).get("const")
    if source:
        return f"`source: {source}`"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Node"))
    return f"`{words.lower()}`" if name.endswith("Node") else words.capitalize()


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def spelt(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()


def type_of(parts: dict[str, Json], node: Json, homes: dict[str, str], page: str) -> str:
    if name := reference(node):
        target = f"#{name.lower()}" if homes[name] == page else f"{homes[name]}.md#{name.lower()}"
        return f"[{title_of(name, parts[name])}]({target})"
    if "enum" in node:
        return ", ".join(f"`{spelt(value)}`" for value in node["enum"])
    if "const" in node:
        return f"`{spelt(node['const'])}`"
    if "anyOf" in node:
        kinds = [type_of(parts, option, homes, page) for option in node["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    kind = node.get("type")
    if isinstance(kind, list):  # a number may be spelt as text, such as 1/3
        kind = next(one for one in ("integer", "number", "boolean", "string") if one in kind)
    if kind == "array":
        return f"list of {type_of(parts, node['items'], homes, page)}" if node.get("items") else "list"
    if kind == "object":
        inner = next(iter(node.get("patternProperties", {}).values()), None) or node.get("additionalProperties")
        return (
            f"mapping of names to {type_of(parts, inner, homes, page)}"
            if isinstance(inner, dict) and inner
            else "mapping"
        )
    return TYPES.get(str(kind), "anything")


def bounds_of(node: Json) -> str:
    found = [words.format(f"{node[key]:g}") for key, words in BOUNDS.items() if key in node]
    for option in node.get("anyOf", []):
        found += [bound for bound in [bounds_of(option)] if bound]
    return ", ".join(dict.fromkeys(found))


def example_of(key: str, samples: list[Json]) -> str | None:
    """The shortest example of a key."""
    found = sorted((f"{key}: {spelt(sample[key])}" for sample in samples if key in sample), key=len)
    return found[0] if found and len(found[0]) <= 200 else None


def index() -> str:
    lines = [
        "# Reference",
        "",
        "Every key of a configuration, made from the settings that the program checks with.",
        "",
    ]
    lines += ["| page | keys of |", "| --- | --- |"]
    lines += [f"| [{title}]({page}.md) | {', '.join(names)} |" for page, (title, names) in PAGES.items()]
    lines += ["| [scratch](families.md) | each architecture from scratch, with its tokenizer |", ""]
    lines += [
        '**Numbers** may be written as `0.00001`, `1e-5`, `"1e-5"` or `1/100000`. **Needed** keys have no default.',
        "Examples are taken from these pages and load. The [guide](../configuration.md) shows how a configuration is put together.",
        "",
    ]
    return "\n".join(lines)


def families() -> str:
    """Each architecture's settings from scratch, with their defaults."""
    lines = [
        "# scratch",
        "",
        "`from: {scratch: {family: NAME, ...}, tokenizer: {...}}`: architectures with random weights.",
        "",
    ]
    lines += ["Keys have the names of the architecture's config. The defaults train on a processor.", ""]
    for name, family in FAMILIES.items():
        if not family.scratch:
            continue
        lines += [f"## `{name}` {{#{name}}}", "", f"Task `{family.task}`, `{family.config}`.", ""]
        for title, settings in (("scratch", family.scratch), ("tokenizer", family.tokenizer)):
            if settings:
                lines += [f"| {title} | default |", "| --- | --- |"]
                lines += [f"| `{key}` | `{spelt(value)}` |" for key, value in settings.items()]
                lines.append("")
    return "\n".join(lines)
