"""Specialists merged into one model: which averages these are, whose each domain is, and what is kept of it."""

from types import SimpleNamespace

import pytest

from consomme.report.findings.domains import domains
from consomme.report.findings.settings import chosen_settings
from consomme.results.columns import SCORES
from consomme.results.frames import frame

WER = {  # model -> (fr, es, out) on development, then on test
    "base": ((25, 15, 8), (20, 10, 9)),
    "french/lr=1": ((11, 17, 12), (10, 12, 14)),
    "french/lr=2": ((15, 17, 12), (16, 12, 14)),
    "french/best": ((11, 17, 12), (10, 12, 14)),
    "spanish": ((22, 9, 10), (9.5, 5, 15)),
    "mean": ((15, 11, 9), (14.5, 5, 10)),
    "merged": ((12, 10, 9), (10, 7.85, 11)),
    "again": ((11, 17, 12), (8, 12, 14)),
}


def model(name, verb, *parents):
    node, _, run = name.partition("/")
    return {"name": name, "node": node, "run": run or None, "verb": verb, "parents": list(parents), "replicate": ""}


def study(wer=WER, **more):
    runs = ["french/lr=1", "french/lr=2"]
    models = [
        model("base", "from"),
        *(model(run, "train", "base") for run in runs),
        model("french/best", "train", *runs),
        model("spanish", "train", "base"),
        model("mean", "average", "french/best", "spanish"),
        model("merged", "average", "base", "french/best", "spanish"),
        model("soup", "average", *runs),  # of one node
        model("line", "average", "base", "spanish"),  # the base is no specialist
        model("again", "train", "french/best"),
        model("twice", "average", "french/best", "again"),  # one is made of the other
        model("pick", "average", "french/best", "spanish") | {"choice": True},
    ]
    rows = [
        (name, "", "", split, place, "d", "wer", value, value, value, 10, "")
        for name, splits in wer.items()
        for split, values in zip(("dev", "test"), splits, strict=True)
        for place, value in zip(("fr", "es", "out"), values, strict=True)
    ]
    train = {"french": ["fr-train"], "spanish": ["es-train"], "again": ["other"], **more}
    outcomes = SimpleNamespace(
        models=models,
        spec={"train": {"": train}},
        replicates=[""],
        sets=lambda split: ["fr", "es", "out"],
        sign=lambda metric: -1.0,
    )
    return (
        outcomes,
        {("merged", ""): {"settings": {"base": True}}},
        frame(SCORES, [dict(zip(SCORES.names, row, strict=False)) for row in rows]),
    )


def test_each_domain_before_and_after():
    (table,) = domains(*study(), "wer")
    assert (table.base, table.averages) == ("base", ["mean", "merged"])
    assert table.specialists == ("french/best", "spanish")
    # by the development sets: on test, Spanish tuning happens to be better in French. Nobody is better than the base at "out"
    assert table.sets == {"fr": "french/best", "es": "spanish", "out": None}
    rows = table.rows
    assert list(rows) == ["base", "french/best", "spanish", "mean", "merged"]
    assert rows["french/best"]["fr"] == (10, 100) and rows["spanish"]["es"].share == 100
    assert rows["merged"]["es"].share == pytest.approx(100 * 92.15 / 95) == 97  # accuracies, not error rates
    assert rows["mean"]["fr"] == (14.5, pytest.approx(95))
    assert rows["merged"]["out"] == (11, None)
    assert table.means["merged"] == pytest.approx((100 + 97) / 2)
    assert table.means["base"] == pytest.approx((100 * 80 / 90 + 100 * 90 / 95) / 2)


def test_models_of_the_same_data_are_no_specialists():
    assert domains(*study(spanish=["fr-train"]), "wer") == []
    assert domains(*study(spanish=[]), "wer") == []


def test_a_specialist_without_an_accuracy_has_no_shares():
    hopeless = {name: (dev, (120, *test[1:])) for name, (dev, test) in WER.items()}
    (table,) = domains(*study(hopeless), "wer")
    assert table.rows["merged"]["fr"] == (120, None) and table.means["merged"] is None


def test_settings_that_were_tried():
    def record(values, chosen, outside=()):
        curve = [
            {"candidate": f"scale={s}", "set": place, "metric": "wer", "value": v + (place == "es")}
            | {"chosen": s == chosen, "admissible": s not in outside}
            for s, v in values.items()
            for place in ("fr", "es")
        ]
        return {"chosen": {"settings": {"scale": chosen}, "curve": curve}}

    outcomes = SimpleNamespace(models=[{"name": "line"}, {"name": "merged"}], replicates=["1", "2"])
    line = {"chosen": {"alpha": 0.5, "curve": [{"alpha": 0.5, "set": "fr", "metric": "wer", "value": 1.0}]}}
    provenance = {
        ("line", "1"): line,
        ("merged", "1"): record({0.5: 12.0, 1: 10.0}, 1),
        ("merged", "2"): record({0.5: 10.0, 1: 11.0}, 0.5, outside=[1]),
    }
    (table,) = chosen_settings(outcomes, provenance)
    assert (table["model"], table["metric"], table["sets"]) == ("merged", "wer", ["fr", "es"])
    assert table["rows"] == [
        {"settings": "scale=0.5", "values": [11.0, 12.0], "chosen": 1, "outside": 0},
        {"settings": "scale=1", "values": [10.5, 11.5], "chosen": 1, "outside": 1},
    ]
