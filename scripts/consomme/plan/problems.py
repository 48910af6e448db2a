"""Errors in a configuration: the key's path, the given value, the allowed values, the nearest of them."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from consomme.common.errors import ConsommeError, nearest
from consomme.common.settings import Section, problems, shown


class ConfigurationError(ConsommeError):
    """A configuration that can't be run."""


def fail(path: str, what: str) -> typing.NoReturn:
    """Raise a ConfigurationError that starts with the key's path."""
    raise ConfigurationError(f"{path}: {what}")


def among(path: str, given: Any, allowed: Iterable[str], what: str) -> None:
    """ConfigurationError unless `given` is one of `allowed`."""
    allowed = list(allowed)
    if given not in allowed:
        listed = ", ".join(map(str, allowed)) or "none"
        fail(path, f"there is no {what} '{given}'{nearest(given, allowed)}; allowed: {listed}")


def section(model: type[Section], raw: Any, path: str) -> Any:
    """Validate one mapping. ConfigurationError with one line per problem."""
    if not isinstance(raw, Mapping):
        fail(path, f"a mapping of keys is needed here, not {shown(raw)}")
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        lines = [f"{path}{'.' * bool(key)}{key}: {what}" for key, what in problems(model, raw, error)]
        raise ConfigurationError("\n".join(lines)) from None
