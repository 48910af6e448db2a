"""Tables of items chosen by name: families, metrics, sources, averaging methods, layer choosers, export formats.

A new item is one small file and one line in its table, or an entry point of another package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

from consomme.common.errors import ConsommeError, nearest


class Named(Protocol):
    """An item of a table."""

    @property
    def name(self) -> str:
        """The word in configurations."""


T = TypeVar("T", bound=Named)


class Table(Mapping[str, T], Generic[T]):
    """Name -> item, in the order given, then those of other packages by the names of their entry points.

    what: the kind of item, for error messages. group: the entry points' group. Entry points are looked up and loaded only
    when needed, so that a table costs nothing to import."""

    def __init__(self, what: str, group: str, *items: T) -> None:
        self.what, self.group = what, group
        self._items: dict[str, T] = {item.name: item for item in items}
        self._points: dict[str, Any] | None = None

    def named(self, name: Any) -> T:
        """The item of that name. ConsommeError, with all names, if there is none."""
        if name not in self:
            raise ConsommeError(f"no {self.what} '{name}'{nearest(name, self)}; allowed: {', '.join(self)}")
        return self[name]

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            self._items[name] = self._others()[name].load()
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self._items, *self._others()])

    def __contains__(self, name: object) -> bool:
        return name in self._items or name in self._others()

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _others(self) -> dict[str, Any]:
        if self._points is None:
            self._points = {}
            for point in _installed().select(group=self.group):
                if point.name in self._items:
                    raise ConsommeError(
                        f"{self.group}: the entry point '{point.value}' has the name '{point.name}' of another item"
                    )
                self._points[point.name] = point
        return self._points


@cache
def _installed() -> Any:
    """The entry points of all installed packages, each of whose files is read for them once."""
    from importlib.metadata import entry_points

    return entry_points()
