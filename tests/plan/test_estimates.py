"""What `plan` says of models that are not there yet."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from consomme.common.settings import defaults
from consomme.families import TABLE as FAMILIES
from consomme.plan import look
from consomme.plan.estimates import Estimates, parameters
from consomme.plan.plan import Plan

MODELS = "experiments/e/models"
TEXTS = ["the cat sat on a mat", "le chat est assis", "hello world, how are you?", "bonjour le monde, ça va ?"] * 20


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(plan, name, size, seconds):
    """As if the models of a node were made: (bytes of the weights, wall time of the job)."""
    for model in plan.studies["e"].models:
        if model.node == name and model.run != "best":
            folder = Path(model.folder)
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(b"x" * size)
            (folder / "provenance.json").write_text("{}")
            timed = Path(f"results/e/benchmarks/{model.stage}/{model.id}.tsv")
            timed.parent.mkdir(parents=True, exist_ok=True)
            timed.write_text(f"s\th:m:s\n{seconds}\t0:00:00\n")


def node(plan, name):
    return next(m for m in plan.studies["e"].models if m.name == name or m.node == name)


def estimates(plan):
    return Estimates(plan.models.values())


@pytest.mark.parametrize("name", ["ctc", "wav2vec2", "whisper", "moonshine", "marian", "t5"])
def test_the_size_of_an_architecture_is_about_right(name, tmp_path):
    family = FAMILIES[name]
    tokenizer = defaults(family.tokenizer)
    if "vocab_size" in tokenizer:
        tokenizer["vocab_size"] = 280 if tokenizer["type"] == "bpe" else 60
    languages = ["en", "fr"] if family.task == "nmt" else ["en"]
    family.create(tmp_path / "model", defaults(family.scratch), tokenizer, lambda: iter(TEXTS), languages, seed=1)
    real = (tmp_path / "model/model.safetensors").stat().st_size / 4
    assert parameters({"family": name, **defaults(family.scratch)}, tokenizer) == pytest.approx(real, rel=0.35)


def test_before_anything_is_made_sizes_are_known_from_the_architecture(small):
    plan = Plan(small)
    found = {m.name: estimates(plan).size(m) for m in plan.models.values()}
    assert all(guess and not guess.measured for guess in found.values())
    assert found["base"] == found["raw"] and found["half"].value < found["line"].value
    assert estimates(plan).seconds(node(plan, "base")) is None


def test_sizes_follow_the_parents_and_hours_like_jobs(small):
    plan = Plan(small)
    made(plan, "raw", 4000, 1)
    made(plan, "base", 4000, 100)  # 10 steps
    known = estimates(plan)
    assert (known.size(node(plan, "base")).value, known.size(node(plan, "base")).measured) == (4000, True)
    assert (known.size(node(plan, "tuned")).value, known.size(node(plan, "tuned")).measured) == (4000, False)
    assert known.seconds(node(plan, "tuned")) == pytest.approx(40)  # 4 steps
    # half the layers: half of three quarters of the model, and a training that much shorter
    assert known.size(node(plan, "half")).value == pytest.approx(4000 * 5 / 8)
    assert known.seconds(node(plan, "healed")) == pytest.approx(30 * 5 / 8)
    # no average nor pruning has ended
    assert known.seconds(node(plan, "mean")) is None and known.seconds(node(plan, "half")) is None


def test_what_is_trained_from_half_precision_is_stored_in_float32(small, tmp_path):
    from safetensors.numpy import save_file

    plan = Plan(small)
    save_file({"weight": np.zeros(1000, np.float16), "steps": np.zeros(2, np.int64)}, tmp_path / "model.safetensors")
    file = (tmp_path / "model.safetensors").stat().st_size
    known = Estimates(plan.models.values(), {node(plan, "raw").id: tmp_path})
    assert known.size(node(plan, "raw")).value == file
    assert known.size(node(plan, "base")).value == known.size(node(plan, "mean")).value == 1000 * 4 + 2 * 8


def test_runs_of_the_same_node_tell_more_than_others(small):
    plan = Plan(small)
    size = int(estimates(plan).size(node(plan, "base")).value)
    made(plan, "base", size, 100)
    made(plan, "tuned", size, 7)
    left = Plan(small | {"experiments": {"e": small["experiments"]["e"] | {"repeat": [2]}}})
    known = Estimates([*plan.models.values(), *left.models.values()])
    assert known.seconds(node(left, "tuned")) == pytest.approx(7, rel=0.01)


def test_what_else_lies_in_a_folder_is_no_size_of_its_children(small):
    plan = Plan(small)
    made(plan, "base", 4000, 100)
    kept = Path(node(plan, "base").folder) / "checkpoints"
    kept.mkdir()
    (kept / "step-1.safetensors").write_bytes(b"x" * 4000)
    assert estimates(plan).size(node(plan, "base")).value == 8000
    assert estimates(plan).size(node(plan, "tuned")).value == 4000


def test_an_ensemble_is_as_large_as_its_members_and_an_export_as_its_numbers(change):
    plan = Plan(
        change({f"{MODELS}/mean": {"average": "tuned", "method": "ensemble"}, f"{MODELS}/out": {"export": "base"}})
    )
    made(plan, "tuned", 4000, 7)
    assert estimates(plan).size(node(plan, "mean")).value == 16000
    made(plan, "base", 4000, 7)
    assert estimates(plan).size(node(plan, "out")).value == 4000


def test_the_plan_marks_estimates_and_says_once_what_is_missing(small, change, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    plan = Plan(small)
    made(plan, "base", 2**20, 3600)
    look.overview(plan)
    said = capsys.readouterr().out
    lines = {
        cells[1].strip(): [c.strip() for c in cells] for line in said.splitlines() if len(cells := line.split("│")) > 8
    }
    assert lines["base"][-4:-2] == ["0", "1.0"]
    assert lines["tuned"][-4:-2] == ["~1.60", "~1.0"]  # four runs, of 4 steps to 10
    assert lines["tuned"][-2].startswith("~0.") and lines["mean"][-2] == ""
    assert lines["mean"][-4] == "?" and said.count("no job of their kind has ended") == 1
    assert "models to come: about" in said
    # weights and AdamW's state, 3 MiB, twice, and the last good weights
    assert re.search(r"checkpoints, .*: about 7 MiB, about \d+ MiB if all 5 run at once", said)
    start = {
        f"{MODELS}/raw": {"from": {"hub": "openai/whisper-tiny"}},
        f"{MODELS}/base": {"train": "raw", "max_steps": 3},
    }
    look.overview(Plan(change(start)))
    assert capsys.readouterr().out.count("MiB ?: known once raw is fetched") == 1
