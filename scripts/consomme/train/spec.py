"""Values from a training's job: its models, corpora and seed, and whether it needs evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.job import Job

if TYPE_CHECKING:
    from consomme.families.base import Family


def parent_of(job: Job) -> Path:
    """The model to train further. ConsommeError unless there is exactly one."""
    parents = job.labelled("parent")
    if len(parents) != 1:
        raise ConsommeError(f"train: one parent is needed, {len(parents)} were given: {list(parents)}")
    return next(iter(parents.values()))


def teacher_of(job: Job) -> Path | None:
    """The model to distil from; None without `distil`."""
    return next(iter(job.labelled("teacher").values()), None) if job.spec["settings"].get("distil") else None


def layers_of_teacher(job: Job) -> dict[str, list[int]] | None:
    """Side -> the teacher's layer for each of the student's (from 1); None unless hidden states are distilled."""
    from consomme.families import family_of
    from consomme.families.ensemble import FILE
    from consomme.train.hidden import teachers_layers

    place = teacher_of(job)
    if place is None or not job.spec["settings"]["distil"].get("hidden"):
        return None
    if (place / FILE).is_file():
        raise ConsommeError(
            f"distil.hidden: {place} is an ensemble, which has no layers of its own; leave `hidden` out"
        )
    family = family_of(parent_of(job))
    if not family.stacks:
        raise ConsommeError(f"distil.hidden: the layers of '{family.name}' are unknown; leave `hidden` out")
    return teachers_layers(family, parent_of(job), place)


def label_free(family: Family, settings: Mapping[str, Any]) -> bool:
    """Whether the training needs no labels: CTC with distil.weight 1. An encoder-decoder's decoder always reads the labels."""
    return family.objective == "ctc" and bool(settings.get("distil")) and settings["distil"]["weight"] == 1


def chooses(settings: Mapping[str, Any]) -> bool:
    """Whether the result, or the checkpoints kept with it, depend on evaluations."""
    chosen = settings["load_best_model_at_end"] or settings["early_stopping_patience"] is not None
    return bool(settings["eval_steps"] and (chosen or (settings.get("checkpoints") or {}).get("best")))


def development_corpora(spec: Mapping[str, Any]) -> list[str]:
    """The corpora of the development sets with a weight in `choose_on`, without training corpora."""
    sets = [name for name, s in spec["settings"]["choose_on"]["sets"].items() if s.get("weight") is not None]
    return list(dict.fromkeys(c for name in sets for c in spec["dev"].get(name, []) if c not in spec["train"]))


def seed_of(spec: Mapping[str, Any]) -> int:
    """One seed from the replicate's seed and the run's: 0 .. 2**31 - 1."""
    return int(digest(["train", spec.get("seed", 0), spec["settings"]["seed"]]), 16) % 2**31


def root(spec: Mapping[str, Any]) -> Path:
    """The folder that relative paths of the settings start from."""
    return Path(spec.get("data_root") or ".")
