"""Names beside points: those of points that lie on each other share a line, the rest keep out of each other's way, with a
thin line to their point where there is room only further off. No two names touch: one that fits nowhere is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt

from consomme.report.charts.style import chart_of

WIDTH = 640  # pixels of a published chart; in a wider one there is more room
SIZE, LETTER, LINE = 12, 6.4, 14  # of the letters, their mean width, the height of a line
DOT = 6  # half of a point's width
TICKS = 10  # about as many make an axis end at round numbers
ROUND = ((10, 50**0.5), (5, 10**0.5), (2, 2**0.5), (1, 0))  # d3's: steps, and from where on each is the nearest
NAMES = 4  # of points that lie on each other, so many are written out
# corner of a point -> (alignment, to the right, down)
CORNERS = {
    "above right": ("left", 9, -9),
    "below right": ("left", 9, 11),
    "above left": ("right", -9, -9),
    "below left": ("right", -9, 11),
}
# further off: (alignment, to the right, down), nearer ones first
FURTHER = [
    ("left" if math.cos(angle) >= 0 else "right", round(far * math.cos(angle)), round(far * math.sin(angle)))
    for far in (24, 36, 50, 66, 84, 104, 126, 150, 180)
    for angle in (math.pi * turn / 12 for turn in range(24))
]


class Axis(NamedTuple):
    """What a chart's axis shows: field of the rows, all values that have to fit on it, whether it is turned, and how many
    pixels stay free at its ends before these become round numbers."""

    field: str
    values: Sequence[float]
    turned: bool = False
    padding: float = 0

    def ends(self, length: float) -> tuple[float, float]:
        """The least and the greatest value that it reaches, as Vega makes them: padded, then round (d3's `nice`)."""
        low, high = min(self.values), max(self.values)
        if not high > low:
            return low - 1, high + 1
        more = (high - low) * self.padding / (length - 2 * self.padding)
        low, high = low - more, high + more
        for _ in range(3):  # the rounder the ends, the rounder the steps may have to be
            rough = (high - low) / TICKS
            power = 10.0 ** math.floor(math.log10(rough))
            step = power * next(n for n, least in ROUND if rough / power >= least)
            low, high = math.floor(low / step) * step, math.ceil(high / step) * step
        return low, high

    def at(self, value: float, length: float) -> float:
        """How many pixels the value lies from the left or bottom, on an axis of so many."""
        low, high = self.ends(length)
        share = (value - low) / (high - low)
        return length * (1 - share if self.turned else share)

    def holds(self, at: float, length: float) -> bool:
        """Whether that many pixels from the left or bottom lie between the least and the greatest value."""
        ends = [self.at(value, length) for value in (min(self.values), max(self.values))]
        return min(ends) <= at <= max(ends)

    def value(self, at: float, length: float) -> float:
        """The value that lies so many pixels from the left or bottom."""
        low, high = self.ends(length)
        share = at / length
        return low + (high - low) * (1 - share if self.turned else share)


def layers(
    rows: Iterable[Mapping[str, Any]], name: str, x: Axis, y: Axis, height: int, encoding: Mapping[str, Any]
) -> list[Any]:
    """Layers of a chart that write each row's field `name` beside its point; points without one are kept clear of names.
    encoding: the chart's own x and y."""
    found = placed(list(rows), name, x, y, height)
    far = [row for row in found if "from_x" in row]
    lines = chart_of(far).mark_rule(strokeWidth=0.8, opacity=0.55)
    ends = {"x2": alt.X2("from_x:Q"), "y2": alt.Y2("from_y:Q")}
    ways = {**CORNERS, "left": ("left", 2, 0), "right": ("right", -2, 0)}
    return [lines.encode(**encoding, **ends)] * bool(far) + [
        chart_of(row for row in found if row["corner"] == corner)
        .mark_text(align=align, dx=right, dy=down, fontSize=SIZE)
        .encode(text="label:N", **encoding)
        for corner, (align, right, down) in ways.items()
        if any(row["corner"] == corner for row in found)
    ]


def placed(rows: Sequence[Mapping[str, Any]], name: str, x: Axis, y: Axis, height: int) -> list[dict[str, Any]]:
    """The labels, from top to bottom: `label`, where it is written (the axes' fields) and the `corner` of that place; where
    this is not the point itself, also the point: from_x, from_y."""
    points = [(row, x.at(row[x.field], WIDTH), height - y.at(row[y.field], height)) for row in rows]
    groups: list[tuple[float, float, list[Mapping[str, Any]]]] = []
    for row, right, down in points:
        if row[name]:
            near = [g for g in groups if abs(g[0] - right) < DOT and abs(g[1] - down) < DOT]
            near[0][2].append(row) if near else groups.append((right, down, [row]))
    dots = [_box("left", right - DOT, down, 2 * DOT) for _, right, down in points]
    names: list[Box] = []
    lines: list[tuple[Box, ...]] = []
    found = []
    for right, down, together in sorted(groups, key=lambda g: (g[1], g[0])):
        label = _joined([str(row[name]) for row in together])
        best = None
        for corner, align, dx, dy in _places():
            box = _box(align, right + dx, down + dy, LETTER * len(label))
            line = () if corner in CORNERS else _line(right, down, dx, dy)
            # a name that stood outside of the values would make the axis longer
            if line and not (x.holds(right + dx, WIDTH) and y.holds(height - down - dy, height)):
                continue
            if _beyond(box, height) or any(_cover(box, other) for other in names):
                continue
            if any(_cover(piece, other) for piece in line for other in names):
                continue
            if any(_cover(box, piece) for other in lines for piece in other):
                continue
            # a dot that is covered is worse than a name somewhat further off
            cost = sum(_cover(box, dot) for dot in dots) + (math.hypot(dx, dy) if line else 0)
            if best is None or cost < best[0]:
                best = cost, corner, dx, dy, box, line
        if best is None:
            continue
        _, corner, dx, dy, box, line = best
        names.append(box)
        lines.append(line)
        first = together[0]
        place = {x.field: first[x.field], y.field: first[y.field]}
        if line:
            place = {"from_x": first[x.field], "from_y": first[y.field]}
            place |= {x.field: x.value(right + dx, WIDTH), y.field: y.value(height - down - dy, height)}
        found.append({**place, "label": label, "corner": corner})
    return found


def _joined(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES])
    return shown if len(names) <= NAMES else f"{shown} and {len(names) - NAMES} more"


def _places() -> Iterator[tuple[str, str, float, float]]:
    yield from ((corner, align, dx, dy) for corner, (align, dx, dy) in CORNERS.items())
    yield from ((align, align, dx, dy) for align, dx, dy in FURTHER)


Box = tuple[float, float, float, float]  # left, right, top, bottom


def _box(align: str, right: float, down: float, width: float) -> Box:
    left = right if align == "left" else right - width
    return left, left + width, down - LINE / 2, down + LINE / 2


def _cover(one: Box, other: Box) -> float:
    """The area that both have."""
    across, along = min(one[1], other[1]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[2], other[2])
    return across * along if across > 0 and along > 0 else 0.0


def _line(right: float, down: float, dx: float, dy: float) -> tuple[Box, ...]:
    """A line from a point, as small boxes; what lies under the dot itself is none of it."""
    steps = max(2, round(math.hypot(dx, dy) / 4))
    at = ((right + dx * n / steps, down + dy * n / steps) for n in range(2, steps))
    return tuple((across - 1, across + 1, along - 1, along + 1) for across, along in at)


def _beyond(box: Box, height: float) -> bool:
    """Whether it would leave the chart."""
    return box[0] < 0 or box[1] > WIDTH or box[2] < -LINE / 2 or box[3] > height
