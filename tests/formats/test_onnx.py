"""Recognisers with CTC in ONNX Runtime."""

import numpy as np
import pytest

from consomme.families import family_named, family_of, load
from consomme.formats import Asked, format_named, start, write

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
TEXTS = ["one two three", "four five", "six seven eight"]
SMALL = {
    "ctc": {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16},
    "wav2vec2": {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16},
    "wavlm": {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16},
    "hubert": {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_graph_says_what_transformers_says(tmp_path, name):
    """Of recordings of other lengths and numbers than it was traced with."""
    model, out = tmp_path / "model", tmp_path / "out"
    family_named(name).create(model, SMALL[name], {}, lambda: iter(TEXTS * 5), ["en"], seed=3)
    random = np.random.default_rng(0)
    waves = [random.normal(size=n).astype(np.float32) / 5 for n in (16000, 24000, 9000)]
    family, loaded = family_of(model), load(model)
    processor = family.processor(model, ["en"])
    wanted = []
    for wave in waves:
        batch = family.collate(processor, [family.features(processor, wave)], None)
        wanted += family.generate(loaded, processor, batch, ["en"], {})
    for settings, worst in (({}, 0), ({"quantization": "int8"}, 12)):
        place = out / str(len(settings))
        place.mkdir(parents=True)
        write(format_named("onnx"), model, place, settings, tmp_path)
        found = start(place, ["en"]).decode(waves, Asked(["en"], {"num_beams": 1, "words": True}))
        said = [one.text for one in found]
        apart = sum(
            sum(a != b for a, b in zip(x, y, strict=False)) + abs(len(x) - len(y))
            for x, y in zip(said, wanted, strict=True)
        )
        assert apart == 0 if not worst else all(said)
        for one, wave in zip(found, waves, strict=True):
            (words,) = one.words
            assert " ".join(word.text for word in words) == one.text
            assert all(0 <= word.start < word.end <= len(wave) / 16000 for word in words)
        assert (place / "model.onnx").is_file() and not (place / "model.safetensors").exists()
