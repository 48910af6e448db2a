"""The table of averaging methods. One more method is one more small file and one line here, or an entry point of another
package in the group `consomme.averaging` that loads to a `Method`. Importing this imports nothing heavy."""

from __future__ import annotations

from importlib.metadata import entry_points

from consomme.average.methods.base import Method
from consomme.average.methods.best import BEST
from consomme.average.methods.greedy import GREEDY
from consomme.average.methods.interpolate import INTERPOLATE
from consomme.average.methods.uniform import UNIFORM
from consomme.common.errors import ConsommeError, nearest

__all__ = ["TABLE", "Method", "method_named"]

GROUP = "consomme.averaging"


def _table() -> dict[str, Method]:
    table = {method.name: method for method in (UNIFORM, GREEDY, INTERPOLATE, BEST)}
    for point in entry_points(group=GROUP):
        if point.name in table:
            raise ConsommeError(f"{GROUP}: the entry point '{point.value}' takes the name '{point.name}' once more")
        table[point.name] = point.load()
    return table


TABLE: dict[str, Method] = _table()


def method_named(name: str) -> Method:
    """The method of that name."""
    if name not in TABLE:
        raise ConsommeError(f"no averaging method '{name}'; there are {', '.join(TABLE)}{nearest(name, TABLE)}")
    return TABLE[name]
