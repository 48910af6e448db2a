"""The table of costs. Models of one architecture (same config, same shapes of weights) share the measurements of the first of
them. Each runs in its own process, so that memory peaks are separate. All are measured in turn, round after round, so that
a temporary slowdown of the machine affects all of them, until the speed of each is known to 5 % or its time is up.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from consomme.common import content
from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_text
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.model_files import SOURCE
from consomme.costs.measure import enough, measure, together
from consomme.families import device_named
from consomme.families.ensemble import FILE
from consomme.families.windows import FULL, KEY
from consomme.formats import exported_as, weights_of
from consomme.results.columns import COSTS

WEIGHTS = "model.safetensors"
LIMIT = 30.0  # seconds: a model whose rounds have taken that, with their starts, gets no more
Key = tuple[str, str]  # a model's architecture, the window that it is measured in
# config keys about its origin and the precision of its files, which don't change what is computed: all load as float32
VOLATILE = ("_name_or_path", "transformers_version", "_commit_hash", "dtype", "torch_dtype")


def run(job: Job) -> None:
    """Write costs.tsv: a row per model, replicate and window. Models trained on short windows have two, their own and the
    full one, in which other software decodes them, unless the decoding settings name one.

    Keys of the spec: models [{name, replicate, folder}], sets (corpora of one development set), corpora {name: folder},
    languages, decoding."""
    device = device_named(job.device)
    content.require_whole((Path(model["folder"]) for model in job.spec["models"]), job.cache)
    asked = [
        (model, (architecture(Path(model["folder"])), window))
        for model in job.spec["models"]
        for window in windows(Path(model["folder"]), job.spec.get("decoding") or {})
    ]
    measured = _measured(job, asked, device)
    rows = []
    for model, key in asked:
        row = {"model": model["name"], "replicate": str(model["replicate"]), "device": device_name(device)}
        row |= measured[key]
        row["bytes"] = sum(part.stat().st_size for part in weights(Path(model["folder"])))
        rows.append(row)
    lines = ["\t".join(COSTS.names)]
    lines += ["\t".join(_cell(row.get(c)) for c in COSTS.names) for row in sorted(rows, key=_order)]
    write_text(job.out, "\n".join(lines) + "\n")
    content.record(job.out.parent, [job.out.name])
    say(f"wrote {job.out}: {len(rows)} rows, {len(measured)} measured")


def windows(folder: Path, decoding: Mapping[str, Any]) -> list[str]:
    """The windows that a model is measured in: the one that the decoding settings name, else its own and the full one."""
    own = decoding.get("window") or config_of(folder).get(KEY) or FULL
    return [own] if decoding.get("window") else list(dict.fromkeys([own, FULL]))


def _measured(job: Job, asked: Sequence[tuple[Mapping[str, Any], Key]], device: str) -> dict[Key, dict[str, Any]]:
    """The measurements of the first model of each architecture in each window: rounds until they are `enough` or have taken
    `LIMIT`."""
    first: dict[Key, Mapping[str, Any]] = {}
    for model, key in asked:
        first.setdefault(key, model)
    rounds: dict[Key, list[dict[str, Any]]] = {key: [] for key in first}
    spent = dict.fromkeys(first, 0.0)
    going, number = list(first), 0
    while going:
        number += 1
        say(f"round {number}: {', '.join(first[key]['name'] for key in going)}")
        for key in going:
            spec = {**job.spec, "decoding": {**(job.spec.get("decoding") or {}), "window": key[1]}}
            began = time.monotonic()
            rounds[key].append(_apart(Path(first[key]["folder"]), spec, device, job.threads, number == 1))
            spent[key] += time.monotonic() - began
        going = [key for key in going if not enough([one["speed"] for one in rounds[key]]) and spent[key] < LIMIT]
    return {key: together(found) for key, found in rounds.items()}


def _order(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["model"], row["replicate"], row["window"]


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def shapes(path: Path) -> dict[str, list[int]]:
    """Name -> shape of the tensors of a safetensors file, from its header alone."""
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def config_of(folder: Path) -> dict[str, Any]:
    """The config of a model, or of what an export was made of."""
    return read_json((folder / SOURCE if exported_as(folder) else folder) / "config.json")


def architecture(folder: Path) -> str:
    """A digest of what determines the amount of computation in a window: the config, and the shapes of the weights or, of
    an export, its engine and its settings."""
    config = {k: v for k, v in config_of(folder).items() if k not in (*VOLATILE, KEY)}
    if engine := exported_as(folder):
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
