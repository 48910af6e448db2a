#!/usr/bin/env python3
"""Azure Batch, by the command `az`. Snakemake calls it by its links submit, status and cancel.

Snakemake runs on a virtual machine that mounts the same NFS share of Azure Files at the same path as jobs, after
`az batch account login`. Two pools and a job in each are yours, made once; what is a job here is a task there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

from consomme.scheduler import (
    FAILED,
    RUNNING,
    SUCCESS,
    Job,
    answer,
    aside,
    asked,
    in_container,
    main,
    status_of,
    written,
)

IMAGE = "REGISTRY.azurecr.io/consomme:cuda"  # of containers/Containerfile; the pools' containerConfiguration fetches it
# The ids of the pools' jobs. Batch knows no processors, memory or GPUs of tasks, only slots: nodes without GPUs have
# taskSlotsPerNode as many as cores, nodes with GPUs have one slot, so that a job has all of a node's
POOL, GPU_POOL = "consomme", "consomme-gpu"
MOUNT = "/volume"  # where clone or working folder, results and data_root lie
SHARE = "/mnt/batch/tasks/fsmounts/volume"  # where nodes mount it: the pools' mountConfiguration has relativeMountPath: volume


def task(job: Job) -> dict[str, object]:
    """A task, as the JSON of Batch's API."""
    options = f"--rm --ipc=host --volume {SHARE}:{MOUNT}"
    return {
        "id": f"{job.name}-{uuid.uuid4().hex[:12]}",
        "commandLine": " ".join(in_container(job)),
        "containerSettings": {
            "imageName": IMAGE,
            "containerRunOptions": options + (" --gpus all" if job.gpus else ""),
        },
        "requiredSlots": 1 if job.gpus else job.threads,
        # Snakemake submits again
        "constraints": {"maxWallClockTime": f"PT{job.minutes}M", "maxTaskRetryCount": 0},
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}},
    }


def submit(job: Job) -> str:
    pool, wanted = GPU_POOL if job.gpus else POOL, task(job)
    file = written(job, "json", json.dumps(wanted))
    answer("az", "batch", "task", "create", "--job-id", pool, "--json-file", str(file), "--output", "none")
    return f"{pool}/{wanted['id']}"


def place(number: str) -> list[str]:
    pool, name = number.split("/")
    return ["--job-id", pool, "--task-id", name]


def status(number: str) -> str:
    command = ["az", "batch", "task", "show", *place(number), "--query", "[state, executionInfo.result]"]
    done, said = asked(*command, "--output", "tsv")
    if done:
        return FAILED if "TaskNotFound" in said else RUNNING
    return status_of(" ".join(said.split()), {"completed success": SUCCESS, "completed failure": FAILED})


def cancel(numbers: Sequence[str]) -> None:
    for number in numbers:
        aside("az", "batch", "task", "stop", *place(number))


if __name__ == "__main__":
    main(submit, status, cancel)
