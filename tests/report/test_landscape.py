"""Basins and growing means: what the page shows, and the sentences made of the numbers."""

import json
from pathlib import Path

import pytest

from consomme.report.charts import landscape as charts
from consomme.report.findings.averages import against_best
from consomme.report.findings.landscape import basin_words, landscapes, rows_words, steps_words
from consomme.report.words.claims import best_lines, standing
from consomme.report.write import write_report

from .conftest import data_of  # isort: skip

ALPHAS = [0, 0.25, 0.5, 0.75, 1]
RUNS = [f"tuned/learning_rate={v}" for v in ("1e-05", "3e-05", "0.0001")]


def record(lines, best=1.0, drawn=((1.5, 1.2, 0.9),) * 2, rows=(64, 200)):
    """A landscape file: `lines` run -> losses; the best run is the first of RUNS."""
    losses = {RUNS[0]: best, **{name: line[-1] for name, line in lines.items()}}
    ranked = sorted(losses, key=losses.get)
    return {
        "ingredients": list(losses), "left_out": {}, "losses": losses, "best": RUNS[0], "alphas": ALPHAS, "lines": lines,
        "sets": {"medical": {"weight": 1.0, "rows": rows[0], "of": rows[1]}},
        "ranked": {"order": ranked, "losses": [best, best - 0.3, best - 0.1]},
        "orders": [{"order": ranked, "losses": list(row)} for row in drawn],
    }  # fmt: skip


LOW = [1.0, 0.9, 0.8, 0.9, 1.1]  # better than both ends in between
FLAT = [1.0, 1.05, 1.1, 1.11, 1.1]  # above the worse end by 0.01
HIGH = [1.0, 1.3, 1.6, 1.4, 1.2]  # 0.4 above the worse end


@pytest.fixture
def spec_of(tmp_path):
    def make(*records, averages=("soup",), several=None):
        entries = []
        for i, content in enumerate(records, 1):
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
            path.write_text(json.dumps(content))
            replicate = str(i) if several or len(records) > 1 else ""
            entries.append({"node": "tuned", "averages": list(averages), "replicate": replicate, "path": str(path)})
        return {"landscapes": entries}

    return make


def test_a_shared_basin_in_words(spec_of):
    (found,) = landscapes(spec_of(record({RUNS[1]: LOW, RUNS[2]: FLAT})))
    assert [round(line.barrier, 6) for line in found.lines] == [0.0, 0.01]
    assert found.title == "3 runs of tuned, of which soup is made"
    assert basin_words(found) == (
        "2 of 2 lines (100 %) have no barrier: nowhere does the loss rise more than 0.02 nats per token above the worse "
        "end, so the runs share a basin. On 1 of them some mix is better than both ends."
    )
    assert rows_words(found) == "64 of 200 development rows of medical"


def test_barriers_in_words(spec_of):
    (found,) = landscapes(spec_of(record({RUNS[1]: LOW, RUNS[2]: FLAT}), record({RUNS[1]: HIGH, RUNS[2]: FLAT})))
    assert basin_words(found).startswith(
        f"3 of 4 lines (75 %) have no barrier. The highest, 0.40 nats per token, lies before {RUNS[1]} in replicate 2."
    )
    (found,) = landscapes(spec_of(record({RUNS[1]: HIGH, RUNS[2]: HIGH})))
    words = basin_words(found)
    assert words.startswith("A barrier lies on each of the 2 lines") and "share no basin" in words
    assert words.endswith("On none of them is a mix better than both ends.")


def test_growing_means_against_the_best_run_of_their_own_replicate(spec_of):
    lines = {RUNS[1]: LOW, RUNS[2]: FLAT}
    first, second = record(lines), record(lines, best=5.0, drawn=((5.7, 5.4, 4.9),) * 2)
    (found,) = landscapes(spec_of(first, second))
    steps = found.steps
    assert [s["k"] for s in steps] == [1, 2, 3]
    assert [s["ranked"] for s in steps] == pytest.approx([0.0, -0.3, -0.1])
    assert [s["mean"] for s in steps] == pytest.approx([0.6, 0.3, -0.1])
    assert [s["sd"] for s in steps] == pytest.approx([0.1, 0.1, 0.0])
    assert steps_words(found) == (
        "In random order the loss goes from 0.600 above the best run's with one run to 0.100 below the best run's with "
        "all 3, mean over 2 replicates. Best first, it is least with 2: 0.300 below the best run's."
    )


def test_fetched_runs_count_once_and_a_lone_run_has_no_landscape(spec_of):
    spec = spec_of(record({RUNS[1]: LOW}))
    twice = {"landscapes": [{**spec["landscapes"][0], "replicate": r} for r in "12"]}
    assert len(landscapes(twice)[0].lines) == 1
    assert landscapes(spec_of(record({}))) == [] and landscapes({}) == []


def values(chart):
    return [row for layer in chart["layer"] for row in layer["data"]["values"]]


def test_the_pictures_hold_every_line(spec_of):
    (found,) = landscapes(spec_of(record({RUNS[1]: HIGH, RUNS[2]: FLAT}, best=1.0)))
    rows = values(charts.basin(found))
    high = {(r["share"], r["kind"]): r["above"] for r in rows if r.get("run") == RUNS[1]}
    assert high == {(a, "barrier"): pytest.approx(v - 1.0) for a, v in zip(ALPHAS, HIGH, strict=True)}
    middle = [r["above"] for r in rows if r.get("kind") == "mean of all lines"]
    assert middle == pytest.approx([(a + b) / 2 - 1 for a, b in zip(HIGH, FLAT, strict=True)])
    rows = values(charts.more_ingredients(found))
    assert {r["order"] for r in rows if "order" in r} == {"in random order", "best first"}
    assert all(r["low"] <= r["above"] <= r["high"] for r in rows if "low" in r)


def test_the_page_has_them_and_without_a_landscape_has_none(build_tree, spec_of):
    spec = json.loads(json.dumps(build_tree(replicates=(1,), count=20)))
    out = Path("results/medical-translator")
    write_report(spec, out, Path("results/cache"))
    text = (out / "report.html").read_text()
    assert "share a basin" not in text and "chart-more_0" not in text and 'id="averages"' in text
    spec |= spec_of(record({RUNS[1]: LOW, RUNS[2]: FLAT}))
    spec["landscapes"] += spec_of(record({RUNS[1]: LOW}), averages=("part",))["landscapes"]
    write_report(spec, out, Path("results/cache"))
    text = (out / "report.html").read_text()
    assert "2 of 2 lines (100 %) have no barrier" in text and "64 of 200 development rows of medical" in text
    drawn = data_of(text, "charts")
    assert {"basin_0", "more_0", "basin_1", "more_1"} <= drawn.keys()
    assert all(f'id="chart-{name}"' in text for name in drawn)
    # what was made of fewer runs is there to open
    assert text.index("3 runs of tuned, of which soup is made") < text.index("<summary>2 runs of tuned, of which part")


# -- averages against the best run -----------------------------------------------------------------------------------
def test_every_average_is_compared_with_the_best_run_without_a_claim(build_tree):
    from consomme.report.evidence.claims import compare
    from consomme.report.evidence.questions import declared, exploratory
    from consomme.report.outcomes import Outcomes

    spec = json.loads(json.dumps(build_tree(replicates=(1,), count=40, claims=[])))
    for model in [m for m in spec["models"] if m["name"] == "soup"]:  # one of a part of the sweep, by a key
        spec["models"].append({**model, "name": "part/seed=1", "node": "part", "run": "seed=1", "parents": RUNS[:2]})
    outcomes = Outcomes(spec, Path("results/cache"))
    found = compare(outcomes, [*declared(outcomes), *exploratory(outcomes)])
    rows = {row["average"]: row for row in against_best(outcomes, found)}
    assert set(rows) == {"soup", "part/seed=1"} and all(r["best"] == "tuned/best" for r in rows.values())
    for row in rows.values():
        assert all(c and not c.declared for c in row["sets"].values()) and list(row["sets"]) == ["general", "medical"]
    lines = best_lines(outcomes, found)
    assert sum(line.count("part/seed=1 on ") for line in lines) == 2
    assert all("the best run, tuned/best" in line and "95 % interval" in line for line in lines)
    assert all(("no proof" in line) == line.startswith("Looks") for line in lines)


def test_only_a_claim_shows(made):
    assert standing(made()) == ("open", "not shown to be better")
    assert standing(made(p=0.01, p_holm=0.02)) == ("good", "better")
    assert standing(made(p=0.01, p_holm=0.02, difference=-1.0)) == ("bad", "worse")
    assert standing(made(p=0.01, p_holm=0.06)) == ("open", "not shown to be better")
    # of these models alone
    models = {"p": None, "p_holm": None, "p_models": 0.01, "p_models_holm": 0.02}
    assert standing(made(**models)) == ("open", "better for these models")
    alone = {"claim": "exploratory", "p_holm": None}
    assert standing(made(**alone | {"p": None, "p_models": 0.01})) == ("", "looks better")
    assert standing(made(**alone, p=0.01)) == ("", "looks better")
    assert standing(made(**alone, p=0.01, difference=-1.0)) == ("", "looks worse")
    assert standing(made(**alone)) == ("open", "not shown to be better")
    # a claim that it keeps the best run's score doesn't say that it is better
    keeps = {"hypothesis": "keeps", "margin": 0.5, "p": 0.01, "p_holm": 0.01}
    assert standing(made(**keeps)) == ("open", "not shown to be better")
    assert standing(made(**keeps, ci_low=0.1)) == ("", "looks better")


@pytest.fixture
def made():
    from consomme.report.evidence.claims import Comparison

    def make(**change):
        found = {
            "claim": "1", "model": "soup", "against": "tuned/best", "replicates": 3, "split": "test", "set": "medical",
            "decoding": "d", "metric": "bleu", "hypothesis": "beats", "margin": None, "difference": 0.21,
            "ci_low": -0.4, "ci_high": 0.83, "p": 0.51, "p_holm": 0.51, "method": "", "units": 379, "unit": "rows",
            "ci_models_low": -0.3, "ci_models_high": 0.7, "p_models": 0.5, "p_models_holm": None, "visible": 0.9,
            "by_replicate": (),
        }  # fmt: skip
        return Comparison(**{**found, **change})

    return make
