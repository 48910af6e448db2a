"""The table of costs. Models of one architecture (same config, same shapes of weights) share the measurements of the first of
them. Each runs in its own process, so that memory peaks are separate. All are measured in turn, several times, so that a
temporary slowdown of the machine affects all of them.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_text
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.model_files import SOURCE
from consomme.costs.measure import PASSES, measure, together
from consomme.families import device_named
from consomme.families.ensemble import FILE
from consomme.formats import exported_as, weights_of
from consomme.results.columns import COSTS

WEIGHTS = "model.safetensors"
# config keys about its origin and the precision of its files, which don't change what is computed: all load as float32
VOLATILE = ("_name_or_path", "transformers_version", "_commit_hash", "dtype", "torch_dtype")


def run(job: Job) -> None:
    """Write costs.tsv: a row per model and replicate.

    Keys of the spec: models [{name, replicate, folder}], sets (corpora of one development set), corpora {name: folder},
    languages, decoding."""
    device = device_named(job.device)
    shapes_of = {m["folder"]: architecture(Path(m["folder"])) for m in job.spec["models"]}
    measured = _measured(job, shapes_of, device)
    rows = []
    for model in job.spec["models"]:
        folder = Path(model["folder"])
        row = {"model": model["name"], "replicate": str(model["replicate"]), "device": device_name(device)}
        row |= measured[shapes_of[model["folder"]]]
        row["bytes"] = sum(part.stat().st_size for part in weights(folder))
        rows.append(row)
    lines = ["\t".join(COSTS.names)]
    lines += ["\t".join(_cell(row.get(c)) for c in COSTS.names) for row in sorted(rows, key=_order)]
    write_text(job.out, "\n".join(lines) + "\n")
    say(f"wrote {job.out}: {len(rows)} models, {len(measured)} measured")


def _measured(job: Job, shapes_of: Mapping[str, str], device: str) -> dict[str, dict[str, Any]]:
    """Architecture -> the measurements of its first model, over PASSES passes."""
    first: dict[str, Mapping[str, Any]] = {}
    for model in job.spec["models"]:
        first.setdefault(shapes_of[model["folder"]], model)
    passes: dict[str, list[dict[str, Any]]] = {key: [] for key in first}
    for turn in range(1, PASSES + 1):
        for key, model in first.items():
            say(f"measuring {model['name']}, {turn} of {PASSES}")
            passes[key].append(_apart(Path(model["folder"]), job.spec, device, job.threads, turn == 1))
    return {key: together(found) for key, found in passes.items()}


def _order(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["model"], row["replicate"]


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def shapes(path: Path) -> dict[str, list[int]]:
    """Name -> shape of the tensors of a safetensors file, from its header alone."""
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def architecture(folder: Path) -> str:
    """A digest of what determines the amount of computation: the config, and the shapes of the weights or, of an export,
    its engine and its settings."""
    engine = exported_as(folder)
    place = folder / SOURCE if engine else folder
    config = {k: v for k, v in read_json(place / "config.json").items() if k not in VOLATILE}
    if engine:
        return digest([config, engine.name, read_json(folder / "provenance.json")["settings"]])
    return digest([config, *(shapes(part) for part in weights(folder))])


def weights(folder: Path) -> list[Path]:
    """The files that hold a model's weights: its own, those of an ensemble's members, or an engine's own."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / FILE).is_file():
        return [folder / member / WEIGHTS for member in read_json(folder / FILE)["members"]]
    return weights_of(folder)


def device_name(device: str) -> str:
    """The name of the processor or accelerator."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _apart(folder: Path, spec: Mapping[str, Any], device: str, threads: int, count_flops: bool) -> dict[str, Any]:
    # a forked child has the imports already; CUDA can't be used after a fork and needs a new process
    fork = device == "cpu" and sys.platform.startswith("linux")
    if fork:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    context: Any = multiprocessing.get_context("fork" if fork else "spawn")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_measure_into, args=(send, str(folder), dict(spec), device, threads, count_flops))
    child.start()
    send.close()
    try:
        kind, answer = receive.recv()
    except EOFError:
        raise ConsommeError(
            f"{folder} could not be measured: the process was killed, perhaps for lack of memory"
        ) from None
    finally:
        child.join()
    if kind == "error":
        raise ConsommeError(f"{folder} could not be measured: {answer}")
    return answer


def _measure_into(send: Any, folder: str, spec: dict[str, Any], device: str, threads: int, count_flops: bool) -> None:
    try:
        send.send(("measured", measure(Path(folder), spec, device, threads, count_flops)))
    except Exception as error:  # the only way to pass it to the parent
        send.send(("error", f"{type(error).__name__}: {error}"))
