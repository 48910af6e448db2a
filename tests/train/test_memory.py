"""Out of memory: the same batch in halves, the same result to rounding, noted in the provenance."""

import json

import pytest
import torch
from safetensors.torch import load_file

from consomme.train.microbatches import PASS
from consomme.train.stage import run
from consomme.train.trainer import AsrNmtTrainer, split


@pytest.fixture
def room_for(monkeypatch):
    """Memory for so many rows at once."""

    def limit(rows):
        plain = AsrNmtTrainer.compute_loss

        def narrow(self, model, inputs, *given, **more):
            if len(inputs["labels"]) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return plain(self, model, inputs, *given, **more)

        monkeypatch.setattr(AsrNmtTrainer, "compute_loss", narrow)

    return limit


def test_a_batch_in_parts_holds_each_row_once():
    inputs = {"labels": torch.arange(7)[:, None], "x": torch.arange(7)}
    for parts in (1, 2, 3, 7, 20):
        found = split(inputs, parts)
        assert torch.equal(torch.cat([f["x"] for f in found]), inputs["x"]) and len(found) <= parts
        assert all(torch.equal(f["labels"][:, 0], f["x"]) for f in found)


@pytest.mark.parametrize("task", ["asr", "nmt"])
def test_the_same_training_in_parts(tmp_path, recogniser, translator, tones, pairs, job, room_for, monkeypatch, task):
    monkeypatch.setitem(PASS, "cpu", 1000.0)  # nothing else cuts a batch
    parent, corpus = (recogniser, tones) if task == "asr" else (translator, pairs)
    # dropout would be drawn anew for each piece, and Adam makes a step of a gradient that is rounding alone
    options = {"max_steps": 6, "dropout": 0.0, "gradient_accumulation_steps": 2, "optim": "sgd", "learning_rate": 0.1}
    whole = job(tmp_path / "whole", parent, {"c": corpus}, **options)
    run(whole)
    room_for(3)
    made = job(tmp_path / "pieces", parent, {"c": corpus}, **options)
    run(made)
    assert json.loads((made.out / "provenance.json").read_text())["pieces"] == 4  # of 8 rows
    a, b = (load_file(j.out / "model.safetensors") for j in (whole, made))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)


def test_a_single_row_that_does_not_fit_is_an_error(tmp_path, translator, pairs, job, room_for):
    room_for(0)
    with pytest.raises(torch.OutOfMemoryError):
        run(job(tmp_path, translator, {"pairs": pairs}))
