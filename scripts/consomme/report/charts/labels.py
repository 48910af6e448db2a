"""Names of points in a chart, placed without overlap.

Points at the same place share a line of names. A name that only fits further off gets a thin line to its point. A name
that fits nowhere is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt

from consomme.report.charts.style import chart_of

WIDTH = 640  # pixels of a published chart; a wider one has more room
SIZE, LETTER, LINE = 12, 6.4, 14  # pixels: font size, mean width of a letter, height of a line
DOT = 6  # pixels, half of a point's width
TICKS = 10  # approximate number of ticks with which an axis ends at round numbers
ROUND = ((10, 50**0.5), (5, 10**0.5), (2, 2**0.5), (1, 0))  # as in d3: step, lowest ratio that it is the nearest for
NAMES = 4  # names written out for points at the same place
# corner of a point -> (alignment, pixels to the right, pixels down)
CORNERS = {
    "above right": ("left", 9, -9),
    "below right": ("left", 9, 11),
    "above left": ("right", -9, -9),
    "below left": ("right", -9, 11),
}
# further off: (alignment, pixels to the right, pixels down), nearer ones first
FURTHER = [
    ("left" if math.cos(angle) >= 0 else "right", round(far * math.cos(angle)), round(far * math.sin(angle)))
    for far in (24, 36, 50, 66, 84, 104, 126, 150, 180)
    for angle in (math.pi * turn / 12 for turn in range(24))
]


class Axis(NamedTuple):
    """An axis of a chart."""

    field: str  # of the rows
    values: Sequence[
        float | None
    ]  # all values that must fit on it; None and NaN, as of an interval that isn't there, take no room
    turned: bool = False  # whether it is reversed
    padding: float = 0  # free pixels at the ends, before these are rounded

    @property
    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest of the values."""
        known = [value for value in self.values if value is not None and not math.isnan(value)]
        return min(known), max(known)

    def ends(self, length: float) -> tuple[float, float]:
        """The lowest and the highest value of the axis, as in Vega: padded, then rounded (d3's `nice`)."""
        low, high = self.extremes
        if not high > low:
            return low - 1, high + 1
        more = (high - low) * self.padding / (length - 2 * self.padding)
        low, high = low - more, high + more
        for _ in range(3):  # rounder ends may need rounder steps
            rough = (high - low) / TICKS
            power = 10.0 ** math.floor(math.log10(rough))
            step = power * next(n for n, least in ROUND if rough / power >= least)
            low, high = math.floor(low / step) * step, math.ceil(high / step) * step
        return low, high

    def at(self, value: float, length: float) -> float:
        """The position of the value in pixels from the left or bottom, on an axis of `length` pixels."""
        low, high = self.ends(length)
        share = (value - low) / (high - low)
        return length * (1 - share if self.turned else share)

    def holds(self, at: float, length: float) -> bool:
        """Whether the position `at`, in pixels, is between the lowest and the highest value."""
        ends = [self.at(value, length) for value in self.extremes]
        return min(ends) <= at <= max(ends)

    def value(self, at: float, length: float) -> float:
        """The value at a position in pixels from the left or bottom."""
        low, high = self.ends(length)
        share = at / length
        return low + (high - low) * (1 - share if self.turned else share)


def layers(
    rows: Iterable[Mapping[str, Any]], name: str, x: Axis, y: Axis, height: int, encoding: Mapping[str, Any]
) -> list[Any]:
    """Layers of a chart with each row's field `name` next to its point. Points without a name are kept free of names.
    encoding: the chart's x and y."""
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
    """The labels, from top to bottom: `label`, its position (the axes' fields) and the `corner` of the position. If the
    position isn't the point itself, also the point: from_x, from_y."""
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
            far = 0.0 if corner in CORNERS else math.hypot(dx, dy)
            if best is not None and best[0] <= far:
                continue
            box = _box(align, right + dx, down + dy, LETTER * len(label))
            line = () if corner in CORNERS else _line(right, down, dx, dy)
            # a name beyond the values would make the axis longer
            if line and not (x.holds(right + dx, WIDTH) and y.holds(height - down - dy, height)):
                continue
            if _beyond(box, height) or any(_cover(box, other) for other in names):
                continue
            if any(_cover(piece, other) for piece in line for other in names):
                continue
            if any(_cover(box, piece) for other in lines for piece in other):
                continue
            # a covered dot is worse than a name further off
            cost = sum(_cover(box, dot) for dot in dots) + far
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
    """The area of the overlap."""
    across, along = min(one[1], other[1]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[2], other[2])
    return across * along if across > 0 and along > 0 else 0.0


def _line(right: float, down: float, dx: float, dy: float) -> tuple[Box, ...]:
    """A line from a point, as small boxes, without the part under the dot."""
    steps = max(2, round(math.hypot(dx, dy) / 4))
    at = ((right + dx * n / steps, down + dy * n / steps) for n in range(2, steps))
    return tuple((across - 1, across + 1, along - 1, along + 1) for across, along in at)


def _beyond(box: Box, height: float) -> bool:
    """Whether the box is partly outside the chart."""
    return box[0] < 0 or box[1] > WIDTH or box[2] < -LINE / 2 or box[3] > height
