#!/usr/bin/env python3
"""AWS Batch, by the command `aws`. Snakemake calls it by its links submit, status and cancel.

Snakemake runs on an EC2 instance with the EFS file system mounted at the same path as in jobs, and a role with
batch:SubmitJob, DescribeJobs and TerminateJob."""

from __future__ import annotations

import json
from collections.abc import Sequence

from consomme.scheduler import FAILED, RUNNING, SUCCESS, Job, answer, aside, asked, in_container, main, status_of

QUEUE, GPU_QUEUE = "consomme", "consomme-gpu"  # of compute environments on EC2; Fargate has no GPUs
# Yours, made once: the image, an EFS volume mounted at the path where clone or working folder, results and data_root lie,
# linuxParameters.sharedMemorySize of some GB, a stopTimeout of 120 (seconds from SIGTERM to SIGKILL), no retryStrategy
DEFINITION = "consomme"


def submit(job: Job) -> str:
    wanted = {"VCPU": job.threads, "MEMORY": job.mem_mb} | ({"GPU": job.gpus} if job.gpus else {})
    overrides = {
        "command": in_container(job),
        "resourceRequirements": [{"type": kind, "value": str(value)} for kind, value in wanted.items()],
    }
    command = ["aws", "batch", "submit-job", "--job-name", f"consomme-{job.name}", "--job-definition", DEFINITION]
    command += ["--job-queue", GPU_QUEUE if job.gpus else QUEUE, "--container-overrides", json.dumps(overrides)]
    command += ["--timeout", f"attemptDurationSeconds={60 * job.minutes}"]
    return answer(*command, "--query", "jobId", "--output", "text")


def status(number: str) -> str:
    command = ["aws", "batch", "describe-jobs", "--jobs", number]
    done, said = asked(*command, "--query", "jobs[0].status", "--output", "text")
    # None: forgotten, which Batch does after a week
    return RUNNING if done else status_of(said, {"SUCCEEDED": SUCCESS, "FAILED": FAILED, "None": FAILED})


def cancel(numbers: Sequence[str]) -> None:
    for number in numbers:
        aside("aws", "batch", "terminate-job", "--job-id", number, "--reason", "cancelled by Snakemake")


if __name__ == "__main__":
    main(submit, status, cancel)
