"""Starting points: checkpoints, tokenizers, architectures from scratch, and their checks."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.model_files import config as config_of
from consomme.common.settings import Section
from consomme.families import TABLE as FAMILIES
from consomme.families import family_for, family_published
from consomme.families.base import value_of
from consomme.plan.items import Model, Prepared
from consomme.plan.problems import among, fail, section
from consomme.plan.schema import FromNode

if TYPE_CHECKING:
    from consomme.plan.view import Graph


def checkpoint_folders(patterns: list[str], root: Path, path: str) -> dict[str, Path]:
    """Short label -> folder below `root` that matches a pattern; relative if the pattern is."""
    found: list[Path] = []
    for pattern in patterns:
        matches = sorted(Path(p) for p in glob.glob(pattern, root_dir=root) if (root / p).is_dir())
        if not matches:
            fail(path, f"no folder matches '{pattern}' in {root}")
        found += [m for m in matches if m not in found]
    labels = [m.name for m in found]
    if len(set(labels)) < len(labels):
        labels = ["_".join(m.parts[-2:]) for m in found]
    if len(set(labels)) < len(labels):
        labels = [f"{label}_{i}" for i, label in enumerate(labels, 1)]
    return dict(zip(labels, found, strict=True))


def read_checkpoint(folder: Path | str) -> dict[str, Any]:
    """Family and shape of a checkpoint folder, as far as its config.json can be read."""
    if not (Path(folder) / "config.json").is_file():
        return {}
    config = config_of(Path(folder))
    family = family_for(Path(folder), config)
    depth = {side: value_of(config, stack.count) for side, stack in family.stacks.items()}
    width = {stack.width: value_of(config, stack.width) for stack in family.stacks.values() if stack.width}
    known = {"depth": depth, "width": width}
    if not config.get("pruned_heads"):
        known["heads"] = {side: value_of(config, stack.heads) for side, stack in family.stacks.items()}
    codes = family.known_languages(Path(folder))
    told = {"codes": frozenset(codes)} if codes else {}
    return {
        "family": family.name,
        **told,
        **{k: {n: v for n, v in by.items() if v is not None} for k, by in known.items()},
    }


def _by_language(settings: Mapping[str, Any], root: Path) -> bool:
    """Whether the weights of a fetched checkpoint depend on the experiment's languages: by its files, or by its name."""
    if "hub" in settings:
        name = settings["hub"]["name"]
        found = family_published(name)
        return bool(found) and any(word in name.lower() for word in found.adapted)
    folder = root / settings["folder"]
    return (folder / "config.json").is_file() and family_for(folder, config_of(folder)).by_language(folder)


def check_head(folder: Path, tokenizer: Mapping[str, Any], path: str) -> None:
    """ConfigurationError if a CTC family's checkpoint has no head and gets none; no check without its config.json."""
    if tokenizer or not (folder / "config.json").is_file():
        return
    config = config_of(folder)
    family = family_for(folder, config)
    (name, *_) = config.get("architectures") or [family.architecture]
    if family.objective == "ctc" and family.tokenizer and not name.endswith("ForCTC"):
        fail(
            path,
            f"{folder} holds a {name}, which has no CTC head; tokenizer: {{type: {family.tokenizer_kind}}} beside it "
            "makes a tokenizer of the training texts, and a head for it",
        )


def new_tokenizer(given: Mapping[str, Any], family: str | None, task: str, path: str) -> dict[str, Any]:
    """The settings of a checkpoint's new tokenizer, with all defaults. They depend on its type only: the family is
    unknown until the checkpoint can be read."""
    makers = [f for f in FAMILIES.values() if f.objective == "ctc" and f.tokenizer]
    if family is not None and FAMILIES[family] not in makers:
        names = ", ".join(f.name for f in makers)
        fail(path, f"'{family}' keeps its own tokenizer; a new one, with a new CTC head, is for: {names}")
    if task != "asr":
        fail(path, f"makes a CTC head for a checkpoint that has none, and the experiment's task is {task}")
    kinds = {f.tokenizer_kind: f.tokenizer for f in makers if f.tokenizer}
    allowed = list(kinds) if family is None else [FAMILIES[family].tokenizer_kind]
    if "type" not in given:
        fail(f"{path}.type", f"this key is needed beside a checkpoint: {', '.join(allowed)}")
    among(f"{path}.type", given["type"], allowed, "tokenizer")
    return section(kinds[given["type"]], given, path).model_dump(by_alias=True)


def scratch(
    given: Mapping[str, Any], tokenizer: Mapping[str, Any], task: str, path: str
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """(architecture, tokenizer, family) of a model from scratch, with all defaults."""
    names = [name for name, family in FAMILIES.items() if family.scratch]
    if "family" not in given:
        fail(f"{path}.scratch.family", f"this key is needed: {', '.join(names)}")
    name = given["family"]
    among(f"{path}.scratch.family", name, names, "family")
    family = FAMILIES[name]
    if family.task != task:
        fail(f"{path}.scratch.family", f"'{name}' is for {family.task}, and the experiment's task is {task}")
    own = {key: value for key, value in given.items() if key != "family"}
    made, pieces = (
        section(model or Section, values, f"{path}.{key}").model_dump(by_alias=True)
        for key, model, values in (("scratch", family.scratch, own), ("tokenizer", family.tokenizer, tokenizer))
    )
    return {"family": name, **made}, pieces, name


def key_in_scratch(key: str) -> str:
    """The name in `scratch` of a config's key, which may be nested in the config."""
    return key.rpartition(".")[2]


def files_in(folder: Path) -> tuple[str, ...]:
    """The files of a folder that a job reads, or the folder itself if it doesn't exist; the plan then reports it."""
    return tuple(str(p) for p in sorted(folder.iterdir()) if p.is_file()) if folder.is_dir() else (str(folder),)


# -- making -----------------------------------------------------------------------------------------------------------
def make(graph: Graph, name: str, node: FromNode, own: dict[str, Any], path: str) -> list[Model]:
    """The starting points that a node names: a new model, or checkpoints."""
    start = node.from_
    if start.scratch is None:
        return _fetched(graph, name, node, own, path)
    if not graph.languages:
        fail(
            f"{graph.path}.languages",
            f"'{name}' is a new model, which is made for the experiment's languages: name them",
        )
    architecture, tokenizer, family = scratch(start.scratch, start.tokenizer, graph.experiment.task, f"{path}.from")
    identity, corpora = _drawn(graph, {"scratch": architecture, "tokenizer": tokenizer}, node, path)
    stacks = FAMILIES[family].stacks
    depth = {side: int(architecture[key_in_scratch(stack.count)]) for side, stack in stacks.items()}
    heads = {side: int(architecture[key_in_scratch(stack.heads)]) for side, stack in stacks.items()}
    width = {stack.width: int(architecture[key_in_scratch(stack.width)]) for stack in stacks.values() if stack.width}
    known: dict[str, Any] = {"family": family, "depth": depth, "heads": heads, "width": width}
    return [graph.model(name, own, "from", identity, corpora=corpora, **known)]


def _fetched(graph: Graph, name: str, node: FromNode, own: dict[str, Any], path: str) -> list[Model]:
    """Checkpoints: each as it is, or with a new head where a tokenizer is given."""
    start = node.from_
    if start.hub is not None:
        places: list[tuple[dict[str, Any], dict[str, Any]]] = [(own, {"hub": start.hub.model_dump()})]
    elif start.folder is not None:
        places = [(own, {"folder": start.folder})]
    else:
        folders = checkpoint_folders(start.folders or [], Path(graph.data_root), f"{path}.from.folders")
        places = [(own | {"folder": label}, {"folder": str(folder)}) for label, folder in folders.items()]
    made = []
    for point, settings in places:
        known: dict[str, Any] = {}
        if "folder" in settings:
            folder = Path(graph.data_root) / settings["folder"]
            known = read_checkpoint(folder) | {"sources": files_in(folder)}
            check_head(folder, start.tokenizer, f"{path}.from")
        if start.tokenizer:
            tokenizer = new_tokenizer(
                start.tokenizer, known.get("family"), graph.experiment.task, f"{path}.from.tokenizer"
            )
            identity, known["corpora"] = _drawn(graph, {**settings, "tokenizer": tokenizer}, node, path)
        else:
            # the same in every replicate, so no seed belongs to it, and languages only where its weights differ by them
            identity = {"task": graph.experiment.task, "settings": settings}
            if _by_language(settings, Path(graph.data_root)):
                identity["languages"] = graph.languages
        made.append(graph.model(name, point, "from", identity, **known))
    return made


def _drawn(
    graph: Graph, settings: dict[str, Any], node: FromNode, path: str
) -> tuple[dict[str, Any], dict[str, Prepared]]:
    """The identity of a model with random weights and a tokenizer made of training texts, and the corpora of the texts."""
    _, corpora = graph.data.training(graph.data.of(node.data), path)
    identity = {
        "task": graph.experiment.task,
        "settings": settings,
        "languages": graph.languages,
        "seed": graph.replicate,
    }
    return identity, corpora
