"""Trainings, and their checks against task, family, parent and teacher."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.families import TABLE as FAMILIES
from consomme.families import Family
from consomme.families.parts import no_side
from consomme.plan import languages
from consomme.plan.choices import NO_CHOICE, choice, no_constraints
from consomme.plan.problems import fail
from consomme.plan.schema import Augment, TrainNode
from consomme.train.augment import TABLE as AUGMENTATIONS
from consomme.train.checks import problems

if TYPE_CHECKING:
    from consomme.plan.items import Model, Prepared
    from consomme.plan.view import Graph


BATCH_SIZE = 16  # utterances or sentences
# settings that make no other model
EXECUTION = ("gradient_checkpointing", "gpus", "nodes", "shard_optimizer", "shard_weights", "save_minutes", "track")
LATER = ("timestamps", "previous_text")  # left out where they are 0 or not given, so that no older digest changes


def check(node: TrainNode, settings: dict[str, Any], parent: Model, task: str, path: str) -> None:
    """ConfigurationError for settings that the task or the family can't use."""
    for key, wanted in (("batch_seconds", "asr"), ("batch_tokens", "nmt"), ("ctc_weight", "asr")):
        if getattr(node, key) is not None and task != wanted:
            fail(f"{path}.{key}", f"belongs to {wanted}, and the experiment's task is {task}")
    family = FAMILIES[parent.family] if parent.family else None
    _augmenting(settings["augment"], family, task, path)
    if family is None:
        return
    for key, what in problems(settings, family, parent.depth):
        fail(f"{path}.{key}", what)
    if node.shard_weights and not family.stacks:
        fail(f"{path}.shard_weights", f"the layers of '{family.name}' are unknown; leave it out")
    if settings.get("timestamps") and _from_scratch(parent):
        fail(
            f"{path}.timestamps",
            f"'{parent.name}' goes back to a model made from scratch, which has no tokens for timestamps; start from a "
            "published Whisper, or leave it out",
        )


def check_distilling(
    node: TrainNode, student: Model, teacher: Model, corpora: Mapping[str, Prepared], path: str
) -> None:
    """ConfigurationError if needed labels are missing, or the student's layers can't be matched to the teacher's."""
    family = FAMILIES[student.family] if student.family else None
    for corpus in corpora.values():
        if corpus.settings.get("missing") and family and family.objective != "ctc":
            fail(
                f"{path}.data.train",
                f"'{corpus.name}' has no transcripts, and the decoder of '{family.name}' is given them: have a model write "
                f"them (a corpus of source relabelled, corpus: {corpus.name})",
            )
    if student.vocabulary and teacher.vocabulary and student.vocabulary != teacher.vocabulary:
        fail(
            f"{path}.distil_from",
            f"the vocabulary of '{student.name}' is {student.vocabulary} and that of '{teacher.name}' {teacher.vocabulary}: trim "
            "it first, in a node of its own, and prune and distil from that model",
        )
    if not (node.distil and node.distil.hidden):
        return
    where = f"{path}.distil.hidden"
    if teacher.ensemble:
        fail(where, f"'{teacher.name}' is an ensemble, which has no layers of its own; leave `hidden` out")
    if family and not family.stacks:
        fail(where, no_side(family, "encoder"))
    if student.depth is None or teacher.depth is None or student.depth == teacher.depth:
        return
    for side, depth in student.depth.items():
        if depth > teacher.depth.get(side, depth):
            fail(
                where,
                f"'{student.name}' has {depth} {side} layers and its teacher '{teacher.name}' {teacher.depth[side]}; a "
                "student must have the same number, or fewer",
            )
    if not _ancestors(student) & _ancestors(teacher):
        fail(
            where,
            f"'{student.name}' ({student.depth}) and '{teacher.name}' ({teacher.depth}) come from different models, so "
            "their layers can't be matched; distil from the model that the student was pruned from",
        )


def recordings(augment: Mapping[str, Any], root: Path) -> tuple[str, ...]:
    """The files in the folders that augmentations draw from; for a folder that doesn't exist, the folder itself."""
    folders = [root / s["folder"] for s in augment.values() if isinstance(s, Mapping) and s.get("folder")]
    return tuple(
        str(path)
        for folder in folders
        for path in ([p for p in sorted(folder.rglob("*")) if p.is_file()] if folder.is_dir() else [folder])
    )


def _from_scratch(model: Model) -> bool:
    """Whether a model, or the first ancestor of it, was made from scratch."""
    while model.parents:
        model = next(iter(model.parents.values()))
    return model.verb == "from" and "scratch" in model.identity["settings"]


def _ancestors(model: Model) -> set[str]:
    """The digests of a model and of all its ancestors."""
    found, waiting = set(), [model]
    while waiting:
        one = waiting.pop()
        if one.digest not in found:
            found.add(one.digest)
            waiting += one.parents.values()
    return found


def _augmenting(augment: Mapping[str, Any], family: Family | None, task: str, path: str) -> None:
    """ConfigurationError unless the augmentations fit the task and the family."""
    for key, value in augment.items():
        if value and task not in AUGMENTATIONS[key].tasks:
            works = "audio" if task == "nmt" else "sentences to translate"
            possible = ", ".join(name for name, kind in AUGMENTATIONS.items() if task in kind.tasks)
            fail(
                f"{path}.augment.{key}",
                f"works on {works}, and the experiment's task is {task}; possible: {possible}",
            )
    for key in ("frequency_masks", "time_warp"):
        if (augment.get("spec_augment") or {}).get(key) and family and family.waveform:
            fail(
                f"{path}.augment.spec_augment.{key}",
                f"'{family.name}' reads waveforms, which have no mel bins and aren't warped; possible: time masks",
            )
    if augment.get("subwords") and family and type(family).subwords is Family.subwords:
        fail(f"{path}.augment.subwords", f"'{family.name}' can't sample its tokenizer's subwords")


# -- making -----------------------------------------------------------------------------------------------------------
def make(graph: Graph, name: str, node: TrainNode, own: dict[str, Any], path: str) -> list[Model]:
    """A training from each parent."""
    data = graph.data.of(node.data)
    # a recogniser distilled from its teacher's outputs alone may need no transcripts, depending on its family
    alone = node.distil is not None and node.distil.weight == 1 and graph.experiment.task == "asr"
    weights, corpora = graph.data.training(data, path, "target" if alone else None)
    elsewhere = {
        "train",
        "data",
        "augment",
        "sweep",
        "distil_from",
        "metric",
        "choose_on",
        "distil",
        "keep",
        *EXECUTION,
    }
    settings = node.model_dump(by_alias=True, exclude=elsewhere)
    execution = {key: value for key in EXECUTION if (value := getattr(node, key))}
    # momentum used to be a key of every optimizer; keep it, so that no digest changes
    settings.setdefault("momentum", None)
    for key in LATER:
        if not settings[key]:
            del settings[key]
    if not (node.batch_seconds or node.batch_tokens) and node.per_device_train_batch_size is None:
        settings["per_device_train_batch_size"] = BATCH_SIZE
    augment = node.augment or graph.experiment.augment
    # augmentations that aren't given are left out, so that a new kind of augmentation changes no existing digest
    settings["augment"] = (augment or Augment()).model_dump(exclude_none=True)
    sources = recordings(settings["augment"], Path(graph.data_root))
    distil = node.distil.model_dump() if node.distil else {"weight": 0.5, "temperature": 2.0}
    settings["distil"] = distil if node.distil_from else None
    made = []
    for parent in graph.resolve(node.train, f"{path}.train"):
        teachers = {}
        if node.distil_from:
            teacher = _partner(graph, node.distil_from, parent, f"{path}.distil_from")
            teachers = {teacher.name: teacher}
            check_distilling(node, parent, teacher, corpora, path)
        check(node, settings, parent, graph.experiment.task, path)
        languages.check(parent, corpora.values(), graph.path)
        chosen = NO_CHOICE
        if node.eval_steps:
            goals = no_constraints(node.choose_on, path)
            chosen = choice(graph, goals, node.metric or graph.metric, data, path)
        identity = {
            "task": graph.experiment.task,
            "languages": graph.languages,
            "seed": graph.replicate,
            "settings": {**settings, "choose_on": chosen.settings},
            "train": weights,
            "share": data.share,
            # 1 draws rows as they lie, as no temperature does
            **({"temperature": data.temperature} if data.temperature not in (None, 1) else {}),
            **chosen.identity,
        }
        made.append(
            graph.model(
                name,
                own,
                "train",
                identity,
                parents={parent.name: parent},
                teachers=teachers,
                references=chosen.references,
                corpora={**corpora, **chosen.corpora},
                sources=sources,
                execution=execution,
                inherit=True,
            )
        )
    return made


def _partner(graph: Graph, reference: str, student: Model, path: str) -> Model:
    """The teacher of a student: the only model of that reference, or its run with the student's run name."""
    found = graph.resolve(reference, path)
    if len(found) > 1:
        found = [m for m in found if m.run and f"{student.run},".startswith(f"{m.run},")] or found
    if len(found) != 1:
        fail(path, f"'{reference}' has {len(found)} runs and none is named like {student.name}; name one of them")
    return found[0]
