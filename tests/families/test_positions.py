"""How many tokens a model takes: what its config says, whatever its tokenizer says."""

import json
import shutil
from types import SimpleNamespace

import pytest

from consomme.common.errors import Unusable
from consomme.families import family_named
from consomme.families.positions import UNBOUNDED, bounded, most_tokens, positions


@pytest.mark.parametrize(
    ("config", "source", "target"),
    [
        ({"max_position_embeddings": 512}, 512, 512),
        ({"max_source_positions": 1500, "max_target_positions": 448}, None, 448),  # Whisper's source are frames
        ({"max_encoder_position_embeddings": 16384, "max_decoder_position_embeddings": 1024}, 16384, 1024),  # LED
        ({"encoder": {"max_position_embeddings": 512}, "decoder": {"max_position_embeddings": 256}}, 512, 256),
        ({"n_positions": 512}, None, None),  # T5 has none: its positions are relative
    ],
)
def test_positions_are_those_of_the_config(config, source, target):
    for given in (config, SimpleNamespace(**config)):
        assert (positions(given, "source"), positions(given, "target")) == (source, target)


@pytest.mark.parametrize(
    ("said", "config", "most"),
    [
        (1024, {"max_target_positions": 448}, 448),
        (10**30, {"max_target_positions": 448}, 448),
        (256, {"max_target_positions": 448}, 256),
        (512, {}, 512),
        (10**30, {}, UNBOUNDED),
    ],
)
def test_the_lesser_of_config_and_tokenizer_counts(tmp_path, said, config, most):
    (tmp_path / "config.json").write_text(json.dumps(config))
    processor = SimpleNamespace(tokenizer=SimpleNamespace(model_max_length=said))
    assert most_tokens(bounded(processor, tmp_path), "target") == most


TEXT_FAMILIES = ["whisper", "speech2text", "moonshine", "marian", "m2m_100", "mbart", "t5"]


@pytest.mark.parametrize("said", [10**30, 100_000])
@pytest.mark.parametrize("name", TEXT_FAMILIES)
def test_a_tokenizer_that_knows_no_limit_or_a_wrong_one_refuses_what_the_model_can_not_take(
    folders, recipe, tmp_path, name, said
):
    folder, languages = tmp_path / name, recipe(name)[-1]
    shutil.copytree(folders(name), folder)
    for file in folder.glob("*.json"):
        content = json.loads(file.read_text())
        if "model_max_length" in content:
            file.write_text(json.dumps({**content, "model_max_length": said}))
    family = family_named(name)
    processor = family.processor(folder, languages)
    config = json.loads((folder / "config.json").read_text())
    most = positions(config, "target") or (said if said < 10**9 else UNBOUNDED)
    assert len(family.labels(processor, "a", languages)) <= most == most_tokens(processor, "target")
    with pytest.raises(Unusable, match=f"the model has positions for {most}"):
        family.labels(processor, "cat " * (most + 1), languages)
    if family.task == "nmt":
        with pytest.raises(Unusable, match="source longer than the model's positions"):
            family.features(processor, "cat " * (most + 1))
