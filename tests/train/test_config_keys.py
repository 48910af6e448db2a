"""What training sets in a config of any family, in its parts too, and takes back afterwards."""

import pytest

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.families import family_named
from consomme.families.base import value_of
from consomme.train.config_keys import as_saved, load_with, overrides

SETTINGS = {"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "dropout": None}


@pytest.fixture(scope="module")
def parakeet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parakeet")
    family = family_named("parakeet")
    scratch = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16, "subsampling_conv_channels": 4}
    family.create(folder, scratch, {"vocab_size": 20}, lambda: iter(["a b c"]), ["en"], 0)
    return family, folder


def test_settings_reach_the_parts_of_a_config_and_leave_them_again(parakeet):
    family, folder = parakeet
    before = (folder / "config.json").read_bytes()
    changed = overrides(
        family, read_json(folder / "config.json"), {**SETTINGS, "encoder_layerdrop": 0.25, "dropout": 0.4}
    )
    assert changed["encoder_config.layerdrop"] == 0.0  # layers are left out by ours
    model = load_with(family, folder, changed, "cpu")
    assert model.encoder.layers[1].self_attn.attention_dropout == 0.4
    assert all(value_of(model.config, key) == value for key, value in changed.items())
    with as_saved(model, family, folder, {"trained_window": "short"}):
        assert model.config.encoder_config.attention_dropout == 0.1
    assert all(value_of(model.config, key) == value for key, value in changed.items())
    assert (folder / "config.json").read_bytes() == before


def test_one_dropout_may_be_set_by_its_own_name(parakeet):
    family, folder = parakeet
    config = read_json(folder / "config.json")
    given = {"encoder_config.attention_dropout": 0.3}
    assert given.items() <= overrides(family, config, {**SETTINGS, "dropout": given}).items()
    with pytest.raises(ConsommeError, match=r"dropout.attention_dropuot: parakeet has none of that name"):
        overrides(family, config, {**SETTINGS, "dropout": {"attention_dropuot": 0.3}})


def test_masking_of_its_own_is_switched_off_even_where_an_old_config_does_not_name_it():
    assert overrides(family_named("wav2vec2"), {}, SETTINGS)["apply_spec_augment"] is False
    assert "apply_spec_augment" not in overrides(family_named("wav2vec2"), {"apply_spec_augment": False}, SETTINGS)
    assert "apply_spec_augment" not in overrides(family_named("whisper"), {}, SETTINGS)
