#!/usr/bin/env python3
"""Kubernetes, by kubectl: a Job of one pod for each job. Snakemake calls it by its links submit, status and cancel.

Snakemake runs in a pod of the same image, which mounts the same volume, under a service account that may create, get and
delete Jobs in its namespace."""

from __future__ import annotations

import json
from collections.abc import Sequence

from consomme.scheduler import FAILED, RUNNING, SUCCESS, Job, answer, aside, asked, in_container, main, status_of

IMAGE = "registry.example.org/consomme:cuda"  # of containers/Containerfile, where the cluster pulls from
CLAIM = "consomme"  # a PersistentVolumeClaim of access mode ReadWriteMany, on a file system with locks, such as NFS or CephFS
MOUNT = "/volume"  # where it is in all pods: clone or working folder, results and data_root lie there
GPU = "nvidia.com/gpu"  # the resource of the device plugin; amd.com/gpu
GRACE = 120  # seconds from SIGTERM, at the limit, an eviction or a drained node, to SIGKILL: trainings save


def pod(job: Job) -> dict[str, object]:
    """A pod's specification."""
    # no limit of processors, which would stop threads for parts of each 100 ms
    wanted = {"cpu": str(job.threads), "memory": f"{job.mem_mb}Mi"}
    most = {"memory": f"{job.mem_mb}Mi"} | ({GPU: str(job.gpus)} if job.gpus else {})
    container = {
        "name": "job",
        "image": IMAGE,
        "command": in_container(job),
        "resources": {"requests": wanted, "limits": most},
        # shared memory: what training's processes hand to one another is more than the usual 64 MB
        "volumeMounts": [{"name": "work", "mountPath": MOUNT}, {"name": "memory", "mountPath": "/dev/shm"}],
    }
    volumes = [
        {"name": "work", "persistentVolumeClaim": {"claimName": CLAIM}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    return {
        "restartPolicy": "Never",
        # of the pod, so that waiting for a node doesn't count
        "activeDeadlineSeconds": 60 * job.minutes,
        "terminationGracePeriodSeconds": GRACE,
        "containers": [container],
        "volumes": volumes,
        # nodes with GPUs are often kept for those who ask for one
        "tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}] if job.gpus else [],
    }


def submit(job: Job) -> str:
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"consomme-{job.name}-", "labels": {"app": "consomme"}},
        "spec": {
            # Snakemake submits again
            "backoffLimit": 0,
            # a day for a look at what has ended
            "ttlSecondsAfterFinished": 86400,
            "template": {"metadata": {"labels": {"app": "consomme"}}, "spec": pod(job)},
        },
    }
    made = answer("kubectl", "create", "--filename", "-", "--output", "name", given=json.dumps(manifest))
    return made.rpartition("/")[2]


def status(number: str) -> str:
    done, said = asked("kubectl", "get", "job", number, "--output", "jsonpath={.status.succeeded}/{.status.failed}")
    if done:
        # somebody has deleted it; anything else, such as a network that is away, may pass
        return FAILED if "NotFound" in said else RUNNING
    return status_of(said, {"1/": SUCCESS, "/1": FAILED})


def cancel(numbers: Sequence[str]) -> None:
    aside("kubectl", "delete", "--wait=false", "job", *numbers)


if __name__ == "__main__":
    main(submit, status, cancel)
