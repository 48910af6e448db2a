"""What determines how fast a model is."""

import json
import shutil
from pathlib import Path

from consomme.common.files import write_json
from consomme.speed.architecture import architecture


def test_architecture_is_config_and_shapes_not_weights(models):
    assert architecture(Path("base")) == architecture(Path("tuned")) != architecture(Path("small"))
    shutil.copytree("base", "other")
    config = json.loads(Path("other/config.json").read_text())
    Path("other/config.json").write_text(json.dumps({**config, "transformers_version": "0", "_name_or_path": "x"}))
    assert architecture(Path("other")) == architecture(Path("base"))
    Path("other/config.json").write_text(json.dumps({**config, "activation_function": "relu"}))
    assert architecture(Path("other")) != architecture(Path("base"))


def test_a_checkpoint_in_half_precision_is_of_the_architecture_that_it_is_computed_in(models):
    from safetensors.torch import load_file, save_file

    shutil.copytree("base", "half")
    weights = {name: tensor.half() for name, tensor in load_file("base/model.safetensors").items()}
    save_file(weights, "half/model.safetensors", metadata={"format": "pt"})
    config = json.loads(Path("half/config.json").read_text())
    write_json(Path("half/config.json"), config | {"dtype": "float16"})
    assert architecture(Path("half")) == architecture(Path("base"))
