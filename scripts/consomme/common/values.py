"""Spellings of values in configurations, and their meaning.

`1e-5`, `"0.00001"` and `1/2` are numbers however YAML reads them. `no` where text is expected is an error that asks for
quotes, because YAML reads it as false.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue

from consomme.common.addresses import is_address, parts
from consomme.common.errors import ConsommeError

NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]*$"
LARGEST = sys.float_info.max
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def number(value: Any) -> Any:
    """A float from 3, 3.0, "3e0", "6/2"; must be finite. Other types are returned for pydantic to refuse."""
    if isinstance(value, bool):
        raise ValueError("a number is needed here; YAML reads yes, no, on and off as true and false")
    if isinstance(value, str):
        try:
            value = float(Fraction(value.replace(" ", ""))) if "/" in value else float(value)
        except (ValueError, ZeroDivisionError):
            raise ValueError("a number is needed here, such as 0.00001, 1e-5 or 1/2") from None
        except OverflowError:
            value = float("inf")
    # larger values fit neither into a job's JSON nor into computations
    if isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise ValueError("a finite number is needed here, of the size of a float")
    return value


def integer(value: Any) -> Any:
    """An int from 4000, 4000.0, "4e3"; anything with a fraction is refused."""
    value = number(value)
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError("a whole number is needed here")
        value = int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number of at most 64 bits is needed here")
    return value


def text(value: Any) -> Any:
    """Text as it stands. YAML turns a bare `no` into false and `1` into a number: the error asks for quotes."""
    if isinstance(value, bool):
        word = "no" if value is False else "yes"
        raise ValueError(f'text is needed here; if you wrote {word}, YAML read it as {value}: write "{word}" in quotes')
    if isinstance(value, int | float):
        raise ValueError(f'text is needed here: write "{value}" in quotes')
    return value


def place(value: Any) -> Any:
    """A path that a file system can hold, or the address of an object in a store; suffixes such as .en.gz may follow it."""
    if isinstance(value, str) and any(len(part.encode("utf-8", "replace")) > 240 for part in value.split("/")):
        raise ValueError("a part of this path has more than 240 bytes")
    if isinstance(value, str) and ("\0" in value or len(value) > 4000):
        raise ValueError("no path has a character 0, or more than 4000 characters")
    if is_address(value):
        try:
            parts(value)
        except ConsommeError as error:
            raise ValueError(str(error)) from None
    return text(value)


def local(value: Any) -> Any:
    """A path on this machine, and no address."""
    if is_address(value):
        raise ValueError("a path on this machine is needed here; addresses go into the `path` of a corpus")
    return place(value)


def share(value: Any) -> str | list[int]:
    """A value of `drop`: a fraction strictly between 0 and 1, as its shortest spelling, or a list of numbers from 1."""
    if isinstance(value, list | tuple):
        numbers = [integer(v) for v in value]
        if not numbers or any(not isinstance(v, int) or v < 1 for v in numbers):
            raise ValueError("a list of layers is wanted, counted from 1, such as [2, 5, 8]")
        return numbers
    if isinstance(value, bool) or value is None:
        raise ValueError("a fraction such as 1/3, or a list such as [2, 5, 8], is needed here")
    if isinstance(value, int) and value < 1:
        raise ValueError("layers count from 1, and a fraction lies strictly between 0 and 1")
    if isinstance(value, int) or (isinstance(value, str) and value.strip().isdigit()):
        raise ValueError(
            f"a bare integer is ambiguous: write a list, such as [{value}], to drop the layer of that number, "
            "or a fraction, such as 1/3, to drop that share"
        )
    return _between(value, "a fraction such as 1/3, or a list such as [2, 5, 8], is needed here")


def part(value: Any) -> str:
    """A fraction strictly between 0 and 1, in its shortest spelling, for units that can't be listed by number."""
    return _between(value, "a fraction is needed here, such as 1/4")


def _between(value: Any, wanted: str) -> str:
    """The shortest spelling of a fraction strictly between 0 and 1: 0.33 and 1/3 differ, 0.5 and 1/2 do not."""
    plain = str(value).replace(" ", "")
    try:
        # first as a float: the fraction of 1e999999999 would have a billion digits
        found = Fraction(plain) if 0 < number(plain) < 1 else None
    except (ValueError, ZeroDivisionError):
        raise ValueError(wanted) from None
    if found is None:
        raise ValueError("a fraction must lie strictly between 0 and 1, such as 1/4")
    return str(found)


@dataclass(frozen=True)
class _Spellings:
    """The JSON types of a number's spellings; its bounds stay."""

    types: tuple[str, ...]

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler.resolve_ref_schema(handler(core))
        return {"type": list(self.types), **{key: found[key] for key in BOUNDS if key in found}}


Number = Annotated[float, BeforeValidator(number), _Spellings(("number", "string"))]
Integer = Annotated[int, BeforeValidator(integer), _Spellings(("integer", "number", "string"))]
Text = Annotated[str, BeforeValidator(text), WithJsonSchema({"type": "string"})]
Place = Annotated[str, BeforeValidator(place), WithJsonSchema({"type": "string"})]
Local = Annotated[str, BeforeValidator(local), WithJsonSchema({"type": "string"})]
Part = Annotated[str, BeforeValidator(part), WithJsonSchema({"type": ["number", "string"]})]
Share = Annotated[
    str | list[int],
    BeforeValidator(share),
    WithJsonSchema(
        {"anyOf": [{"type": ["number", "string"]}, {"type": "array", "items": {"type": "integer", "minimum": 1}}]}
    ),
]

# a single text means a list of one
Texts = Annotated[
    list[Text],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]),
]


def spell(value: Any) -> str:
    """A swept value as part of a path: no slash, no space, no comma, the same for equal values."""
    if isinstance(value, dict):
        parts = [k if v in (1, 1.0) else f"{spell(v)}*{k}" for k, v in sorted(value.items())]
        return "+".join(map(str, parts)) or "none"
    if isinstance(value, list | tuple):
        return "+".join(spell(v) for v in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, str):
        plain = value.replace("/", "of") if "/" in value and _fraction(value) else value.replace("/", "_")
        return "".join(c if c.isalnum() or c in "._-+*{}" else "_" for c in plain)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _fraction(value: str) -> bool:
    try:
        Fraction(value)
    except (ValueError, ZeroDivisionError):
        return False
    return True
