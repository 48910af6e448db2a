"""Names beside points keep out of each other's way."""

from __future__ import annotations

import itertools
import random

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


def test_among_many_points_few_names_touch():
    generator = random.Random(1)
    points = [{"name": f"model-{i}", "x": generator.uniform(20, 80), "y": generator.uniform(20, 80)} for i in range(30)]

    def overlaps(found):
        boxes = []
        for row in found:
            align, right, down = labels.CORNERS[row["corner"]]
            at = labels.WIDTH * X.at(row["x"]) + right, 420 * (1 - Y.at(row["y"])) + down
            boxes.append(labels._box(align, *at, labels.LETTER * len(row["label"])))
        return sum(labels._cover(a, b) > 0 for a, b in itertools.combinations(boxes, 2))

    found = placed(points, "name", X, Y, 420)
    assert sorted(n for row in found for n in row["label"].split(", ")) == sorted(p["name"] for p in points)
    assert 3 * overlaps(found) < overlaps([{**row, "corner": "above right"} for row in found])
