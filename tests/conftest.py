"""A tiny model with random weights of every family, made once. What is heavy is imported when it is asked for."""

import json
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

# in the background of a script all processes ignore SIGINT; here some are to hear it
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TEXTS = ["the cat sat on a mat", "le chat est assis", "hello world, how are you?", "bonjour le monde, ça va ?"]
CTC = {"hidden_size": 16, "num_hidden_layers": 4, "intermediate_size": 32}
WAVEFORM = {**CTC, "conv_dim": [16, 16, 16, 16]}
BART = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "decoder_layers": 3}
SMALL = {"vocab_size": 60}
SETTINGS = {
    "ctc": (CTC, {}),
    "wav2vec2": (WAVEFORM, {}),
    "hubert": (WAVEFORM, {}),
    "wavlm": (WAVEFORM, {}),
    "parakeet": ({**CTC, "subsampling_conv_channels": 8}, SMALL),
    "parakeet_rnnt": ({**CTC, "subsampling_conv_channels": 8, "decoder_hidden_size": 16}, SMALL),
    "parakeet_tdt": ({**CTC, "subsampling_conv_channels": 8, "decoder_hidden_size": 16}, SMALL),
    "whisper": ({"window": 2, **BART}, {}),
    "speech2text": ({**BART, "conv_channels": 16}, SMALL),
    "moonshine": ({"hidden_size": 32, "intermediate_size": 32, "decoder_num_hidden_layers": 3}, SMALL),
    "marian": (BART, SMALL),
    "m2m_100": (BART, SMALL),
    "mbart": (BART, SMALL),
    "t5": ({"d_model": 16, "d_kv": 8, "d_ff": 32, "num_decoder_layers": 3}, SMALL),
}
VOCABULARY = {"</s>": 0, "<unk>": 1, "a": 2, "b": 3}
CONFIG = {"model_type": "some", "architectures": ["SomeModel"], "dtype": "float32"}
TWO = ("whisper", "marian", "m2m_100", "mbart", "t5")
LANGUAGES = {name: ["en", "fr"] if name in TWO else ["en"] for name in SETTINGS}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Family name -> a checkpoint folder, made at first use."""
    from consomme.families import family_named

    made = {}

    def folder(name, **more):
        key = (name, tuple(sorted(more.items())))
        if key not in made:
            made[key] = tmp_path_factory.mktemp(name)
            settings, tokenizer = SETTINGS[name]
            family_named(name).create(
                made[key], {**settings, **more}, tokenizer, lambda: iter(TEXTS * 5), LANGUAGES[name], seed=1
            )
            spread(made[key])
        return made[key]

    return folder


def spread(folder):
    """Larger weights than a fresh model's, so that every part of it shows in the output."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name in sorted(weights):
        if weights[name].dim() > 1 and "embed_positions" not in name:
            weights[name] = weights[name] + 0.2 * torch.randn(weights[name].shape, generator=generator)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.fixture(params=list(SETTINGS))
def tiny(request, folders):
    """A family, its loaded tiny model, its processor and a collated batch of two examples with labels."""
    return bundle(request.param, folders(request.param))


@pytest.fixture(scope="session")
def every_family():
    return list(SETTINGS)


@pytest.fixture(scope="session")
def recipe():
    """Family name -> settings, tokenizer settings, texts, languages."""
    return lambda name: (*SETTINGS[name], lambda: iter(TEXTS * 5), LANGUAGES[name])


@pytest.fixture(scope="session", name="bundle")
def bundle_fixture():
    return bundle


@pytest.fixture(scope="session", name="noise")
def noise_fixture():
    return noise


def bundle(name, folder):
    from consomme.families import family_named, load

    family = family_named(name)
    processor = family.processor(folder)
    sources = [noise(16000, 1), noise(9000, 2)] if family.task == "asr" else ["the cat sat on a mat", "hello"]
    features = [family.features(processor, source) for source in sources]
    labels = [family.labels(processor, text, LANGUAGES[name]) for text in ("le chat", "hello")]
    model, batch = load(folder), family.collate(processor, features, labels)
    forward = dict(batch)
    if family.objective == "transducer":  # other models make what their decoder reads of the labels
        forward["decoder_input_ids"] = family.decoder_inputs(model, forward.pop("labels"))
    return SimpleNamespace(
        family=family,
        folder=folder,
        model=model,
        processor=processor,
        languages=LANGUAGES[name],
        features=features,
        batch=batch,
        forward=forward,
        inputs=family.collate(processor, features, None),
    )


def noise(samples, seed):
    import numpy as np

    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.fixture(autouse=True)
def one_thread():
    """The command by hand takes all cores, and what it sets outlasts it in this process."""
    yield
    if "consomme.weights.mean" in sys.modules:
        sys.modules["consomme.weights.mean"].set_threads(1)


@pytest.fixture
def checkpoint(tmp_path):
    """checkpoint(name, tensors, **files) writes a folder that looks like a model; JSON values by file name."""

    def make(name, tensors, config=CONFIG, vocabulary=VOCABULARY, **files):
        folder = tmp_path / name
        folder.mkdir()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        for file, value in files.items():
            (folder / f"{file}.json").write_text(json.dumps(value))
        return folder

    return make


@pytest.fixture
def some():
    """some(seed) -> tensors of a small model; all have the same names and shapes."""

    def make(seed, dtype=np.float32):
        random = np.random.default_rng(seed)
        return {
            "layer.weight": random.normal(size=(300, 700)).astype(dtype),  # more than one piece
            "layer.bias": random.normal(size=7).astype(dtype),
            "scale": np.array(random.normal(), dtype=dtype),
            "empty": np.zeros((0, 4), dtype),
            "steps": np.array([3, 4], np.int64),
        }

    return make
