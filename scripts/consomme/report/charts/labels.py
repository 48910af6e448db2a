"""Names beside points: those of points that lie on each other share a line, the rest keep out of each other's way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt

WIDTH = 640  # pixels of a published chart; in a wider one there is more room
SIZE, LETTER, LINE = 12, 6.4, 14  # of the letters, their mean width, the height of a line
DOT = 6  # half of a point's width
# corner of a point -> (alignment, to the right, down)
CORNERS = {
    "above right": ("left", 9, -9),
    "below right": ("left", 9, 11),
    "above left": ("right", -9, -9),
    "below left": ("right", -9, 11),
}


class Axis(NamedTuple):
    """What a chart's axis shows: field of the rows, all values that have to fit on it, whether it is turned."""

    field: str
    values: Sequence[float]
    turned: bool = False

    def at(self, value: float) -> float:
        """Where the value lies, 0 at the left or bottom, 1 at the other end."""
        low, high = min(self.values), max(self.values)
        share = (value - low) / (high - low) if high > low else 0.5
        return 1 - share if self.turned else share


def layers(
    rows: Iterable[Mapping[str, Any]], name: str, x: Axis, y: Axis, height: int, encoding: Mapping[str, Any]
) -> list[Any]:
    """Layers of a chart that write each row's field `name` beside its point. encoding: the chart's own x and y."""
    found = placed([row for row in rows if row[name]], name, x, y, height)
    chart: Any = alt.Chart  # altair's decorator hides from type checkers what marks return
    return [
        chart(alt.Data(values=[row for row in found if row["corner"] == corner]))
        .mark_text(align=align, dx=right, dy=down, fontSize=SIZE)
        .encode(text="label:N", **encoding)
        for corner, (align, right, down) in CORNERS.items()
        if any(row["corner"] == corner for row in found)
    ]


def placed(rows: Sequence[Mapping[str, Any]], name: str, x: Axis, y: Axis, height: int) -> list[dict[str, Any]]:
    """The labels, from top to bottom: the point's values, `label`, and the `corner` of it where least is in the way."""
    groups: list[tuple[float, float, list[Mapping[str, Any]]]] = []
    for row in rows:
        right, down = WIDTH * x.at(row[x.field]), height * (1 - y.at(row[y.field]))
        near = [g for g in groups if abs(g[0] - right) < DOT and abs(g[1] - down) < DOT]
        near[0][2].append(row) if near else groups.append((right, down, [row]))
    taken = [_box("left", right - DOT, down, 2 * DOT) for right, down, _ in groups]
    found = []
    for right, down, together in sorted(groups, key=lambda g: (g[1], g[0])):
        label = ", ".join(str(row[name]) for row in together)
        boxes = {
            corner: _box(align, right + dx, down + dy, LETTER * len(label))
            for corner, (align, dx, dy) in CORNERS.items()
        }
        best = min(
            boxes, key=lambda corner: sum(_cover(boxes[corner], other) for other in taken) + _beyond(boxes[corner])
        )
        taken.append(boxes[best])
        first = together[0]
        found.append({x.field: first[x.field], y.field: first[y.field], "label": label, "corner": best})
    return found


Box = tuple[float, float, float, float]  # left, right, top, bottom


def _box(align: str, right: float, down: float, width: float) -> Box:
    left = right if align == "left" else right - width
    return left, left + width, down - LINE / 2, down + LINE / 2


def _cover(one: Box, other: Box) -> float:
    """The area that both have."""
    across, along = min(one[1], other[1]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[2], other[2])
    return across * along if across > 0 and along > 0 else 0.0


def _beyond(box: Box) -> float:
    """The area beside the chart."""
    return LINE * (max(0.0, -box[0]) + max(0.0, box[1] - WIDTH))
