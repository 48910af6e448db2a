"""Augmentation on the fly: of the waveform or sentence before its features are computed, and of the features.

The augmentation of an utterance depends on (seed, turn, corpus, id) alone: not on workers, order or batch.
A new augmentation is a module with a `Kind` and a line in `TABLE`, or an entry point of another package in the group
`consomme.augmentations`. Importing this imports nothing heavy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.table import Table
from consomme.train.augment import (
    concatenate,
    gain,
    noise,
    pitch,
    recordings,
    reverb,
    spec_augment,
    speed,
    subwords,
    words,
)
from consomme.train.augment.base import Change, Context, Kind

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TABLE", "Augmenter", "Change", "Context", "Kind", "folders", "generator_of"]

_KINDS = (
    *(concatenate.CONCATENATE, speed.SPEED, pitch.PITCH, gain.GAIN, reverb.REVERB, noise.NOISE),
    *(words.WORD_DROPOUT, subwords.SUBWORDS, spec_augment.SPEC_AUGMENT),
)
# applied in this order, those of other packages last
TABLE: Table[Kind] = Table("augmentation", "consomme.augmentations", *_KINDS)


class Augmenter:
    """The augmentations of the settings. augment: name in `TABLE` -> its settings or None.

    others: draws the rows to join to an example; seconds: longest joined example; source, features: changes, in their
    order; encode: side -> text to token ids."""

    def __init__(self, augment: Mapping[str, Any], context: Context, seed: int) -> None:
        wanted = [(kind, kind.build(augment[name], context)) for name, kind in TABLE.items() if augment.get(name)]
        self.source: list[Change] = [built for kind, built in wanted if kind.changes == "source"]
        self.features: list[Change] = [built for kind, built in wanted if kind.changes == "features"]
        self.others: concatenate.Others | None = next((b for kind, b in wanted if kind.changes == "rows"), None)
        self.encode: Mapping[str, subwords.Encode] = next((b for kind, b in wanted if kind.changes == "tokens"), {})
        self.seconds: float | None = (augment.get("concatenate") or {}).get("seconds")
        self.longest, self.seed = context.longest, seed

    def generator(self, turn: int, corpus: str, identity: str) -> np.random.Generator:
        """The random generator of one utterance in one turn."""
        return generator_of(self.seed, turn, corpus, identity)


def generator_of(seed: int, turn: int, corpus: str, identity: str, *purpose: str) -> np.random.Generator:
    """A random generator of one utterance in one turn, of its own for each purpose."""
    import numpy as np

    text = "\0".join([str(seed), str(turn), corpus, identity, *purpose])
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()))


def folders(augment: Mapping[str, Any], root: Path) -> dict[str, list[Path]]:
    """The recordings that the settings draw from, by the augmentation's name; relative folders start at `root`."""
    named = {name: settings.get("folder") for name, settings in augment.items() if isinstance(settings, Mapping)}
    return {name: recordings.files(root / folder, name) for name, folder in named.items() if folder}
