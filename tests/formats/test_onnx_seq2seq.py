"""Encoder-decoders in ONNX Runtime, and what other programs find in their files."""

import numpy as np
import pytest

from consomme.families import family_named, family_of, load
from consomme.families.windows import without
from consomme.formats import Asked, format_named, start, write

onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
TEXTS = ["one two three", "four five", "six seven eight", "nine"]
# weights large enough for outputs to depend on the input
SMALL = {
    "whisper": {"d_model": 32, "window": 2, "init_std": 0.25, "encoder_layers": 1},
    "marian": {"d_model": 32, "init_std": 0.4, "max_position_embeddings": 64, "encoder_layers": 1},
}
HEADS, LAYERS = 4, 2


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """folders(family) -> a model and its export."""
    made = {}

    def both(name):
        if name not in made:
            work = tmp_path_factory.mktemp(name)
            model, out = work / "model", work / "out"
            out.mkdir()
            family_named(name).create(model, SMALL[name], {}, lambda: iter(TEXTS * 5), ["en", "fr"], seed=3)
            write(format_named("onnx"), model, out, {}, work)
            made[name] = model, out
        return made[name]

    return both


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
    from consomme.families.windows import Window

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
def test_it_says_what_transformers_says(folders, name, decoding):
    """In windows and batches of other sizes than it was traced with."""
    model, out = folders(name)
    decoding = {**decoding, "max_new_tokens": 12}
    wanted = said(model, sources(name), decoding)
    running = start(out, ["en", "fr"])
    assert running.decode(sources(name), Asked(["en", "fr"], decoding)) == wanted
    assert len({one.text for one in wanted}) > 1
    (alone,) = running.decode(sources(name)[1:2], Asked(["en", "fr"], decoding))
    assert [alone] == said(model, sources(name)[1:2], decoding)


@pytest.mark.parametrize("name", SMALL)
def test_the_files_are_those_that_optimum_and_transformers_js_look_for(folders, name):
    """Names of files, inputs and outputs are by https://github.com/huggingface/optimum-onnx."""
    _, out = folders(name)
    assert {path.name for path in (out / "onnx").iterdir()} == {"encoder_model.onnx", "decoder_model_merged.onnx"}
    encoder, decoder = (
        onnxruntime.InferenceSession(out / "onnx" / file)
        for file in ("encoder_model.onnx", "decoder_model_merged.onnx")
    )
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
    assert inputs["past_key_values.0.decoder.key"].shape == ["batch_size", HEADS, "past_decoder_sequence_length", 8]
    outputs = [one.name for one in decoder.get_outputs()]
    attentions = [f"cross_attentions.{i}" for i in range(LAYERS)] if name == "whisper" else []
    assert outputs == ["logits", *(f"present.{name}" for name in kept), *attentions]


def test_weights_are_stored_once(folders):
    """The two branches of the graph share them, and so do the embeddings and the output layer."""
    model, out = folders("marian")
    stored = onnx.load(out / "onnx/decoder_model_merged.onnx").graph.initializer
    assert len({(tuple(one.dims), one.raw_data) for one in stored}) == len(stored)
    (vocabulary, width) = load(model).lm_head.weight.shape
    assert sum(tuple(one.dims) == (vocabulary, width) for one in stored) == 1


def test_a_later_step_reads_only_the_newest_token(folders):
    """The cache is at work: the logits of a token behind others are those of all at once."""
    _, out = folders("marian")
    session = onnxruntime.InferenceSession(out / "onnx/decoder_model_merged.onnx")
    random = np.random.default_rng(1)
    ids, states = random.integers(3, 20, (2, 5)), random.normal(size=(2, 6, 32)).astype(np.float32)
    given = {"encoder_hidden_states": states, "encoder_attention_mask": np.array([[1] * 6, [1] * 4 + [0] * 2])}
    names = [one.name for one in session.get_inputs() if one.name.startswith("past")]
    empty = {name: np.zeros((2, HEADS, 0, 8), np.float32) for name in names}

    def step(tokens, past, later):
        found = session.run(None, {**given, **past, "input_ids": tokens, "use_cache_branch": np.array([later])})
        return dict(zip((one.name for one in session.get_outputs()), found, strict=True))

    whole, first = step(ids, empty, False), step(ids[:, :4], empty, False)
    past = {name: first[name.replace("past_key_values", "present")] for name in names}
    last = step(ids[:, 4:], past, True)
    np.testing.assert_allclose(last["logits"][:, 0], whole["logits"][:, 4], atol=1e-4)
    assert last["present.1.decoder.value"].shape == (2, HEADS, 5, 8)


def test_eight_bits_are_refused(tmp_path, folders):
    from consomme.formats.onnx.convert import refuses

    assert refuses({"quantization": "int8"}, family_named("ctc")) is None
    assert "'marian' is written as onnx in float32 alone" in refuses({"quantization": "int8"}, family_named("marian"))
