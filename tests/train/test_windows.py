"""Whisper on windows as short as needed: the same numbers as in a window of its own, and both are scored."""

import json

import numpy as np
import pytest
import torch

from consomme.families import family_named, load
from consomme.families.windows import Window
from consomme.train.collate import Collator, draw
from consomme.train.stage import run

WHISPER = family_named("whisper")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whisper") / "model"
    scratch = {
        "window": 4,
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
    }
    WHISPER.create(folder, scratch, {}, lambda: iter(["abcd"] * 4), ["en"], 0)
    return folder


def batch(folder, samples=16000, frames=None):
    processor = WHISPER.processor(folder)
    wave = np.random.default_rng(0).standard_normal(samples).astype(np.float32) * 0.1
    feature = WHISPER.features(processor, wave)
    return WHISPER.collate(processor, [feature], [WHISPER.labels(processor, "ab", ["en"])], frames)


def test_a_short_window_gives_what_a_model_of_that_window_gives(whisper, tmp_path):
    """Against the stock way: position table cut, max_source_positions set, plain loading."""
    from safetensors.torch import load_file, save_file
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    inputs = batch(whisper, frames=120)
    labels = inputs.pop("labels")
    model = load(whisper)
    with torch.no_grad(), WHISPER.fitted(model, inputs):
        ours = model(**inputs, decoder_input_ids=labels.clamp_min(0)).logits
    state = load_file(whisper / "model.safetensors")
    name = "model.encoder.embed_positions.weight"
    state[name] = state[name][:60].clone()
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    WhisperConfig.from_pretrained(whisper, max_source_positions=60).save_pretrained(tmp_path)
    short = WhisperForConditionalGeneration.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(short(**inputs, decoder_input_ids=labels.clamp_min(0)).logits, ours)
    assert model.config.max_source_positions == 200 and model.model.encoder.embed_positions.num_embeddings == 200


def test_windows_are_even_have_a_margin_and_end_at_the_models_own(whisper):
    for longest in range(1, 400):
        window = WHISPER.window(longest)
        assert window % 2 == 0 and longest + 10 <= window < longest + 30
    assert batch(whisper, 4 * 16000, frames=WHISPER.window(400))["input_features"].shape[-1] == 400


def test_a_share_of_the_batches_has_the_full_window(whisper):
    processor = WHISPER.processor(whisper)
    one = {"features": np.zeros((50, 80), np.float32), "seconds": 0.5}
    batches = [[{**one, "labels": [n, m]} for m in range(4)] for n in range(400)]
    for share in (0.0, 0.25, 1.0):
        collate = Collator(WHISPER, processor, short=True, full=share)
        full = [collate(b)["microbatches"][0]["input_features"].shape[-1] == 400 for b in batches]
        assert np.mean(full) == pytest.approx(share, abs=0.06)
    labels = [[row["labels"] for row in rows] for rows in batches[:2]]
    assert draw(labels[0]) == draw(labels[0]) != draw(labels[1])
    counted = Collator(WHISPER, processor, short=True)(batches[0])["counts"]
    assert counted["filled"] == 200 and counted["room"] == 4 * WHISPER.window(50)


def test_a_batch_filled_by_seconds_stays_within_them_in_full_windows_too(whisper):
    """A row of half a second costs four in the window of four seconds."""
    batch = [{"features": np.zeros((50, 80), np.float32), "seconds": 0.5, "labels": [n]} for n in range(10)]
    pieces = Collator(WHISPER, WHISPER.processor(whisper), short=True, full=1.0, room=13.0)(batch)["microbatches"]
    shapes = [tuple(piece["input_features"].shape[::2]) for piece in pieces]
    assert sum(rows for rows, _ in shapes) == 10 and all(rows <= 3 and frames == 400 for rows, frames in shapes)
    assert sorted(int(n) for piece in pieces for n in piece["labels"][:, 0]) == list(range(10))
    (whole,) = Collator(WHISPER, WHISPER.processor(whisper), short=True, full=1.0)(batch)["microbatches"]
    assert len(whole["input_features"]) == 10


def test_from_scratch_short_is_the_default_and_stays_with_the_model(tmp_path, whisper, tones, job, capfd):
    made = job(tmp_path / "a", whisper, {"tones": tones}, max_steps=2)
    run(made)
    assert "short windows" in capfd.readouterr().err
    config = load(made.out).config
    assert Window.of(WHISPER, config).short
    full = job(tmp_path / "b", made.out, {"tones": tones}, max_steps=2, window="full")
    run(full)
    assert not Window.of(WHISPER, load(full.out).config).short and load(full.out).config.max_source_positions == 200


def test_a_model_is_run_on_a_third_of_its_window_at_least(whisper):
    """Whisper repeats a word to the last position in a window of that word's length."""
    config = load(whisper).config
    window = Window.of(WHISPER, config)
    assert WHISPER.full_window(config) == 400 and window.least == WHISPER.window(133) == 160
    assert window.fitting([np.zeros((1, 80))]) == {"frames": 160}
    assert window.fitting([np.zeros((1, 80)), np.zeros((390, 80))]) == {"frames": WHISPER.window(390)}
    alike = window.alike(config)
    assert alike(0, np.zeros((1, 80))) == alike(0, np.zeros((140, 80))) == 160 < alike(0, np.zeros((390, 80)))
    assert Window.of(WHISPER, config, {"window": "full"}).fitting([np.zeros((1, 80))]) == {}


def test_what_is_said_to_a_row_does_not_depend_on_the_rows_beside_it(tmp_path, whisper, tones):
    from consomme.data.prepared import Rows
    from consomme.evaluate.evaluator import Evaluator

    model, rows = load(whisper), Rows.open([tones])
    found = []
    for size in (1, 5, 48):
        evaluator = Evaluator(
            *(WHISPER, WHISPER.processor(whisper), {"dev": rows}),
            languages=["en"],
            decoding={"max_new_tokens": 6},
            normaliser="basic",
            cache=tmp_path / str(size),
            batch_size=size,
            processor_key="x",
        )
        found.append((evaluator.hypotheses(model, "dev"), evaluator.value(model, "dev", "loss")))
    assert found[0][0] == found[1][0] == found[2][0]
    assert found[0][1] == pytest.approx(found[2][1], rel=1e-5)


def test_the_full_window_is_scored_beside_it(tmp_path, whisper, tones, speech):
    from consomme.common.digest import digest
    from consomme.common.job import Job
    from consomme.evaluate.stage import run as evaluate

    decoding = {"num_beams": 1, "max_new_tokens": 6, "window": None}
    spec = {
        "stage": "evaluate",
        "version": 1,
        "task": "asr",
        "languages": ["en"],
        "normaliser": "basic",
        "decoding": decoding,
        "decoding_digest": "main",
        "sets": {"dev": {"d": ["others"]}, "test": {"t": ["tones"]}},
    }
    inputs = {"model/m": whisper, "corpus/tones": tones, "corpus/others": speech(tmp_path / "others", 8, seed=1)}
    job = Job(spec, inputs, tmp_path / "i.json", tmp_path, tmp_path, 1, "cpu")
    evaluate(job)
    other = digest({"num_beams": 1, "max_new_tokens": 6, "window": "full"}, 8)
    sets = json.loads(job.out.read_text())["sets"]
    assert [(e["split"], e["decoding"]) for e in sets] == [("dev", "main"), ("test", "main"), ("test", other)]
    assert all((tmp_path / e["split"] / f"{e['set']}@{e['decoding']}.jsonl").exists() for e in sets)
