"""The table of costs."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consomme.common import content
from consomme.common.files import write_text
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.mirror import bring
from consomme.common.tidied import tidied
from consomme.families import device_named
from consomme.results.columns import COSTS
from consomme.speed.architecture import weights, windows
from consomme.speed.rounds import Timed, in_turn


def run(job: Job) -> None:
    """Write costs.tsv: a row per model, replicate and window. Models trained on short windows have two, their own and the
    full one, in which other software decodes them, unless the decoding settings name one.

    Keys of the spec: models [{name, replicate, folder}], sets (corpora of one development set), corpora {name: folder},
    languages, decoding."""
    device = device_named(job.device)
    bring(*(Path(model["folder"]) for model in job.spec["models"]), *map(Path, job.spec["corpora"].values()))
    content.require_whole((Path(model["folder"]) for model in job.spec["models"]), job.cache)
    gone = [(model, known) for model in job.spec["models"] if (known := tidied(Path(model["folder"])))]
    there = [model for model in job.spec["models"] if not tidied(Path(model["folder"]))]
    asked = [
        (model, Timed(model["name"], Path(model["folder"]), window))
        for model in there
        for window in windows(Path(model["folder"]), job.spec.get("decoding") or {})
    ]
    measured = in_turn([timed for _, timed in asked], job.spec, device, job.threads)
    # of models whose weights were removed, what was measured before
    rows = [{**row, **_name(model)} for model, known in gone for row in known["costs"]]
    for (model, timed), found in zip(asked, measured, strict=True):
        row = {**_name(model), "device": device_name(device), **found}
        row["bytes"] = sum(part.stat().st_size for part in weights(timed.folder))
        rows.append(row)
    lines = ["\t".join(COSTS.names)]
    lines += ["\t".join(_cell(row.get(c)) for c in COSTS.names) for row in sorted(rows, key=_order)]
    write_text(job.out, "\n".join(lines) + "\n")
    content.record(job.out.parent, [job.out.name])
    say(f"wrote {job.out}: {len(rows)} rows")


def _name(model: Mapping[str, Any]) -> dict[str, str]:
    return {"model": model["name"], "replicate": str(model["replicate"])}


def _order(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["model"], row["replicate"], row["window"]


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


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
