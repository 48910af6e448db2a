"""The curve between two models: on development sets where a point was chosen, on test sets where its shares were swept."""

from pathlib import Path

from consomme.report.findings import path
from consomme.report.outcomes import Outcomes
from consomme.results.columns import SCORES
from consomme.results.frames import frame, plain
from consomme.results.searches import searches


def model(name, *parents, replicate="1"):
    node, _, run = name.partition("/")
    return {"name": name, "node": node, "run": run, "verb": "average", "replicate": replicate, "parents": list(parents)}


def outcomes(*models, test=("medical", "everyday")):
    found = [m | {"replicate": r} for r in ("1", "2") for m in models]
    spec = {"models": found, "replicates": ["1", "2"], "metric": "bleu", "claims": []}
    return Outcomes({**spec, "sets": {r: {"test": {s: [] for s in test}} for r in ("1", "2")}}, Path("cache"))


def curve(metric="bleu", chosen=0.5):
    """Medical rises with the share, general falls: the test sets have other names."""
    return {
        "chosen": {
            "curve": [
                {
                    "alpha": a,
                    "set": s,
                    "metric": metric,
                    "value": v,
                    "ci_low": v - 1,
                    "ci_high": v + 1,
                    "chosen": a == chosen,
                }
                for a in (0.0, 0.5, 1.0)
                for s, v in (("medical", 10 * a), ("general", 30 - 10 * a))
            ]
        }
    }


def test_the_curve_needs_no_test_set_of_its_names():
    found = outcomes(model("balanced", "base", "soup"))
    provenance = {("balanced", "1"): curve(chosen=0.5), ("balanced", "2"): curve(chosen=1.0)}
    name, sets, points = path.on_development(found, searches(provenance), "bleu")
    assert name == "balanced" and sets == ["medical", "general"]
    assert [(p["share"], p["x"], p["y"], p["chosen"]) for p in plain(points)] == [
        (0.0, 0.0, 30.0, 0),
        (0.5, 5.0, 25.0, 1),
        (1.0, 10.0, 20.0, 1),
    ]
    assert (points["x_low"][1], points["y_high"][1]) == (4.0, 26.0)


def test_a_curve_by_another_metric_is_drawn_by_the_loss_or_not_at_all():
    found = outcomes(model("balanced", "base", "soup"))
    assert path.on_development(found, searches({("balanced", "1"): curve("loss")}), "bleu")[1] == ["medical", "general"]
    for none in ({("balanced", "1"): curve("chrf")}, {}):
        name, sets, points = path.on_development(found, searches(none), "bleu")
        assert (name, sets, len(points)) == ("", [], 0)


def test_on_test_the_swept_shares_stand_between_their_ends():
    runs = [model(f"path/alpha={a}", "base", "soup") for a in (0.2, 0.8)]
    found = outcomes(model("base"), model("soup"), *runs)
    settings = {("path/alpha=" + str(a), "1"): {"settings": {"method": "interpolate", "alpha": a}} for a in (0.2, 0.8)}
    scores = [
        (name, "average", r, "test", s, "d", "bleu", v + int(r), v, v + 2, 9, "p", "")
        for r in ("1", "2")
        for name, at in (("base", 0), ("path/alpha=0.2", 2), ("path/alpha=0.8", 8), ("soup", 10))
        for s, v in (("medical", at), ("everyday", 40 - at))
    ]
    scores = frame(SCORES, [dict(zip(SCORES.names, row, strict=False)) for row in scores])
    points = path.on_test(found, settings, scores, "bleu", ["medical", "everyday"])
    assert [(p["share"], p["x"], p["y"]) for p in plain(points)] == [
        (0, 1.5, 41.5),
        (0.2, 3.5, 39.5),
        (0.8, 9.5, 33.5),
        (1, 11.5, 31.5),
    ]
    assert path.on_test(found, {}, scores, "bleu", ["medical", "everyday"]).empty
    assert path.on_test(found, settings, scores, "bleu", ["medical"]).empty
