"""Every key of a configuration as plain data, for pages and tables: taken from the models that validate.

`sections()` lists the sections in the order in which one reads about them. An item of a table, such as an averaging
method, is a section of its own that holds only the keys that it adds; other packages' items are among them."""

from __future__ import annotations

import sys
import types
import typing
from dataclasses import dataclass, field
from typing import Any

import annotated_types
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from consomme.common.settings import Chosen, Section, assembled, items, keys
from consomme.common.settings import sections as inner
from consomme.common.values import Integer, Local, Number, Place, Share, Text, part
from consomme.plan.schema import VERBS, Configuration, Experiment


@dataclass(frozen=True)
class KeyReference:
    """One key."""

    name: str  # as it is written
    type: str  # in words: number, whole number, text, list of text, ...
    default: str  # as YAML; empty where there is none, "(needed)" where the key must be given
    allowed: str  # values or bounds in words; empty if every value of the type is
    description: str
    section: str = ""  # name of the nested section, if the key has one
    example: str = ""  # a value as YAML, where the model gives one


@dataclass(frozen=True)
class SectionReference:
    """A mapping and its keys."""

    name: str  # unique: AverageNode, or AverageNode:ties for the keys that `ties` adds
    title: str  # for a heading
    description: str
    kind: str  # experiment, corpus, a verb (from, train, average, prune, export), or section (nested in others)
    keys: list[KeyReference] = field(default_factory=list)
    # for the keys that an item of a table adds:
    of: str = ""  # name of the section that they are added to
    by: str = ""  # key of that section that selects the item
    item: str = ""  # name of the item


def sections() -> list[SectionReference]:
    """All sections, each once: the whole, experiments, verbs, corpora, and their nested sections."""
    found: dict[str, SectionReference] = {}
    _add(Configuration, "configuration", found)
    _add(Experiment, "experiment", found)
    for verb, node in VERBS.items():
        _add(node, verb, found)
    return list(found.values())


def keys_of(model: type[Section]) -> list[KeyReference]:
    """The keys of one section, such as a family's settings of a new model."""
    return _keys(model, keys(model))


def _add(model: type[Section], kind: str, found: dict[str, SectionReference]) -> None:
    name = model.__name__
    if name in found:
        return
    found[name] = SectionReference(name, _title(name), _words(model), kind, _keys(model, keys(model)))
    below = [model]
    if issubclass(model, Chosen):
        for item in items(model):
            own = model.TABLE[item].settings
            whole = assembled(model, item)
            found[f"{name}:{item}"] = SectionReference(
                f"{name}:{item}",
                item,
                _about(model.TABLE[item]),
                kind,
                _keys(whole, keys(own)),
                of=name,
                by=model.BY,
                item=item,
            )
            below.append(own)
    for one in below:
        for info in one.model_fields.values():
            for section in inner(info.annotation):
                _add(section, VERB_OF.get(section.__name__, _kind(section)), found)


VERB_OF = {node.__name__: verb for verb, node in VERBS.items()}


def _kind(section: type[Section]) -> str:
    return {"Corpus": "corpus", "Relabelled": "corpus", "Experiment": "experiment"}.get(section.__name__, "section")


def _keys(model: type[BaseModel], wanted: list[str]) -> list[KeyReference]:
    fields = {info.alias or name: info for name, info in model.model_fields.items()}
    return [_key(model, name, fields[name]) for name in wanted]


def _key(model: type[BaseModel], name: str, info: FieldInfo) -> KeyReference:
    below = inner(info.annotation)
    allowed = _bounds(info.metadata) or _literals(info.annotation)
    if issubclass(model, Chosen) and name == model.BY:
        allowed = ", ".join(items(model))
    return KeyReference(
        name,
        "fraction" if BeforeValidator(part) in info.metadata else _type(info.annotation),
        _default(info),
        allowed,
        info.description or "",
        below[0].__name__ if below else "",
        ", ".join(map(_yaml, info.examples or [])),
    )


def _default(info: FieldInfo) -> str:
    if info.default_factory is not None:
        value: Any = info.get_default(call_default_factory=True, validated_data={})
        return _yaml(value.model_dump(by_alias=True)) if isinstance(value, BaseModel) else _yaml(value)
    if info.default is PydanticUndefined:
        return "(needed)"
    return "" if info.default is None else _yaml(info.default)


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_yaml(v)}' for k, v in value.items())}}}"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


# annotated type -> name in the documentation
_NAMES = {"float": "number", "int": "whole number", "str": "text", "bool": "true or false"}
_SPELT = {
    Number: "number",
    Integer: "whole number",
    Text: "text",
    Place: "text",
    Local: "text",
    Share: "fraction or list of numbers",
}


def _type(annotation: Any) -> str:
    for spelt, word in _SPELT.items():
        if annotation == spelt:
            return word
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(inside[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(a) for a in inside if a is not type(None)))
    if origin is typing.Literal:
        return "true or false" if set(inside) <= {True, False} else "one of these words"
    if origin is list:
        return f"list of {_plural(inside[0])}"
    if origin is tuple:
        return f"list of {len(inside)} {_plural(inside[0])}"
    if origin is dict:
        return f"mapping to {_plural(inside[1])}"
    if annotation is not Any and isinstance(annotation, type):
        return "section" if issubclass(annotation, BaseModel) else _NAMES.get(annotation.__name__, annotation.__name__)
    return "anything"


def _plural(annotation: Any) -> str:
    word = _type(annotation)
    return {"number": "numbers", "whole number": "whole numbers", "section": "sections"}.get(word, word)


def _literals(annotation: Any) -> str:
    """The words that a field allows."""
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(map(_yaml, typing.get_args(annotation)))
    return ", ".join(filter(None, dict.fromkeys(_literals(a) for a in typing.get_args(annotation))))


def _bounds(metadata: list[Any]) -> str:
    """The bounds of a number or a list in words."""
    words = []
    for one in metadata:
        for sign, name in (("≥", "ge"), (">", "gt"), ("≤", "le"), ("<", "lt")):
            if isinstance(one, annotated_types.Interval | annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt) and (bound := getattr(one, name, None)) is not None:  # fmt: skip
                words.append(f"{sign} {_yaml(bound)}")
        if isinstance(one, annotated_types.MinLen):
            words.append(f"at least {one.min_length}")
        if isinstance(one, annotated_types.MaxLen):
            words.append(f"at most {one.max_length}")
    return ", ".join(words)


def _title(name: str) -> str:
    verb = {node.__name__: verb for verb, node in VERBS.items()}.get(name)
    return verb or "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def _words(model: type) -> str:
    return (model.__doc__ or "").strip()


def _about(item: Any) -> str:
    """Description of a table's item: the first paragraph of the docstring of its functions' file, or of its class."""
    functions = [value for value in vars(item).values() if isinstance(value, types.FunctionType)]
    text = sys.modules[functions[0].__module__].__doc__ if functions else type(item).__doc__
    return " ".join((text or "").split("\n\n")[0].split())
