"""The table of export formats. One more format is one more small file and one line here, or an entry point of another
package in the group `consomme.exports` that loads to a `Format`. Importing this imports nothing heavy."""

from __future__ import annotations

from importlib.metadata import entry_points

from consomme.common.errors import ConsommeError, nearest
from consomme.export.formats.base import Format
from consomme.export.formats.ctranslate2 import CTRANSLATE2
from consomme.export.formats.safetensors import SAFETENSORS

__all__ = ["TABLE", "Format", "format_named"]

GROUP = "consomme.exports"


def _table() -> dict[str, Format]:
    table = {form.name: form for form in (SAFETENSORS, CTRANSLATE2)}
    for point in entry_points(group=GROUP):
        if point.name in table:
            raise ConsommeError(f"{GROUP}: the entry point '{point.value}' takes the name '{point.name}' once more")
        table[point.name] = point.load()
    return table


TABLE: dict[str, Format] = _table()


def format_named(name: str) -> Format:
    """The format of that name."""
    if name not in TABLE:
        raise ConsommeError(f"no export format '{name}'; there are {', '.join(TABLE)}{nearest(name, TABLE)}")
    return TABLE[name]
