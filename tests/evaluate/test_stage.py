"""The evaluate stage: its files, and what it leaves alone."""

import json
import os
from pathlib import Path

import pytest

import consomme.families
from consomme.common.errors import ConsommeError
from consomme.common.files import hash_file
from consomme.common.job import Job
from consomme.evaluate import stage

SPEC = {
    "stage": "evaluate",
    "version": 1,
    "task": "nmt",
    "languages": ["en", "fr"],
    "normaliser": "verbatim",
    "decoding": {"num_beams": 1},
    "decoding_digest": "d1",
    "sets": {"dev": {"general": ["a"]}, "test": {"general": ["b"], "both": ["c", "b"]}},
}


@pytest.fixture
def world(tmp_path, monkeypatch, small):
    """A model folder, three corpora in memory, and the calls of the model."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    corpora = {
        "a": (["5 6", "7", "8"], ["5 6", "x", "“é”"]),
        "b": (["9"], ["9"]),
        "c": (["6", "3", "4"], ["6", "3", "4"]),
    }
    record, loads = small.family("seq2seq"), []

    def rows_of(job, names):
        sides = [[text for n in names for text in corpora[n][i]] for i in range(2)]
        return small.Rows(*sides, fingerprint=json.dumps(sides))

    def load(path, device):
        loads.append(path)
        return small.marian()

    monkeypatch.setattr(stage, "rows_of", rows_of)
    monkeypatch.setattr(consomme.families, "load", load)
    monkeypatch.setattr(
        stage.Evaluator,
        "open",
        lambda job, sets, path: small(sets, record=record, decoding=job.spec["decoding"], cache=job.cache),
    )

    def run(index="index", **changes):
        out = Path(f"results/hypotheses/tuned-123/{index}.json")
        spec = {**SPEC, **changes}
        stage.run(Job(spec, {"model/tuned": folder}, out, Path("state"), Path("cache"), 1, "cpu"))
        return json.loads(out.read_text())

    run.calls, run.loads, run.folder, run.corpora = record.calls, loads, folder, corpora
    return run


def test_the_files_hold_raw_text_in_row_order(world, capsys):
    index = world()
    places = [(e["split"], e["set"], e["n"], e["corpora"]) for e in index["sets"]]
    assert places == [("dev", "general", 3, ["a"]), ("test", "general", 1, ["b"]), ("test", "both", 4, ["c", "b"])]
    path = Path(index["sets"][0]["path"])
    assert path == Path("results/hypotheses/tuned-123/dev/general@d1.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == ["row0", "row1", "row2"]
    assert [line["reference"] for line in lines] == ["5 6", "x", "“é”"]
    assert lines[0]["hypothesis"].endswith(" 5 6 0")
    assert "é" in path.read_text(encoding="utf-8")
    assert index["weights"] == hash_file(world.folder / "model.safetensors")
    log = capsys.readouterr().err
    assert "dev general: bleu " in log
    assert "chrf " in log
    assert len(world.loads) == 1


def test_a_second_run_loads_no_model_even_without_index_and_cache(world):
    first = world()
    path = Path(first["sets"][0]["path"])
    os.utime(path, (1, 1))
    Path("results/hypotheses/tuned-123/index.json").unlink()
    Path("cache").rename("cache.gone")
    assert world() == first
    assert path.stat().st_mtime == 1
    assert len(world.loads) == 1


def test_only_what_is_new_is_asked(world):
    world()
    asked = len(world.calls)
    sets = {"dev": SPEC["sets"]["dev"], "test": {**SPEC["sets"]["test"], "more": ["b", "c"]}}
    world(sets=sets)
    assert len(world.calls) == asked + 1
    world.corpora["b"] = (["9 9"], ["9"])
    world(sets=sets)
    assert len(world.calls) == asked + 4  # test general, both, more; not dev
    (world.folder / "model.safetensors").write_bytes(b"others")
    index = world(sets=sets)
    assert index["weights"] == hash_file(world.folder / "model.safetensors")


def test_another_version_of_the_stage_asks_again(world):
    world()
    world()
    assert len(world.loads) == 1
    world(version=2)
    assert len(world.loads) == 2


def test_a_model_with_other_files_or_in_other_languages_is_asked_again(world):
    """Its weights are the same: those of a folder whose generation config or tokenizer was replaced, or whose experiment is for
    another language now."""
    world()
    (world.folder / "generation_config.json").write_text('{"suppress_tokens": [3]}')
    world()
    assert len(world.loads) == 2
    world(languages=["en", "de"])
    world(languages=["en", "de"])
    assert len(world.loads) == 3


def test_ids_have_the_names_that_corpora_have_now(world):
    world()
    world.corpora["x"] = world.corpora["c"]
    index = world(sets={**SPEC["sets"], "test": {"general": ["b"], "both": ["x", "b"]}})
    assert index["sets"][2]["corpora"] == ["x", "b"] and len(world.loads) == 2


def test_the_index_tells_of_columns_for_the_report(world, monkeypatch, small):
    """So that other values in them, which change nothing that a model says, start a report."""
    assert not any("by" in entry for entry in world()["sets"])
    rows_of = stage.rows_of

    def with_columns(job, names):
        rows = rows_of(job, names)
        rows.reported_by = [f"columns of {name}" for name in names]
        return rows

    monkeypatch.setattr(stage, "rows_of", with_columns)
    assert [entry["by"] for entry in world()["sets"]][::2] == [["columns of a"], ["columns of c", "columns of b"]]
    assert len(world.loads) == 1


def test_replicates_that_ask_about_other_rows_keep_their_answers_apart(world):
    first = world(index="one", apart=True)
    world.corpora["a"], world.corpora["b"] = world.corpora["b"], world.corpora["a"]
    second = world(index="two", apart=True)
    said = [[Path(e["path"]).read_text(encoding="utf-8") for e in index["sets"]] for index in (first, second)]
    assert [text.count("\n") for text in said[0]] == [3, 1, 4]
    assert [text.count("\n") for text in said[1]] == [1, 3, 6]
    assert len(world.loads) == 2
    world.corpora["a"], world.corpora["b"] = world.corpora["b"], world.corpora["a"]
    assert world(index="one", apart=True) == first
    assert len(world.loads) == 2


def test_a_spoilt_file_is_written_anew_from_the_cache(world):
    path = Path(world()["sets"][0]["path"])
    text, asked = path.read_text(encoding="utf-8"), len(world.calls)
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    world()
    assert path.read_text(encoding="utf-8") == text
    assert len(world.calls) == asked


def test_rows_that_were_not_taken_or_cut_stand_in_the_index_and_stay_there(world, monkeypatch, capsys):
    from consomme.families.base import Hypothesis

    world.corpora["b"] = (["9", "2 " * 20], ["9", "2"])
    decode = lambda self, model, processor, batch, *given: [Hypothesis("1", True)] * len(batch["input_ids"])  # noqa: E731
    monkeypatch.setattr("consomme.families.base.Family.decode", decode)
    first = world()
    assert "unheard" not in first["sets"][0]
    assert first["sets"][1]["unheard"] == {"row1": "source too long"} and first["sets"][1]["cut"] == ["row0"]
    lines = Path(first["sets"][1]["path"]).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["hypothesis"] for line in lines] == ["1", ""]
    assert "1 of 2 (50 %) unheard, 1 of 2 (50 %) cut" in capsys.readouterr().err
    assert world() == first and len(world.loads) == 1


def test_an_index_whose_files_were_decoded_anew_on_other_rows_goes(world):
    """As that of a configuration to which one may go back: its jobs have to decode again, or its report would be of other
    rows."""
    first = world("first")
    assert all(hash_file(e["path"]) == e["content"] for e in first["sets"])
    world("second")
    folder = Path("results/hypotheses/tuned-123")
    assert (folder / "first.json").exists(), "the same rows: both are right"
    world.corpora["b"] = (["8"], ["8"])
    third = world("third")
    assert sorted(p.name for p in folder.glob("*.json")) == ["third.json"]
    assert third["sets"][0]["content"] == first["sets"][0]["content"], "dev is as it was"


def test_an_edited_file_is_decoded_again(world):
    path = Path(world()["sets"][0]["path"])
    before = path.read_bytes()
    path.write_bytes(before.replace(b"5 6", b"5 7", 1))
    index = world()
    assert path.read_bytes() == before and index["sets"][0]["content"] == hash_file(path)


def test_a_development_set_with_rows_of_a_test_set_stops_before_any_model_is_loaded(world):
    world.corpora["b"] = (["7", "5 6."], ["X", "5 6"])
    with pytest.raises(
        ConsommeError, match=r"2 of 2 rows of the test set 'general' .* are in the development set 'general'"
    ):
        world()
    assert not world.loads and not Path("results").exists()
