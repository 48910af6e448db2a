"""Speeds beside each other: like with like, with an interval, and only where rounds tell them apart."""

from __future__ import annotations

import pytest

from consomme.report.findings import speeds
from consomme.report.findings.means import cost_per_model, speed_unit, speeds_by_window
from consomme.results.columns import COSTS
from consomme.results.frames import frame


def row(name, *rounds, **more):
    found = {"model": name, "parameters": 1000 * len(name), "speed_unit": "s audio/s", "device": "cpu", "replicate": ""}
    middle = sorted(rounds)[len(rounds) // 2]
    found |= {
        "speed": middle,
        "speed_low": min(rounds),
        "speed_high": max(rounds),
        "rounds": " ".join(map(str, rounds)),
    }
    return found | more


def said(*rows):
    first, last = cost_per_model(frame(COSTS, rows)).loc[[rows[0]["model"], rows[-1]["model"]]].to_dict("records")
    return speeds.in_words(speeds.compared(first, last))


def test_the_ratio_is_that_of_rounds_that_stood_beside_each_other():
    # a machine that is half as fast for a while slows both; the last round of one has none beside it
    assert (
        said(row("base", 10.0, 5.0, 10.0), row("half", 40.0, 22.0, 41.0, 90.0))
        == "4.10 times the speed (4.00 – 4.40 over rounds)"
    )


def test_of_many_rounds_a_slow_one_is_not_in_the_interval():
    steady, other = [10.0 + n / 10 for n in range(9)], [20.2 + n / 5 for n in range(9)]
    other[4] = 2.0
    found = speeds.compared(row("base", *steady), row("half", *other, speed_low=20.2))
    assert (round(found.value, 2), found.low > 1.9, found.high < 2.1) == (2.02, True, True)


def test_without_rounds_the_interval_is_as_wide_as_can_be():
    known = [row("base", 10.0, 8.0, 11.0, rounds=""), row("half", 20.0, 19.0, 22.0, rounds="")]
    assert said(*known) == f"2.00 times the speed ({19 / 11:.2f} – {22 / 8:.2f} over rounds)"


def test_where_rounds_overlap_nothing_can_be_said():
    noisy = said(row("base", 126.0, 240.0, 300.0), row("half", 256.0, 1077.0, 600.0))
    assert noisy == "a difference in speed not measurable here (256 – 1,077 overlaps 126 – 300 s audio/s)"


@pytest.mark.parametrize(
    ("key", "values", "why"),
    [
        ("window", ("full", "short"), "window full against short"),
        ("decoding", ("num_beams=5", "num_beams=1"), "decoding num_beams=5 against num_beams=1"),
        ("device", ("H100", "cpu"), "device H100 against cpu"),
        ("decoding", ("num_beams=1", ""), "decoding num_beams=1 against none"),
    ],
)
def test_what_was_measured_in_another_way_is_not_compared(key, values, why):
    base, half = row("base", 10.0, **{key: values[0]}), row("half", 50.0, **{key: values[1]})
    assert said(base, half) == f"speeds not comparable ({why})"


def test_a_model_with_two_windows_is_compared_in_the_full_one():
    """A published Whisper has the full window alone; tuned on short ones it is decoded in either."""
    base, both = (
        row("base", 10.0, window="full"),
        [row("soup", s, window=w) for s, w in ((40.0, "short"), (20.0, "full"))],
    )
    assert said(base, *both) == "2.00 times the speed in the full window"
    costs = frame(COSTS, [base, *both])
    assert speeds.apart(cost_per_model(costs)) == "" and speed_unit(costs) == "s audio/s, full window"
    assert speeds_by_window(costs).to_dict("index")["soup"] == {"speed, full window": 20.0, "speed, short window": 40.0}
    # nothing else was measured
    short = [row(name, s, window="short") for name, s in (("base", 10.0), ("soup", 20.0))]
    assert said(*short) == "2.00 times the speed in the short window"


def test_models_of_one_architecture_are_as_fast_and_an_export_has_no_speed():
    assert (
        said(row("base", 10.0, 12.0, 11.0), row("soup", 10.0, 12.0, 11.0))
        == "the same speed, being of one architecture"
    )
    assert said(row("base", 10.0), {"model": "out", "bytes": 3}) == ""


def test_the_experiment_says_that_not_all_can_be_compared():
    alike = cost_per_model(frame(COSTS, [row("base", 1.0, window="short"), row("half", 2.0, window="short")]))
    assert speeds.apart(alike) == ""
    other = cost_per_model(
        frame(COSTS, [row("base", 1.0, window="full"), row("half", 2.0, window="short"), {"model": "out"}])
    )
    assert speeds.apart(other) == "Not all speeds can be compared: window full and short."
