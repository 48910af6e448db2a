"""Encoder-decoders in ONNX Runtime, and what other programs find in their files."""

import json

import numpy as np
import pytest

from consomme.common.errors import ConsommeError
from consomme.common.job import parse
from consomme.export.stage import run
from consomme.families import family_of, load
from consomme.families.windows import Window, without
from consomme.formats import Asked, exported_as, start, weights_of
from consomme.formats.onnx.layout import DECODER, ENCODER

onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
NAMES = ("whisper", "marian")
TEXTS = ["one two three", "four five", "six seven eight", "nine"]
HEADS, LAYERS, WIDTH = 4, 2, 32  # of the decoders


@pytest.fixture(scope="module")
def exported(job_in, tmp_path_factory):
    """exported(family) -> the folder of an export."""
    made = {}

    def folder(name):
        if name not in made:
            place = tmp_path_factory.mktemp(name)
            run(parse(job_in(place, name, "onnx"), ""))
            made[name] = place / "out"
        return made[name]

    return folder


def sources(name):
    """Of several lengths."""
    if name != "whisper":
        return TEXTS
    random = np.random.default_rng(0)
    tones = [np.sin(np.arange(n) * (0.05 + 0.1 * i)) for i, n in enumerate((16000, 24000, 9000, 32000))]
    return [(tone / 4 + random.normal(size=len(tone)) / 60).astype(np.float32) for tone in tones]


def said(model, given, decoding):
    """What transformers says of them at once."""
    family, loaded = family_of(model), load(model)
    processor = family.processor(model, ["en", "fr"])
    features = [family.features(processor, source, ["en", "fr"]) for source in given]
    window = Window.of(family, loaded.config, decoding).fitting(features)
    batch = family.collate(processor, features, None, **window)
    return family.decode(loaded, processor, batch, ["en", "fr"], without(decoding))


@pytest.mark.parametrize(
    ("name", "decoding"),
    [
        ("marian", {"num_beams": 1}),
        ("marian", {"num_beams": 3, "length_penalty": 0.6}),
        ("whisper", {"num_beams": 1}),
        ("whisper", {"num_beams": 3, "window": "full"}),
        ("whisper", {"num_beams": 1, "words": True}),
    ],
)
def test_it_says_what_transformers_says(exported, models, name, decoding):
    """In windows and batches of other sizes than it was traced with."""
    model, out = models(name), exported(name)
    decoding = {**decoding, "max_new_tokens": 12}
    wanted = said(model, sources(name), decoding)
    running = start(out, ["en", "fr"])
    assert running.decode(sources(name), Asked(["en", "fr"], decoding)) == wanted
    assert len({one.text for one in wanted}) > 1
    (alone,) = running.decode(sources(name)[1:2], Asked(["en", "fr"], decoding))
    assert [alone] == said(model, sources(name)[1:2], decoding)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_evaluated_as_other_exports_are(exported, name):
    """At hand-over, too; the bytes of its graphs are its size."""
    out = exported(name)
    assert exported_as(out).name == "onnx"
    assert json.loads((out / "provenance.json").read_text())["agreement"]["share"] == 1
    assert {out / "onnx" / file for file in (ENCODER, DECODER)} <= set(weights_of(out))
    assert "ORTModelForSpeechSeq2Seq" in (out / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_those_that_optimum_and_transformers_js_look_for(exported, name):
    """Names of files, inputs and outputs are by https://github.com/huggingface/optimum-onnx."""
    out = exported(name)
    assert {path.name for path in (out / "onnx").iterdir()} == {"encoder_model.onnx", "decoder_model_merged.onnx"}
    encoder, decoder = (onnxruntime.InferenceSession(out / "onnx" / file) for file in (ENCODER, DECODER))
    takes = ["input_features"] if name == "whisper" else ["input_ids", "attention_mask"]
    assert [one.name for one in encoder.get_inputs()] == takes
    assert [one.name for one in encoder.get_outputs()] == ["last_hidden_state"]
    kept = [f"{i}.{side}.{part}" for i in range(LAYERS) for side in ("decoder", "encoder") for part in ("key", "value")]
    mask = [] if name == "whisper" else ["encoder_attention_mask"]
    inputs = {one.name: one for one in decoder.get_inputs()}
    # Optimum pairs the caches by their order
    assert list(inputs) == [
        "input_ids", *mask, "encoder_hidden_states", *(f"past_key_values.{name}" for name in kept), "use_cache_branch",
    ]  # fmt: skip
    assert inputs["use_cache_branch"].type == "tensor(bool)"
    # Transformers.js makes the empty ones of the first step by these names and sizes
    assert inputs["past_key_values.0.decoder.key"].shape == [
        "batch_size",
        HEADS,
        "past_decoder_sequence_length",
        WIDTH // HEADS,
    ]
    outputs = [one.name for one in decoder.get_outputs()]
    attentions = [f"cross_attentions.{i}" for i in range(LAYERS)] if name == "whisper" else []
    assert outputs == ["logits", *(f"present.{name}" for name in kept), *attentions]


def test_weights_are_stored_once(exported, models):
    """The two branches of the graph share them, and so do the embeddings and the output layer."""
    stored = onnx.load(exported("marian") / "onnx" / DECODER).graph.initializer
    assert len({(tuple(one.dims), one.raw_data) for one in stored}) == len(stored)
    (vocabulary, width) = load(models("marian")).lm_head.weight.shape
    assert sum(tuple(one.dims) == (vocabulary, width) for one in stored) == 1


def test_a_later_step_reads_only_the_newest_token(exported):
    """The cache is at work: the logits of a token behind others are those of all at once."""
    session = onnxruntime.InferenceSession(exported("marian") / "onnx" / DECODER)
    random = np.random.default_rng(1)
    ids, states = random.integers(3, 20, (2, 5)), random.normal(size=(2, 6, WIDTH)).astype(np.float32)
    given = {"encoder_hidden_states": states, "encoder_attention_mask": np.array([[1] * 6, [1] * 4 + [0] * 2])}
    names = [one.name for one in session.get_inputs() if one.name.startswith("past")]
    empty = {name: np.zeros((2, HEADS, 0, WIDTH // HEADS), np.float32) for name in names}

    def step(tokens, past, later):
        found = session.run(None, {**given, **past, "input_ids": tokens, "use_cache_branch": np.array([later])})
        return dict(zip((one.name for one in session.get_outputs()), found, strict=True))

    whole, first = step(ids, empty, False), step(ids[:, :4], empty, False)
    past = {name: first[name.replace("past_key_values", "present")] for name in names}
    last = step(ids[:, 4:], past, True)
    np.testing.assert_allclose(last["logits"][:, 0], whole["logits"][:, 4], atol=1e-4)
    assert last["present.1.decoder.value"].shape == (2, HEADS, 5, WIDTH // HEADS)


def test_large_weights_lie_beside_their_graph(exported, tmp_path, monkeypatch):
    """Under the name that Optimum gives them: a file of a graph can't have more than 2 GB."""
    import onnx_ir

    from consomme.formats.onnx import seq2seq

    monkeypatch.setattr(seq2seq, "INSIDE", 0)
    small = exported("marian") / "onnx" / ENCODER
    seq2seq._save(onnx_ir.load(small), tmp_path / ENCODER)
    assert {path.name for path in tmp_path.iterdir()} == {"encoder_model.onnx", "encoder_model.onnx_data"}
    given = {"input_ids": np.array([[3, 4, 5]]), "attention_mask": np.array([[1, 1, 0]])}
    once, again = (onnxruntime.InferenceSession(file).run(None, given) for file in (small, tmp_path / ENCODER))
    np.testing.assert_array_equal(once, again)


def test_eight_bits_are_refused(job, tmp_path):
    with pytest.raises(ConsommeError, match="quantization: int8 given; 'marian' is written as onnx in float32 alone"):
        run(parse(job("marian", "onnx", "int8"), ""))
    assert not (tmp_path / "out").exists()
