"""Keys of a model's config that hold while it is trained: dropout, and transformers' own layer drop and masking off."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_json
from consomme.families.base import set_value, value_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def overrides(family: Family, config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The config's keys for the training settings; keys of a nested config are dotted.

    config: content of config.json. `dropout` is a number for every dropout of the family, or {key of the config: number}.
    transformers' layer drop and feature masks are turned off: training has its own."""
    found: dict[str, Any] = {s.layerdrop: 0.0 for s in family.stacks.values() if s.layerdrop}
    given = settings["dropout"]
    if isinstance(given, Mapping):
        for key in given:
            if value_of(config, key) is None:
                known = sorted(k for k in config if "dropout" in k)
                raise ConsommeError(f"dropout.{key}: {family.name} has none of that name; it has: {', '.join(known)}")
        found |= given
    elif given is not None:
        if not family.dropouts:
            raise ConsommeError(f"dropout: {given}: {family.name} names no dropout in its config")
        found |= dict.fromkeys(family.dropouts, given)
    if config.get("apply_spec_augment", family.masks_input):
        found["apply_spec_augment"] = False
    return found


def load_with(family: Family, folder: Path, changed: Mapping[str, Any], device: str) -> PreTrainedModel:
    """Load the model of `folder` with the config's keys `changed`. The folder's files are not changed.

    Most architectures read these keys when they are built, so the config must be changed before."""
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
def as_saved(model: PreTrainedModel, family: Family, folder: Path, own: Mapping[str, Any]) -> Generator[None]:
    """Within the block, the model has the config that will be saved: that of `folder`, with the keys `own`.

    Evaluations are then those of the saved model, and the evaluator's cache finds them again for it."""
    import transformers

    saved = getattr(transformers, family.config).from_pretrained(folder, local_files_only=True).to_dict() | dict(own)
    changed = list(_differences(model.config, saved))
    for config, key, _, before in changed:
        setattr(config, key, before)
    try:
        yield
    finally:
        for config, key, value, _ in changed:
            setattr(config, key, value)


def _differences(config: Any, saved: Mapping[str, Any]) -> Iterator[tuple[Any, str, Any, Any]]:
    """The differences of a config from the saved one, nested configs included: (config, key, value, saved value)."""
    for key, before in saved.items():
        value = getattr(config, key, before)
        if hasattr(value, "to_dict") and isinstance(before, Mapping):
            yield from _differences(value, before)
        elif value != before and "version" not in key and key != "dtype":
            yield config, key, value, before
