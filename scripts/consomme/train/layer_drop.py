"""What training sets in a model's config and takes back afterwards: layer drop, dropout, masking of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_json
from consomme.families.base import set_value

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def overrides(family: Family, config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The config's keys for the training settings `encoder_layerdrop`, `decoder_layerdrop`, `dropout`; dotted where they
    lie in a part of it.

    config: what config.json holds. transformers drops layers in training mode only (Fan, Grave, Joulin 2020). Masking
    that the architecture does by itself is switched off: only what `augment` names happens."""
    found: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        probability = settings[f"{side}_layerdrop"]
        key = family.stacks[side].layerdrop if side in family.stacks else None
        if key:
            found[key] = probability
        elif probability:
            what = "drops no layers" if side in family.stacks else f"has no {side}"
            raise ConsommeError(f"{side}_layerdrop: {probability}: {family.name} {what}; allowed: 0")
    if settings["dropout"] is not None:
        if not family.dropouts:
            raise ConsommeError(f"dropout: {settings['dropout']}: {family.name} names no dropout in its config")
        found |= dict.fromkeys(family.dropouts, settings["dropout"])
    if config.get("apply_spec_augment", family.masks_input):
        found["apply_spec_augment"] = False
    return found


def load_with(family: Family, folder: Path, changed: Mapping[str, Any], device: str) -> PreTrainedModel:
    """The model of `folder` as it is with the config's keys `changed`; no file of the folder is touched.

    Most architectures read these keys only while they are built, so the config is changed before."""
    from consomme.families import load

    with TemporaryDirectory(prefix="consomme-") as place:
        for path in folder.iterdir():
            if path.name != "config.json":
                os.symlink(path.resolve(), Path(place) / path.name)
        config = read_json(folder / "config.json")
        for key, value in changed.items():
            set_value(config, key, value)
        write_json(Path(place) / "config.json", config)
        model = load(Path(place), device)
    model.config._name_or_path = str(folder)
    return model


@contextmanager
def as_saved(model: PreTrainedModel, family: Family, folder: Path) -> Iterator[None]:
    """Within the block, the model has the config of `folder` again: it is evaluated as what will be saved.

    The evaluator's cache then knows the saved model from this evaluation."""
    import transformers

    saved = getattr(transformers, family.config).from_pretrained(folder, local_files_only=True).to_dict()
    changed = list(_differences(model.config, saved))
    for config, key, _, before in changed:
        setattr(config, key, before)
    try:
        yield
    finally:
        for config, key, value, _ in changed:
            setattr(config, key, value)


def _differences(config: Any, saved: Mapping[str, Any]) -> Iterator[tuple[Any, str, Any, Any]]:
    """Where a config is not as saved, in its parts too: (config, key, value, saved value)."""
    for key, before in saved.items():
        value = getattr(config, key, before)
        if hasattr(value, "to_dict") and isinstance(before, Mapping):
            yield from _differences(value, before)
        elif value != before and "version" not in key and key != "dtype":
            yield config, key, value, before
