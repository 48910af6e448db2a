"""Checks of a configuration's needs: data, hub, packages, memory, partitions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from consomme.common import extras, gpus, mirror
from consomme.common.errors import ConsommeError
from consomme.common.shown import size
from consomme.doctor.finding import Asked, Finding
from consomme.formats import TABLE as FORMATS
from consomme.plan import memory, rungs
from consomme.plan.estimates import Estimates
from consomme.workflow import need_plugins, settings_of

PATIENCE = 5.0  # seconds to wait for the hub
STATES = 4  # a training holds weights, gradients and two moments in float32
CHECKPOINTS = 2  # that a training has on the disk at the same time, without gradients
LARGE = 100e6 * 4  # bytes of float32 weights above which a processor trains for days


def configuration(asked: Asked) -> Finding:
    """The configuration can be planned, and its data exists on this machine."""
    if asked.problem:
        return Finding(False, asked.problem.splitlines()[0], "correct the file; `consomme plan` shows all problems")
    missing = asked.plan.problems()
    said = f"{len(asked.plan.models)} models, {len(asked.models)} to make"
    if missing:
        return Finding(False, f"{said}; missing: {missing[0]}", f"{len(missing)} in all: consomme plan lists them")
    return Finding(True, f"{said}; its data is here")


def hub(asked: Asked) -> Finding:
    """Checkpoints and data sets of the Hugging Face hub that aren't on this machine can be fetched."""
    models = {_key(m): m for m in asked.models if "hub" in m.identity["settings"]}
    wanted = {(name, revision): "model" for name, revision in models if not _cached(name, revision)}
    for corpus in asked.plan.corpora.values() if asked.plan else ():
        if corpus.settings.get("source") == "hub" and not Path(corpus.marker).exists():
            name = corpus.settings["name"]
            if not (corpus.root / name).is_dir():
                wanted[name, corpus.settings.get("revision")] = "dataset"
    if not wanted:
        return Finding(True, "not needed" + (f": {len(models)} checkpoints are in the cache" if models else ""))
    names = ", ".join(name for name, _ in wanted)
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return Finding(False, f"HF_HUB_OFFLINE is set, and not in the cache: {names}", _by_hand(wanted))
    problems = [problem for (name, revision), kind in wanted.items() if (problem := _unanswered(name, revision, kind))]
    return Finding(not problems, "; ".join(problems) or f"answers for {names}", _by_hand(wanted))


def _key(model: Any) -> tuple[str, str | None]:
    found = model.identity["settings"]["hub"]
    return found["name"], found.get("revision")


def _by_hand(wanted: Any) -> str:
    (name, _), kind = next(iter(wanted.items()))
    flag = "--repo-type dataset " if kind == "dataset" else ""
    return f"where there is a network: hf download {flag}{name}, and copy the cache (HF_HOME) here; or name a folder"


def _cached(name: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return any(
        isinstance(try_to_load_from_cache(name, file, revision=revision), str)
        for file in ("model.safetensors", "model.safetensors.index.json")
    )


def _unanswered(name: str, revision: str | None, kind: str) -> str:
    """Why a repository of the hub can't be fetched; empty if it can."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        HfApi().repo_info(name, revision=revision, repo_type=kind, timeout=PATIENCE)
    except RevisionNotFoundError:
        return f"{name} has no revision {revision}"
    except RepositoryNotFoundError:
        return f"there is no {kind} {name}, or it is private (hf auth login)"
    except HfHubHTTPError as error:
        return f"{name}: {str(error).splitlines()[0]}"
    except Exception as error:  # no DNS, route or certificate: each network library has its own errors
        return f"the hub doesn't answer ({type(error).__name__})"
    return ""


def exports(asked: Asked) -> Finding:
    """The packages of the export formats are installed."""
    formats = {m.identity["settings"]["format"] for m in asked.models if m.verb == "export"}
    engines = {FORMATS[name].extra for name in formats if FORMATS[name].extra}
    if not engines:
        return Finding(True, f"{', '.join(sorted(formats))}: nothing more is needed" if formats else "none")
    absent = [extra for extra in sorted(engines) if not extras.installed(extra)]
    return Finding(not absent, ", ".join(sorted(engines)), "; ".join(map(extras.command, absent)))


def trackers(asked: Asked) -> Finding:
    """The packages of the trackers are installed. Trainings go on without them, so this never fails."""
    wanted = sorted({m.execution["track"] for m in asked.models if "track" in m.execution})
    cautions = asked.plan.cautions() if asked.plan else []
    return Finding(None if cautions else True, "; ".join(cautions) or ", ".join(wanted) or "TensorBoard's files alone")


def training(asked: Asked) -> Finding:
    """The largest training fits the device, as far as sizes are known."""
    trained = [m for m in asked.models if m.stage == "train"]
    if not trained:
        return Finding(True, "none")
    estimates = _estimates(asked)
    found = {m.name: needs for m in trained if (needs := memory.of(m, estimates))}
    if not found:
        return Finding(None, "their memory is known once the checkpoints are here")
    import torch

    name, most = max(found.items(), key=lambda item: item[1].total)
    said = f"{name} needs about {size(most.total)} (weights {size(most.weights)}, gradients {size(most.gradients)}, "
    said += f"optimizer {size(most.optimizer)}, activations of a batch {size(most.activations)})"
    on_gpu = torch.cuda.is_available()
    there = torch.cuda.mem_get_info()[1] if on_gpu else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    said += f"; {'the GPU' if on_gpu else 'this machine'} has {size(there)}"
    if most.total - most.activations > there and not _elsewhere(asked):
        return Finding(
            False,
            said,
            "lora, freeze, optim: adamw_8bit or adafactor need less; or run on a larger machine (--profile slurm)",
        )
    if not on_gpu and most.weights > LARGE and not _elsewhere(asked):
        return Finding(
            False,
            f"{said}, and no GPU",
            "this takes days without a GPU: run where there is one (--profile slurm), or begin with a smaller checkpoint",
        )
    if most.total > there:
        said += (
            ". Batches will be split: gradient_checkpointing: true, or a smaller batch with gradient_accumulation_steps"
        )
    return Finding(True, said)


def several(asked: Asked) -> Finding:
    """This machine has the GPUs of the training that asks for the most, and its nodes."""
    wanted = {m.name: (m.execution.get("gpus", 1), m.execution.get("nodes", 1)) for m in asked.models}
    name, (each, nodes) = max(wanted.items(), key=lambda item: item[1][0] * item[1][1], default=("", (1, 1)))
    if each * nodes == 1:
        return Finding(True, "none trains on several GPUs")
    said = f"{name} trains on {each} GPUs" + (f" of {nodes} nodes each" if nodes > 1 else "")
    remedy = "lower `gpus`, which changes no result"
    if _elsewhere(asked):
        most = _most_gpus()
        if most is None:
            return Finding(None, f"{said}; what a node has is not known here")
        return Finding(
            most >= each,
            f"{said}; the node with the most has {most or 'none'}",
            f"{remedy}; the job would wait for ever",
        )
    if nodes > 1:
        return Finding(False, f"{said}, and there is no Slurm here", "run with --profile slurm, or leave `nodes` out")
    if os.environ.get("CONSOMME_DEVICE") == "cpu":
        return Finding(True, f"{said}: CONSOMME_DEVICE=cpu, so as many processes share the processor")
    there = len(gpus.visible())
    return Finding(
        there >= each,
        f"{said}; here {'are' if there != 1 else 'is'} {there or 'none'}",
        remedy,
    )


def _elsewhere(asked: Asked) -> bool:
    """Whether jobs run on the nodes of a cluster."""
    return shutil.which("sinfo") is not None


def _most_gpus() -> int | None:
    """The GPUs of the node of the cluster that has the most, or None if Slurm doesn't say."""
    listed = subprocess.run(["sinfo", "--noheader", "--format=%G"], capture_output=True, text=True, check=False)
    # such as gpu:2, gpu:a100:4(S:0-1) and several of them; each kind by itself, as a job gets one kind
    found = re.findall(r"\bgpu:(?:[^:,()]+:)?(\d+)", listed.stdout)
    return None if listed.returncode else max(map(int, found), default=0)


def _sizes(asked: Asked) -> dict[str, float | None]:
    """Model's id -> bytes of its weights, for models that are not made yet; None if unknown."""
    estimates = _estimates(asked)
    found = {m.id: estimates.size(m) for m in asked.models}
    return {name: guess.value if guess else None for name, guess in found.items()}


def _estimates(asked: Asked) -> Estimates:
    """Of the configuration's models, with the hub's checkpoints that are in the cache."""
    models = asked.plan.models.values() if asked.plan else ()
    return Estimates(
        models, {m.id: place for m in models if "hub" in m.identity["settings"] and (place := _fetched(m))}
    )


def _fetched(model: Any) -> Path | None:
    """The folder of a hub checkpoint in the local cache, if it is there."""
    from huggingface_hub import try_to_load_from_cache

    name, revision = _key(model)
    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def written(asked: Asked) -> tuple[float, str]:
    """(approximate bytes of all models that are not made yet, the models not counted in words). A training keeps its last
    two checkpoints, with the optimizer's state, until it ends; the largest training is counted so."""
    sizes = _sizes(asked)
    unknown = sum(size is None for size in sizes.values())
    # a run at a rung leaves its state, too; of one that has been stopped there are links alone
    copies = {m.id: rungs.share(m) * (STATES if "until" in m.identity else 1) for m in asked.models}
    largest = max((sizes[m.id] or 0.0 for m in asked.models if m.stage == "train"), default=0.0)
    total = sum((size or 0.0) * copies[name] for name, size in sizes.items()) + largest * (STATES - 1) * CHECKPOINTS
    return total, f"{unknown} models of unknown size" if unknown else ""


def partitions(asked: Asked) -> Finding:
    """The cluster has the partitions that the profile names."""
    if shutil.which("sinfo") is None:
        return Finding(None, "no Slurm here")
    if asked.profile is None or not (asked.profile / "profile.yaml").is_file():
        return Finding(None, f"no profile.yaml in {asked.profile}")
    named = set(_named(yaml.safe_load((asked.profile / "profile.yaml").read_text(encoding="utf-8"))))
    listed = subprocess.run(["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True, check=False)
    if listed.returncode:
        return Finding(False, f"sinfo: {listed.stderr.strip()}", "sinfo must work: see the cluster's documentation")
    there = set(listed.stdout.split())
    absent = sorted(named - there)
    said = f"{', '.join(sorted(named))} of {asked.profile}"
    if absent:
        return Finding(
            False,
            f"{said}: no {', '.join(absent)}",
            f"the cluster has {', '.join(sorted(there))}: name these as slurm_partition in {asked.profile}/profile.yaml",
        )
    return Finding(True, said)


def store(asked: Asked) -> Finding:
    """The store that the profile names for results can be read and written."""
    if asked.profile is None or not (address := settings_of(asked.profile).get("default-storage-prefix")):
        return Finding(None, "results lie on a disk")
    remedy = "see docs/clusters.md, results in a cloud"
    try:
        need_plugins(asked.profile)
        mirror.try_out(address)
    except ConsommeError as error:
        return Finding(False, str(error), remedy)
    return Finding(True, f"{address} can be read and written")


def _named(value: Any) -> Iterator[str]:
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key == "slurm_partition":
            yield str(inner)
        yield from _named(inner)
