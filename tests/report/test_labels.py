"""Names beside points keep out of each other's way."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from consomme.report.charts import labels
from consomme.report.charts.labels import Axis, placed

X, Y = Axis("x", [0, 100]), Axis("y", [0, 100])


def rows(**points):
    return [{"name": name, "x": x, "y": y} for name, (x, y) in points.items()]


def put(points, x=X, y=Y, height=420):
    return {row["label"]: row["corner"] for row in placed(points, "name", x, y, height)}


def test_a_lonely_point_has_its_name_above_and_to_the_right():
    assert put(rows(base=(50, 50))) == {"base": "above right"}


def test_points_on_each_other_share_a_line():
    assert list(put(rows(long=(80, 20), tail=(80.2, 20), smooth=(80, 20.3), base=(10, 90)))) == [
        "base",
        "long, tail, smooth",
    ]


def test_a_name_that_would_lie_on_another_goes_to_another_corner():
    found = put(rows(uniform=(50, 50), together=(51, 47)))
    assert found["uniform"] != found["together"]


def test_a_name_that_would_leave_the_chart_goes_to_the_left():
    assert put(rows(interpolated=(99, 50)))["interpolated"].endswith("left")


def test_a_turned_axis_begins_at_the_other_end():
    found = put(rows(interpolated=(1, 50)), x=Axis("x", [0, 100], turned=True))
    assert found["interpolated"].endswith("left")


def test_one_value_alone_lies_in_the_middle():
    assert put(rows(base=(3, 4)), x=Axis("x", [3]), y=Axis("y", [4])) == {"base": "above right"}


def test_intervals_that_are_not_there_take_no_room_on_an_axis():
    """A test set of one unit has no interval."""
    found = put(rows(base=(3, 4)), x=Axis("x", [3, None, float("nan")]), y=Axis("y", [4, None]))
    assert found == {"base": "above right"}
    assert Axis("x", [None, 3, 5]).ends(100) == Axis("x", [3, 5]).ends(100)


def boxes(found, height=420):
    """Where each label is written: left, right, top, bottom."""
    for row in found:
        align, right, down = labels.CORNERS.get(row["corner"], (row["corner"], 0, 0))
        at = X.at(row["x"], labels.WIDTH) + right, height - Y.at(row["y"], height) + down
        yield labels._box(align, *at, labels.LETTER * len(row["label"]))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("count", "spread"), [(30, 30), (60, 20), (60, 3), (200, 10)])
def test_among_dozens_of_points_no_names_touch(count, spread, seed):
    generator = random.Random(seed)
    points = [
        {"name": f"scratch-model-{i}", "x": generator.gauss(80, spread) % 100, "y": generator.gauss(70, spread) % 100}
        for i in range(count)
    ]
    found = placed(points, "name", X, Y, 420)
    assert not any(labels._cover(a, b) for a, b in itertools.combinations(boxes(found), 2))
    for left, right, top, bottom in boxes(found):
        assert left >= 0 and right <= labels.WIDTH and top >= -labels.LINE and bottom <= 420
    assert len(found) > 10
    # a name that was moved is joined to its point
    places = {(p["x"], p["y"]) for p in points}
    assert all((row.get("from_x", row["x"]), row.get("from_y", row["y"])) in places for row in found)


def test_among_points_that_have_room_every_name_is_written():
    generator = random.Random(1)
    points = [{"name": f"model-{i}", "x": generator.uniform(20, 80), "y": generator.uniform(20, 80)} for i in range(30)]
    found = placed(points, "name", X, Y, 420)
    assert sorted(n for row in found for n in row["label"].split(", ")) == sorted(p["name"] for p in points)


def test_names_keep_off_points_that_have_none():
    alone = rows(base=(50, 50))
    in_the_way = [{"name": "", "x": 50 + right, "y": 50 + up} for right in (3, 5, 7) for up in (2, 4)]
    assert put(alone)["base"] == "above right" and put(alone + in_the_way)["base"] == "below right"


def test_many_points_on_each_other_are_counted():
    (label,) = put([{"name": f"m{i}", "x": 50, "y": 50} for i in range(9)])
    assert label == "m0, m1, m2, m3 and 5 more"


@pytest.mark.parametrize(
    ("low", "high", "padding"), [(4.2, 97, 14), (0.371, 1.163, 28), (514.2, 806.9, 18), (3, 3.01, 0)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_an_axis_ends_where_vega_ends_it(low, high, padding, turned):
    import altair as alt
    import vl_convert

    values = [low, low + (high - low) / 3, high]
    scale = alt.Scale(zero=False, padding=padding, reverse=turned)
    chart = alt.Chart(alt.Data(values=[{"v": v} for v in values])).mark_point().encode(x=alt.X("v:Q", scale=scale))
    svg = vl_convert.vegalite_to_svg(chart.properties(width=labels.WIDTH).to_dict())
    marks = re.findall(
        r'transform="translate\(([\d.]+),[\d.]+\)"[^>]*aria-roledescription="point"|aria-roledescription="point" transform="translate\(([\d.]+),',
        svg,
    )
    drawn = [float(a or b) for a, b in marks]
    assert drawn == pytest.approx([Axis("v", values, turned, padding).at(v, labels.WIDTH) for v in values], abs=0.5)
