"""CTC on the encoder of an encoder-decoder."""

import shutil

import numpy as np
import pytest
import torch

from consomme.common.files import read_json, write_json
from consomme.families import family_named, load
from consomme.families.vocabulary import special_ids
from consomme.train import hybrid, losses
from consomme.train.collate import Collator
from consomme.train.stage import run

WHISPER = family_named("whisper")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whisper") / "model"
    scratch = {"window": 2, "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 32}
    WHISPER.create(folder, scratch | {"decoder_ffn_dim": 32}, {}, lambda: iter(["abcd"] * 4), ["en"], 0)
    return folder


def test_ctc_reads_the_text_without_special_tokens_and_the_frames_of_the_audio(whisper):
    processor = WHISPER.processor(whisper)
    waves = [np.ones(n, np.float32) * 0.01 for n in (16000, 8000)]
    texts = ["ab", "dcba"]
    examples = [
        {"features": WHISPER.features(processor, w), "labels": WHISPER.labels(processor, t, ["en"]), "seconds": 1.0}
        for w, t in zip(waves, texts, strict=True)
    ]
    batch = Collator(WHISPER, processor, short=True, ctc=True, per_pass=100)(examples)["microbatches"][0]
    said = [processor.tokenizer.decode([t for t in row.tolist() if t >= 0]) for row in batch["ctc_labels"]]
    assert said == texts
    frames = WHISPER.output_frames(None, batch["lengths"]).tolist()
    # 20 ms a frame, and one frame of silence at the end
    assert all(n * 50 <= f <= n * 50 + 2 for n, f in zip((1, 0.5), frames, strict=True))


def test_tokens_that_only_the_tokenizers_own_file_calls_special_are_no_text(whisper, tmp_path):
    """As in the published checkpoints."""
    shutil.copytree(whisper, tmp_path / "as-published")
    path = tmp_path / "as-published/tokenizer_config.json"
    config = read_json(path)
    lists = {key for key in config if key in ("extra_special_tokens", "additional_special_tokens")}
    assert lists
    write_json(path, {key: value for key, value in config.items() if key not in lists})
    processor = WHISPER.processor(tmp_path / "as-published")
    labels = WHISPER.labels(processor, "abcd", ["en"])
    assert len(processor.tokenizer.all_special_ids) == 1 and len(labels) > 4
    said = [token for token in labels if token not in special_ids(processor.tokenizer)]
    assert said == processor.tokenizer("abcd", add_special_tokens=False).input_ids


def test_the_head_does_not_depend_on_what_was_drawn_before_and_goes_without_a_trace(whisper):
    model, other = load(whisper), load(whisper)
    names = set(model.state_dict())
    hybrid.attach(model, 3)
    torch.rand(5)
    hybrid.attach(other, 3)
    assert torch.equal(model.hybrid_head.weight, other.hybrid_head.weight)
    hybrid.detach(model)
    assert set(model.state_dict()) == names


def ctc_of(folder, tones):
    """How well a fresh linear head could read the encoder: the loss after fitting it, the encoder as it is."""
    from consomme.data.prepared import Rows

    model, processor, rows = load(folder), WHISPER.processor(folder), Rows.open([tones])
    examples = [
        {
            "features": WHISPER.features(processor, rows.source(i)),
            "labels": WHISPER.labels(processor, rows.target(i), ["en"]),
            "seconds": 1.0,
        }
        for i in range(len(rows))
    ]
    batch = Collator(WHISPER, processor, short=True, ctc=True, per_pass=100)(examples)["microbatches"][0]
    inputs = {"input_features": batch["input_features"]}
    with torch.no_grad(), WHISPER.fitted(model, inputs):
        states = model.model.encoder(**inputs).last_hidden_state
    hybrid.attach(model, 0)
    optimizer = torch.optim.Adam(model.hybrid_head.parameters(), lr=0.05)
    frames = WHISPER.output_frames(None, batch["lengths"])
    for _ in range(60):
        optimizer.zero_grad()
        loss = losses.ctc(model.hybrid_head(states), batch["ctc_labels"], frames, model.config.pad_token_id, len(rows))
        loss.backward()
        optimizer.step()
    return float(loss)


def test_it_teaches_the_encoder_and_resumes_and_leaves_a_plain_checkpoint(
    tmp_path, whisper, tones, job, monkeypatch, killed_at
):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 30)
    options = {"max_steps": 80, "learning_rate": 3e-3, "ctc_weight": 0.7}
    options["intermediate_ctc"] = {"layers": [1], "weight": 0.2}
    plain = job(tmp_path / "plain", whisper, {"tones": tones}, max_steps=80, learning_rate=3e-3)
    run(plain)
    whole, made = (job(tmp_path / name, whisper, {"tones": tones}, **options) for name in ("whole", "killed"))
    run(whole)
    killed_at(45, made, monkeypatch)
    run(made)
    assert (whole.out / "model.safetensors").read_bytes() == (made.out / "model.safetensors").read_bytes()
    assert set(load(made.out).state_dict()) == set(load(whisper).state_dict())
    assert ctc_of(made.out, tones) < ctc_of(plain.out, tones) - 0.1
