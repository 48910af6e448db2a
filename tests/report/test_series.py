"""Averages by a swept number beside the means of their runs."""

from types import SimpleNamespace

from consomme.report.findings.series import series, words
from consomme.results.columns import SCORES
from consomme.results.frames import frame, plain


def score(model, replicate, name, value, split="test"):
    return (model, "", replicate, split, name, "d", "wer", value, value, value, 10, "", "")


def study(key="data.share", values=(0.1, 1.0)):
    models, found = [], []
    for replicate in ("1", "2"):
        for value in values:
            runs = [f"tuned/{key}={value},seed={seed}" for seed in (1, 2)]
            models += [{"name": n, "node": "tuned", "run": n[6:], "verb": "train", "parents": ["base"]} for n in runs]
            soup = f"soups/{key}={value}"
            models.append(
                {"name": soup, "node": "soups", "run": f"{key}={value}", "verb": "average", "parents": runs}
                | {"swept": {key: value}}
            )
            level = 30 if value == values[0] else 20
            found += [score(n, replicate, "general", level + seed) for seed, n in enumerate(runs)]
            found.append(score(soup, replicate, "general", level - 3 - int(replicate)))
            found.append(score(soup, replicate, "general", 99.0, split="dev"))
        for model in models:
            model.setdefault("replicate", replicate)
    return SimpleNamespace(models=models, spec={"decoding_digest": "d"}), frame(
        SCORES, [dict(zip(SCORES.names, row, strict=False)) for row in found]
    )


def test_an_average_stands_beside_the_mean_of_its_own_runs():
    (found,) = series(*study(), "wer")
    assert (found.node, found.key) == ("soups", "data.share")
    assert [(p["value"], p["average"], p["runs"]) for p in plain(found.points)] == [
        (0.1, 25.5, 30.5),
        (1.0, 15.5, 20.5),
    ]
    assert found.gains("general", -1) == [(0.1, 5.0), (1.0, 5.0)]
    assert "+5.00 at 0.1, +5.00 at 1" in words(found, "general", -1, "WER")


def test_words_and_switches_make_no_series():
    assert series(*study(values=(True, False)), "wer") == []
    assert series(*study("optim", values=("sgd", "lion")), "wer") == []


def test_the_chart_holds_every_point():
    from consomme.report.charts.scores import averages_by

    (found,) = series(*study(), "wer")
    chart = averages_by(found, "general", "wer", higher=False)
    assert len(chart["layer"]) == 2 and '"log"' in str(chart).replace("'", '"')
