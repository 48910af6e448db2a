"""What a checkpoint in a folder learnt before, by the records that lie beside it."""

import json

from consomme.plan.before import corpora_before
from consomme.plan.plan import Plan


def record(root, name, **content):
    folder = root / "results/e/models" / name
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(json.dumps({"weights": f"w-{name}"} | content))
    return folder


def test_corpora_of_a_model_and_of_its_ancestors(tmp_path):
    record(tmp_path, "base", corpora={"a": "fa"}, parents=[{"name": "old", "weights": "elsewhere"}])
    record(tmp_path, "teacher", corpora={"t": "ft"})
    record(tmp_path, "other", corpora={"x": "fx"})
    tuned = record(
        tmp_path,
        "tuned",
        corpora={"b": "fb"},
        parents=[{"name": "base", "weights": "w-base"}],
        teachers=[{"name": "teacher", "weights": "w-teacher"}],
    )
    prepared = tmp_path / "results/prepared/a-123"
    prepared.mkdir(parents=True)
    (prepared / "prepared.json").write_text('{"fingerprint": "fa"}')
    assert corpora_before(tuned) == {"a": ("fa", str(prepared)), "b": ("fb", ""), "t": ("ft", "")}
    link = tmp_path / "results/e/current"
    link.symlink_to(tuned)
    assert set(corpora_before(link)) == {"a", "b", "t"}


def test_a_folder_of_others_says_nothing(tmp_path):
    assert corpora_before(tmp_path) == {} and corpora_before(tmp_path / "none") == {}
    for text in ("[]", "{", '{"corpora": []}', '{"parents": [1]}', "[" * 100_000):
        (tmp_path / "provenance.json").write_text(text)
        assert corpora_before(tmp_path) == {}


def test_the_report_is_told(small, tmp_path):
    folder = record(tmp_path, "spy", corpora={"train": "f1"})
    small["experiments"]["e"]["models"]["raw"] = {"from": {"folder": str(folder)}}
    spec = Plan(small).studies["e"].report
    assert spec["before"] == {"raw": {"raw: train": "f1"}}
    assert spec["read"][""]["healed"] == ["b-train"] and "raw" not in spec["read"][""]
