"""A new CTC head for a pretrained encoder, as the plan sees it."""

import json

import pytest

from consomme.common.errors import ConsommeError
from consomme.plan.plan import Plan

MODELS = "experiments/e/models"
CHARACTERS = {"type": "characters"}


@pytest.fixture
def raw(change):
    """raw(start, **changes): the models called raw, by replicate."""

    def planned(start, **changes):
        settings = {f"{MODELS}/raw": {"from": start, "data": {"train": "a-train"}}, "experiments.e.repeat": [1, 2]}
        plan = Plan(change({**settings, **changes}))
        return {m.replicate: m for m in plan.studies["e"].models if m.node == "raw"}

    return planned


@pytest.fixture
def encoder(tmp_path):
    """encoder(architecture, model_type): a folder with such a config.json."""

    def made(architecture="Wav2Vec2ForPreTraining", kind="wav2vec2"):
        config = {"model_type": kind, "architectures": [architecture], "num_hidden_layers": 6}
        (tmp_path / "config.json").write_text(json.dumps(config))
        return str(tmp_path)

    return made


@pytest.mark.parametrize("start", [{"hub": "facebook/wav2vec2-base"}, {"folder": "FOLDER"}])
def test_a_new_head_is_made_of_the_replicate_and_the_training_texts_and_a_fetched_one_of_neither(raw, encoder, start):
    folder = encoder("Wav2Vec2ForCTC")
    start = {key: folder if value == "FOLDER" else value for key, value in start.items()}
    other = {"corpora.a-train.size": 41}
    plain, fresh = raw(start), raw({**start, "tokenizer": CHARACTERS})
    assert plain["1"].digest == plain["2"].digest == raw(start, **other)["1"].digest
    assert not plain["1"].corpora and not plain["1"].random
    digests = {
        m.digest for m in (*plain.values(), *fresh.values(), raw({**start, "tokenizer": CHARACTERS}, **other)["1"])
    }
    assert len(digests) == 4
    assert list(fresh["1"].corpora) == ["a-train"]
    assert json.loads(fresh["2"].spec)["seed"] == 2
    assert fresh["1"].random


def test_the_digest_is_the_same_whether_the_checkpoint_is_there_or_not(raw, encoder, tmp_path):
    folder = encoder()
    start = {"folder": folder, "tokenizer": CHARACTERS}
    there = raw(start)["1"]
    assert (there.family, there.depth) == ("wav2vec2", {"encoder": 6})
    (tmp_path / "config.json").unlink()
    away = raw(start)["1"]
    assert away.family is None and away.digest == there.digest


def test_random_heads_are_not_evaluated(change):
    start = {"hub": "facebook/wav2vec2-base", "tokenizer": CHARACTERS}
    found = Plan(change({f"{MODELS}/raw/from": start})).studies["e"]
    assert "raw" not in {e.model.node for e in found.evaluations}
    assert "raw" in {
        e.model.node for e in Plan(change({f"{MODELS}/raw": {"from": {"hub": "x/y"}}})).studies["e"].evaluations
    }
    claim = {"model": "base", "beats": "raw", "on": "a"}
    with pytest.raises(ConsommeError, match="raw"):
        _ = Plan(change({f"{MODELS}/raw/from": start, "experiments.e.claims": [claim]})).studies["e"].claims


@pytest.mark.parametrize(
    ("saved", "start", "wanted"),
    [
        (("Wav2Vec2Model", "wav2vec2"), {}, ["raw.from", "holds a Wav2Vec2Model, which has no CTC head", "tokenizer: {type: characters}"]),
        (("HubertModel", "hubert"), {"tokenizer": {"type": "charakters"}}, ["raw.from.tokenizer.type", "did you mean 'characters'"]),
        (("HubertModel", "hubert"), {"tokenizer": {"type": "bpe"}}, ["raw.from.tokenizer.type", "allowed: characters"]),
        (("HubertModel", "hubert"), {"tokenizer": {"types": "bpe"}}, ["raw.from.tokenizer.type", "needed beside a checkpoint"]),
        (("HubertModel", "hubert"), {"tokenizer": {"type": "characters", "vocab_size": 3}}, ["raw.from.tokenizer.vocab_size"]),
        (("WhisperForConditionalGeneration", "whisper"), {"tokenizer": CHARACTERS}, ["'whisper' keeps its own tokenizer", "wav2vec2"]),
        (("SEWForCTC", "sew"), {"tokenizer": CHARACTERS}, ["'auto-ctc' keeps its own tokenizer"]),
    ],
)  # fmt: skip
def test_what_is_refused(raw, encoder, saved, start, wanted):
    with pytest.raises(ConsommeError) as caught:
        raw({"folder": encoder(*saved), **start})
    for words in wanted:
        assert words in str(caught.value), f"{words!r} not in: {caught.value}"
