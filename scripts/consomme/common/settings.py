"""Settings in configurations. A section is a mapping with a fixed set of keys; each has a type, bounds, a default and
one line of description. An item that is chosen by name defines its own settings in its own file."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError, create_model, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import InitErrorDetails, PydanticCustomError

from consomme.common.addresses import without_secrets
from consomme.common.errors import ConsommeError, nearest
from consomme.common.table import Table
from consomme.common.values import NAME, Text

# it becomes part of the names of files, which have 255 bytes at most
Name = Annotated[str, Field(pattern=NAME, max_length=100)]
# en, zh-Hant, eng_Latn; it becomes part of the names of files
Language = Annotated[Text, Field(pattern=r"^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$", max_length=35)]
UNKNOWN_NAME = "unknown_name"  # an error type whose message already contains the value given


class Section(BaseModel):
    """A mapping with a fixed set of keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    ELSEWHERE: ClassVar[Mapping[str, str]] = {}  # keys that other tools have: what to do here instead


class Chosen(Section):
    """A section in which one key names an item of a table; the item's own settings are further keys of it.

    A subclass has the keys that all items share. `assembled` makes the model that validates a mapping: the subclass with
    the `settings` of the item that the mapping names."""

    BY: ClassVar[str]  # the key that names the item
    TABLE: ClassVar[Table[Any]]  # of items with `settings`, a Section
    HIDDEN: ClassVar[tuple[str, ...]] = ()  # items that are not for configurations
    ITEM: ClassVar[str | None] = None  # of an assembled model: the item's name

    @model_validator(mode="wrap")
    @classmethod
    def _by_name(cls, given: Any, handler: Any) -> Any:
        if cls.ITEM is None and isinstance(given, Mapping) and isinstance(name := _named(cls, given), str):
            if name not in items(cls):
                raise ValidationError.from_exception_data(cls.__name__, [_unknown(cls, name)])
            return assembled(cls, name).model_validate(given)
        return handler(given)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The shared keys and the keys of all items; the description of an item's key begins with the item's name. If an
        item is named, the keys of others are forbidden."""
        found = handler(core)
        if cls.ITEM is None:
            own = {
                name: handler.resolve_ref_schema(handler(cls.TABLE[name].settings.__pydantic_core_schema__))
                for name in items(cls)
            }
            _offer(handler.resolve_ref_schema(found), cls.BY, own)
        return found


def items(model: type[Chosen]) -> list[str]:
    """The names that a configuration may give."""
    return [name for name in model.TABLE if name not in model.HIDDEN]


def assembled(model: type[Chosen], name: str) -> type[Chosen]:
    """The model of a section that names an item: the shared keys and the item's own settings."""
    return _assembled(model, name, model.TABLE[name].settings)


def owners(model: type[Chosen], key: str) -> list[str]:
    """The items with a setting `key`."""
    return [name for name in items(model) if key in keys(model.TABLE[name].settings)]


def keys(model: type[BaseModel]) -> list[str]:
    """The keys of a section as configurations spell them."""
    return [field.alias or name for name, field in model.model_fields.items()]


@cache
def _assembled(model: type[Chosen], name: str, settings: type[Section]) -> type[Chosen]:
    if taken := [key for key in keys(settings) if key in keys(model)]:
        raise ConsommeError(f"the {model.TABLE.what} '{name}' can't have a setting '{taken[0]}': all of them have it")
    base = (model, settings) if settings is not Section else (model,)
    made: Any = create_model(f"{model.__name__}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}", __base__=base)
    made.ITEM = name
    made.__doc__ = settings.__doc__ if settings is not Section else model.__doc__
    return made


def _named(model: type[Chosen], given: Mapping[str, Any]) -> Any:
    """The item that a mapping names, else the default item; None if there is neither."""
    default = model.model_fields[model.BY].default
    name = given.get(model.BY, default)
    return name if isinstance(name, str) else None


def _unknown(model: type[Chosen], name: str) -> InitErrorDetails:
    allowed = items(model)
    message = f"there is no {model.TABLE.what} '{name}'{nearest(name, allowed)}; allowed: {', '.join(allowed)}"
    error = PydanticCustomError(UNKNOWN_NAME, "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=(model.BY,), input=name)


def defaults(model: type[Section] | None) -> dict[str, Any]:
    """Key -> default of a section in which no key is needed. Empty for None."""
    return model().model_dump(by_alias=True) if model else {}


def checked(model: type[Section], given: Mapping[str, Any], called: Callable[[str], str] = str) -> Any:
    """The mapping as a validated section. ConsommeError, with a line per problem, if it is invalid. called: key -> its name
    in messages, as the user typed it."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        found = problems(model, given, error)
        lines = (f"{called(key)}: {what}" if key else what for key, what in found)
        raise ConsommeError("\n".join(lines)) from None


# -- for editors ---------------------------------------------------------------------------------------------------------
def _offer(shared: JsonSchemaValue, by: str, own: Mapping[str, JsonSchemaValue]) -> None:
    """Add items' keys to the JSON schema of a section. No keys are forbidden or needed in a node with a sweep, whose runs may
    use different items, or with a choice of settings."""
    properties = shared["properties"]
    properties[by] = {**properties[by], "enum": [*own, *([None] if "anyOf" in properties[by] else [])]}
    properties[by].pop("anyOf", None)
    kinds: dict[
        str, dict[str, tuple[JsonSchemaValue, list[str]]]
    ] = {}  # key -> its schemas, each with the items that have it
    for name, settings in own.items():
        for key, schema in settings.get("properties", {}).items():
            kind = kinds.setdefault(key, {}).setdefault(json.dumps(schema, sort_keys=True), (schema, []))
            kind[1].append(name)
    for key, several in kinds.items():
        words = [f"{', '.join(names)}: {schema.get('description', '')}" for schema, names in several.values()]
        plain = [
            {k: v for k, v in schema.items() if k not in ("description", "title")} for schema, _ in several.values()
        ]
        different = [schema for n, schema in enumerate(plain) if schema not in plain[:n]]
        one = different[0] if len(different) == 1 else {"anyOf": different}
        properties[key] = {**one, "description": "; ".join(words)}
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for name, settings in own.items():
        mine = (tuple(settings.get("properties", {})), tuple(settings.get("required", ())))
        alike.setdefault(mine, []).append(name)
    for (mine, needed), names in alike.items():
        named: JsonSchemaValue = {"properties": {by: {"enum": names}}, "required": [by]}
        if several := [{"required": [key]} for key in ("sweep", "choose") if key in properties]:
            named["not"] = {"anyOf": several}
        then: JsonSchemaValue = {"properties": {key: False for key in kinds if key not in mine}}
        if needed:
            then["required"] = list(needed)
        if kinds:
            shared.setdefault("allOf", []).append({"if": named, "then": then})


# -- what is wrong, in words --------------------------------------------------------------------------------------------
def problems(model: type[Section], given: Mapping[str, Any], error: ValidationError) -> list[tuple[str, str]]:
    """The dotted key (empty for the section itself) and what is wrong there: what was given, what is allowed, the nearest
    right word."""
    found = [_problem(model, given, problem) for problem in error.errors()]
    return list(dict.fromkeys(found))


def _problem(model: type[Section], given: Mapping[str, Any], problem: Any) -> tuple[str, str]:
    where = ".".join(str(part) for part in problem["loc"] if not _is_tag(part))
    kind, value = problem["type"], problem.get("input")
    if kind in ("extra_forbidden", "missing"):
        key = str(problem["loc"][-1])
        here = _section_at(model, given, problem["loc"][:-1])
        return where, _unknown_key(here, key) if kind == "extra_forbidden" else _missing(here, key)
    if kind == UNKNOWN_NAME:
        return where, problem["msg"]
    if kind == "string_pattern_mismatch":
        return where, f"{shown(value)} can't be a name: letters, digits, - and _ only"
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "value_error" and isinstance(value, Mapping):
        return where, message
    if kind == "literal_error":
        message += nearest(str(value), re.findall(r"'([^']*)'", problem["ctx"]["expected"]))
    return where, f"{message}; given: {shown(value)}"


def _unknown_key(here: type[Section] | None, key: str) -> str:
    if here is not None and issubclass(here, Chosen) and (others := owners(here, key)):
        noun = here.TABLE.what.split()[-1]
        if here.ITEM is None:
            return f"has no use here; it goes with `{here.BY}`: {', '.join(others)}"
        return f"belongs to another {noun} than {here.ITEM}: {', '.join(others)}"
    if here is not None and key in here.ELSEWHERE:
        return f"unknown key; {here.ELSEWHERE[key]}"
    allowed = keys(here) if here else []
    return f"unknown key{nearest(key, allowed)}; allowed: {', '.join(allowed) or 'none'}"


def _missing(here: type[Section] | None, key: str) -> str:
    if here is not None and issubclass(here, Chosen) and here.ITEM and key in keys(here.TABLE[here.ITEM].settings):
        return f"{here.ITEM} needs it"
    return "this key is needed"


def _is_tag(part: Any) -> bool:
    """Whether a part of pydantic's path is the name of a union member or validator, which the user never wrote."""
    return isinstance(part, str) and (part in _TAGS or "[" in part or part[:1].isupper())


_TAGS = {"int", "float", "str", "bool", "constrained-int", "constrained-float"}


def _section_at(model: type[Section], given: Any, place: Iterable[Any]) -> type[Section] | None:
    """The model that validated the section at `place` inside `given`."""
    here: type[Section] | None = _checked_by(model, given)
    for part in place:
        if here is None:
            return None
        given = given[part] if isinstance(given, Mapping) and part in given else given
        found = [f.annotation for n, f in here.model_fields.items() if (f.alias or n) == part]
        if found:
            inner = sections(found[0])
            here = _checked_by(inner[0], given) if inner else here
    return here


def _checked_by(model: type[Section], given: Any) -> type[Section]:
    if issubclass(model, Chosen) and model.ITEM is None and isinstance(given, Mapping):
        name = _named(model, given)
        return assembled(model, name) if name in items(model) else model
    return model


def sections(annotation: Any) -> list[type[Section]]:
    """The sections that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, list, dict, tuple, typing.Annotated):
        return [s for a in typing.get_args(annotation) for s in sections(a)]
    return []


def shown(value: Any) -> str:
    """A value for an error message, without what may be secret in addresses, cut to 80 characters."""
    text = without_secrets(repr(value))
    return text if len(text) <= 80 else text[:77] + "..."
