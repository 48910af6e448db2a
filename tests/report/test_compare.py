"""Two folders of results side by side."""

import json
from pathlib import Path

import pytest

from consomme.common.errors import ConsommeError
from consomme.report import compare
from consomme.results.columns import RUNS, SCORES
from consomme.results.frames import frame, write


def lay(folder: Path, values: dict, settings: dict, metric: str = "wer", **more):
    """An experiment's folder. values: model -> (value, half the interval); settings: model -> settings."""
    rows = [
        {"model": m, "kind": "train", "replicate": r, "split": split, "set": "t", "metric": metric, "n": 10}
        | {"value": v + shift, "ci_low": v + shift - half, "ci_high": v + shift + half, "signature": "s1"} | more
        for m, (v, half) in values.items() for r, shift in (("1", -1.0), ("2", 1.0)) for split in ("dev", "test")
    ]  # fmt: skip
    write(folder / SCORES.file, frame(SCORES, rows))
    runs = [{"name": m, "node": m, "replicate": "1", "folder": f"results/e/models/{m}-1"} for m in values]
    write(folder / RUNS.file, frame(RUNS, runs))
    for model, found in settings.items():
        place = folder / "models" / f"{model}-1"
        place.mkdir(parents=True)
        record = {"verb": "train", "settings": found, "parents": [{"name": "base", "weights": folder.name}]}
        (place / "provenance.json").write_text(json.dumps(record | {"weights": "x", "digest": folder.name}))


@pytest.fixture
def two(tmp_path):
    a, b = tmp_path / "one/e", tmp_path / "two/e"
    lay(
        a,
        {"tuned": (10.0, 1.0), "soup[b]": (9.0, 1.0), "old": (1, 1)},
        {"tuned": {"learning_rate": 1e-4, "precision": "float32"}},
    )
    lay(
        b,
        {"tuned": (14.0, 1.0), "soup[b]": (8.5, 1.0)},
        {"tuned": {"learning_rate": 2e-4, "precision": "float32", "warmup_steps": 3}},
    )
    return a, b


def test_scores_are_means_over_replicates_of_what_both_have(two):
    found = compare.scores(*two).set_index("model")
    assert list(found.index) == ["tuned", "soup[b]"]
    assert found.loc["tuned", ["value_a", "value_b"]].tolist() == [10.0, 14.0]


def test_only_what_was_asked_differently_is_told(two):
    # other weights and digests follow from it
    assert compare.settings(*two) == {
        ("settings.learning_rate", "0.0001", "0.0002"): ["tuned"],
        ("settings.warmup_steps", "", "3"): ["tuned"],
    }


def test_what_it_prints(two, capsys):
    compare.compare(*two)
    lines = capsys.readouterr().out.splitlines()
    tuned = next(line for line in lines if "tuned" in line)
    assert [part in tuned for part in ("10.00", "14.00", "+4.00", "worse")] == [True] * 4 and "overlap" not in tuned
    # a name in brackets is no markup
    assert any("soup[b]" in line and "−0.50" in line and "better, intervals overlap" in line for line in lines)
    assert any("only in" in line and "old" in line for line in lines)


def test_metrics_that_were_counted_differently_are_named(two, tmp_path):
    lay(tmp_path / "three", {"tuned": (10.0, 1.0)}, {}, signature="s2")
    assert "WER was not counted alike: s1 and s2" in compare.notes(two[0], tmp_path / "three")


def test_folders_of_experiments_are_paired_by_name(two, tmp_path):
    (a, b), root = two, tmp_path / "one"
    assert compare.pairs(a, b) == [(a, b)] == compare.pairs(root, tmp_path / "two")
    lay(root / "f", {"tuned": (1, 1)}, {})
    assert compare.pairs(root, tmp_path / "two") == [(a, b)]
    lay(tmp_path / "two/g", {"tuned": (1, 1)}, {})
    lay(tmp_path / "four/g", {"tuned": (1, 1)}, {})
    with pytest.raises(ConsommeError, match="no experiment of one name"):
        compare.pairs(root, tmp_path / "four")
    with pytest.raises(ConsommeError, match="no results in"):
        compare.pairs(tmp_path / "nowhere", b)
