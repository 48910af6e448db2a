#!/usr/bin/env python3
"""Google Batch, by the command `gcloud`. Snakemake calls it by its links submit, status and cancel.

Snakemake runs on a machine of Compute Engine that mounts the same Filestore share (NFS) at the same path as jobs, under an
account with the role Batch Job Editor. Project and credentials are gcloud's own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

from consomme.scheduler import FAILED, RUNNING, SUCCESS, Job, answer, aside, asked, in_container, main, status_of

IMAGE = (
    "europe-west4-docker.pkg.dev/PROJECT/consomme/consomme:cuda"  # of containers/Containerfile, where Batch pulls from
)
LOCATION = "europe-west4"
SHARE = {"server": "10.0.0.2", "remotePath": "/share"}  # the address of the Filestore instance, and its share
MOUNT = "/volume"  # where it is on all machines: clone or working folder, results and data_root lie there
ACCELERATOR = "nvidia-l4"  # its number must suit MACHINE
MACHINE = "g2-standard-8"  # of jobs with a GPU; Batch chooses one for the others


def request(job: Job) -> dict[str, object]:
    """A job's request, as the JSON of Batch's API."""
    task = {
        # without volumes of its own a container sees those of the task, at the same paths
        "runnables": [{"container": {"imageUri": IMAGE, "commands": in_container(job), "options": "--ipc=host"}}],
        "computeResource": {"cpuMilli": 1000 * job.threads, "memoryMib": job.mem_mb},
        "volumes": [{"nfs": SHARE, "mountPath": MOUNT}],
        "maxRunDuration": f"{60 * job.minutes}s",
        # Snakemake submits again
        "maxRetryCount": 0,
    }
    machine = {"machineType": MACHINE, "accelerators": [{"type": ACCELERATOR, "count": job.gpus}]} if job.gpus else {}
    instances = [{"policy": machine} | ({"installGpuDrivers": True} if job.gpus else {})]
    return {
        "taskGroups": [{"taskCount": 1, "taskSpec": task}],
        "allocationPolicy": {"instances": instances},
        "logsPolicy": {"destination": "CLOUD_LOGGING"},
    }


def submit(job: Job) -> str:
    number = f"{job.name}-{uuid.uuid4().hex[:12]}"
    command = ["gcloud", "batch", "jobs", "submit", number, "--location", LOCATION, "--config", "-", "--quiet"]
    answer(*command, "--format", "none", given=json.dumps(request(job)))
    return number


def status(number: str) -> str:
    command = ["gcloud", "batch", "jobs", "describe", number, "--location", LOCATION, "--format", "value(status.state)"]
    done, said = asked(*command)
    if done:
        return FAILED if "NOT_FOUND" in said else RUNNING
    return status_of(
        said, {"SUCCEEDED": SUCCESS, "FAILED": FAILED, "CANCELLED": FAILED, "DELETION_IN_PROGRESS": FAILED}
    )


def cancel(numbers: Sequence[str]) -> None:
    for number in numbers:
        aside("gcloud", "batch", "jobs", "delete", number, "--location", LOCATION, "--quiet")


if __name__ == "__main__":
    main(submit, status, cancel)
