"""The record of a format, and what runs the models that are written in it. This module imports nothing heavy: the plan reads
the records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.model_files import SOURCE
from consomme.common.settings import Section
from consomme.families.windows import Window

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel

    from consomme.families.base import Family, Hypothesis

    Sources = Sequence[np.ndarray | str]


@dataclass(frozen=True)
class Asked:
    """How some sources are decoded.

    languages: of all of them; none: a recogniser of several hears which. decoding: as in `Family.decode`, and `window`;
    `Format.lacks` says which settings an engine doesn't have. earlier: for each source the tokens before its start token
    (`Family.earlier`), or none for all."""

    languages: Sequence[str]
    decoding: Mapping[str, Any]
    earlier: Sequence[Sequence[int]] = ()


class Running(ABC):
    """An export that its engine has loaded. long: whether it takes audio longer than the model's window. batch: sources at a
    time, by measurement."""

    long, batch = False, 8

    def __init__(self, folder: Path, languages: Sequence[str]) -> None:
        from consomme.families import family_of

        self.folder, self.languages = folder, list(languages)
        self.family: Family = family_of(folder / SOURCE)
        self.processor: Any = self.family.processor(folder / SOURCE, languages)

    @abstractmethod
    def decode(self, sources: Sources, asked: Asked) -> list[Hypothesis]:
        """Hypotheses for some waveforms at the processor's rate, or sentences."""

    def features(self, sources: Sources, languages: Sequence[str]) -> list[np.ndarray]:
        """What the model's encoder reads of each source."""
        return [self.family.features(self.processor, source, languages) for source in sources]

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model in its shape, without weights: its config and what depends on it alone."""
        return stand_in(self.folder / SOURCE, self.family)

    def window(self, decoding: Mapping[str, Any]) -> Window:
        """The window of the model's inputs."""
        return Window.of(self.family, self.model.config, decoding)

    def most_tokens(self, decoding: Mapping[str, Any]) -> int:
        """The most new tokens of a hypothesis, where there is a decoder."""
        family: Any = self.family
        limit = family.most_tokens(self.model, self.processor)
        return min(int(decoding.get("max_new_tokens") or limit), limit)


def stand_in(folder: Path, family: Family) -> PreTrainedModel:
    """A model of the shape of the checkpoint in `folder`, with no memory for its weights."""
    import torch
    import transformers

    from consomme.families.settings import own_generation_config

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    kind: Any = getattr(transformers, family.architecture)
    with torch.device("meta"):
        model = kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
    own_generation_config(model, folder)
    return model


@dataclass(frozen=True)
class Format:
    """An export format."""

    name: str  # the word in configurations
    # (model, folder, settings, work): fills the empty folder from a checkpoint; settings: of the node; work: folder for
    # temporary files. ConsommeError for a model that can't be written so
    write: Callable[[Path, Path, Mapping[str, Any], Path], None]
    # (folder, languages, threads, device): the export, loaded by its engine; None: it is a checkpoint
    load: Callable[[Path, Sequence[str], int, str], Running] | None = None
    extra: str = ""  # the package that the engine is in, and the extra of ours that brings it
    decodes: frozenset[str] = frozenset()  # the decoding settings that it has, beside window and max_new_tokens
    settings: type[Section] = Section  # its own keys in a node
    # what all families of can be written: tasks (asr, nmt) and objectives (ctc, ...); others name the format in `exports`
    tasks: Sequence[str] = ()
    objectives: Sequence[str] = ()
    # whether these settings keep floating-point weights: nearly equal outputs are then expected
    exact: Callable[[Mapping[str, Any]], bool] = lambda settings: True
    # (settings, family): why models of a family that fits can't be written with these settings, beginning with the key; or None
    refuses: Callable[[Mapping[str, Any], Family], str | None] = lambda settings, family: None
    library: str = ""  # the hub's name of the engine
    loading: str = ""  # a sentence for the model card: how to load it

    def fits(self, family: Family) -> bool:
        """Whether a model of the family can be written."""
        return self.name in family.exports or family.task in self.tasks or family.objective in self.objectives

    def lacks(self, decoding: Mapping[str, Any]) -> list[str]:
        """The given decoding settings that its engine doesn't have."""
        neutral = {"num_beams": 1, "length_penalty": 1.0}
        own = self.decodes | {"window", "max_new_tokens", "precision", "engine"}  # it has its own precision
        return [k for k, v in decoding.items() if v is not None and k not in own and v != neutral.get(k)]
