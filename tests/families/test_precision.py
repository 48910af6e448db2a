"""Decoding in half precision: every family answers, and the weights are themselves again afterwards."""

import numpy as np
import pytest
import torch
from tests.conftest import LANGUAGES, SETTINGS

from consomme.families import family_named, load
from consomme.families.precision import at_precision
from consomme.families.settings import to_model


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_family_decodes(folders, name, precision):
    family, folder = family_named(name), folders(name)
    model, processor = load(folder), family.processor(folder, LANGUAGES[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    if family.task == "asr":
        source = (0.1 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32)
    else:
        source = "one two three"
    features = [family.features(processor, source, LANGUAGES[name])]
    with at_precision(model, precision), torch.inference_mode():
        assert model.dtype == getattr(torch, precision)
        batch = to_model(model, family.collate(processor, features, None))
        settings = {"max_new_tokens": 5} if family.objective == "seq2seq" else {}
        (said,) = family.decode(model, processor, batch, LANGUAGES[name], settings)
        assert isinstance(said.text, str)
    after = model.state_dict()
    assert all(torch.equal(value, after[key]) and value.dtype == after[key].dtype for key, value in before.items())


def test_without_a_precision_nothing_is_touched(folders):
    model = load(folders("ctc"))
    with at_precision(model, None):
        assert model.dtype == torch.float32
