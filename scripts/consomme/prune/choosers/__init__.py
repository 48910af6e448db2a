"""The table of layer choosers. One more is one more small file and one line here, or an entry point of another package in
the group `consomme.choosers` that loads to a `Chooser`. Importing this imports nothing heavy."""

from __future__ import annotations

from importlib.metadata import entry_points

from consomme.common.errors import ConsommeError, nearest
from consomme.prune.choosers.base import Chooser
from consomme.prune.choosers.greedy import GREEDY
from consomme.prune.choosers.truncate import TRUNCATE
from consomme.prune.choosers.uniform import UNIFORM

__all__ = ["TABLE", "Chooser", "chooser_named"]

GROUP = "consomme.choosers"


def _table() -> dict[str, Chooser]:
    table = {chooser.name: chooser for chooser in (UNIFORM, TRUNCATE, GREEDY)}
    for point in entry_points(group=GROUP):
        if point.name in table:
            raise ConsommeError(f"{GROUP}: the entry point '{point.value}' takes the name '{point.name}' once more")
        table[point.name] = point.load()
    return table


TABLE: dict[str, Chooser] = _table()


def chooser_named(name: str) -> Chooser:
    """The chooser of that name."""
    if name not in TABLE:
        raise ConsommeError(f"no layer chooser '{name}'; there are {', '.join(TABLE)}{nearest(name, TABLE)}")
    return TABLE[name]
