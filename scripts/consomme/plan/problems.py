"""What is wrong with a configuration, in words: the key's path, what was given, what is allowed, the nearest right word."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from consomme.common.errors import ConsommeError, nearest


class ConfigurationError(ConsommeError):
    """A configuration that can't be run."""


def fail(path: str, what: str) -> typing.NoReturn:
    """Stop, naming the key's path."""
    raise ConfigurationError(f"{path}: {what}")


def among(path: str, given: Any, allowed: Iterable[str], what: str) -> None:
    """Stop unless `given` is one of `allowed`."""
    allowed = list(allowed)
    if given not in allowed:
        listed = ", ".join(map(str, allowed)) or "none"
        fail(path, f"there is no {what} '{given}'{nearest(given, allowed)}; allowed: {listed}")


def section(model: type[BaseModel], raw: Any, path: str) -> Any:
    """Validate one mapping; every problem in it becomes a line of one error."""
    if not isinstance(raw, Mapping):
        fail(path, f"a mapping of keys is wanted here, not {_shown(raw)}")
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        lines = [_line(model, problem, path) for problem in error.errors()]
        raise ConfigurationError("\n".join(dict.fromkeys(lines))) from None


def _line(model: type[BaseModel], problem: Any, path: str) -> str:
    place = [part for part in problem["loc"] if not _is_tag(model, part)]
    where = ".".join([path, *map(str, place)]) if place else path
    kind, given = problem["type"], problem.get("input")
    if kind == "extra_forbidden":
        key = str(problem["loc"][-1])
        allowed = _keys(model, problem["loc"][:-1])
        return f"{where}: unknown key{nearest(key, allowed)}; allowed: {', '.join(allowed)}"
    if kind == "missing":
        return f"{where}: this key is needed"
    if kind == "string_pattern_mismatch":
        return f"{where}: {_shown(given)} can't be a name: letters, digits, - and _ only"
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "value_error" and isinstance(given, Mapping):
        return f"{where}: {message}"
    return f"{where}: {message}; given: {_shown(given)}"


def _is_tag(model: type[BaseModel], part: Any) -> bool:
    """pydantic puts a union member's name or a validator's name into the path: the user never wrote it."""
    return isinstance(part, str) and (part in _TAGS or "[" in part or part[:1].isupper())


_TAGS = {"int", "float", "str", "bool", "constrained-int", "constrained-float"}


def _keys(model: type[BaseModel], place: Iterable[Any]) -> list[str]:
    """The keys allowed at a place inside a model."""
    here: Any = model
    for part in place:
        if not (isinstance(here, type) and issubclass(here, BaseModel)):
            break
        found = [f.annotation for n, f in here.model_fields.items() if (f.alias or n) == part]
        if found:
            inner = _sections(found[0])
            here = inner[0] if inner else here
    if isinstance(here, type) and issubclass(here, BaseModel):
        return [f.alias or n for n, f in here.model_fields.items()]
    return []


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, list, dict, tuple, typing.Annotated):
        return [s for a in typing.get_args(annotation) for s in _sections(a)]
    return []


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
