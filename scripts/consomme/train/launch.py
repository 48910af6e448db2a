"""Start the processes of a training on several GPUs, wait for them, and end as they do.

This process holds the lock of the training's state and hands the ranks signals. torchrun would end the ranks 30 s after a signal,
before a large checkpoint is written, and with a status and a trace of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from consomme.common import gpus
from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.preload import OWNER
from consomme.train.interruption import GO_ON, SIGNALS

# in the folder of the unfinished work
TASK, ADDRESS, AGAIN = "ranks.json", "address.json", "again.json"
LESS_AT_ONCE = "out of memory: resuming from the newest checkpoint with each microbatch cut into {} parts"
GRACE = 30.0  # seconds that ranks have to end after one has died
KEPT = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CLUSTER_NAME", "SLURM_CONF")  # a step of its own has the others anew


def processes(job: Job) -> int:
    """How many processes train the job's model."""
    execution = job.spec.get("execution", {})
    return execution.get("gpus", 1) * execution.get("nodes", 1)


def launch(job: Job, folder: Path, work: Path) -> None:
    """Train with a process for each GPU; they fill `folder`. ConsommeError where there are not so many GPUs. SystemExit with
    the status of the ranks if they don't succeed."""
    execution = job.spec["execution"]
    each, nodes = execution.get("gpus", 1), execution.get("nodes", 1)
    on_processor = job.device == "cpu" or (job.device == "auto" and os.environ.get("CONSOMME_DEVICE") == "cpu")
    if nodes > 1 and "SLURM_JOB_ID" not in os.environ:
        raise ConsommeError(
            f"nodes: {nodes}: several nodes are for Slurm, and this is no job of it; use --profile slurm, or leave nodes out"
        )
    if not on_processor:
        need(each)
        gpus.lease(each)
    # Slurm gives each task its threads; on one machine the processes share them
    task, threads = work / TASK, job.threads if nodes > 1 else max(1, job.threads // each)
    places = {"folder": str(folder.absolute()), "work": str(work.absolute())}
    command = [sys.executable, "-m", "consomme.train.rank", str(task.absolute())]
    environment = {name: value for name, value in os.environ.items() if name != OWNER}
    say(f"{each * nodes} processes" + (f" on {nodes} nodes" if nodes > 1 else ""))
    cards = [] if on_processor else gpus.visible()
    splits, again = 1, work / AGAIN
    while True:
        for path in (work / ADDRESS, again):
            path.unlink(missing_ok=True)
        write_json(task, {**as_json(job), **places, "threads": threads, "ranks": each * nodes, "splits": splits})
        if nodes > 1:
            started = [start([*srun(each, nodes, threads), *command], without_step(environment))]
        else:
            environment["OMP_NUM_THREADS"] = str(threads)
            started = [
                start([*command, str(rank)], environment | ({gpus.VISIBLE: cards[rank]} if cards else {}))
                for rank in range(each)
            ]
        status = wait(started, again)
        if status == GO_ON or not again.exists():
            break
        splits = read_json(again)["splits"]
        say(LESS_AT_ONCE.format(splits))
    if status:
        raise SystemExit(status)
    for path in (task, work / ADDRESS, again):
        path.unlink(missing_ok=True)


def need(each: int) -> None:
    """ConsommeError if this machine, or what is given of it, has fewer GPUs."""
    found = gpus.visible()
    if len(found) >= each:
        return
    given = f" ({gpus.VISIBLE}={os.environ[gpus.VISIBLE]})" if gpus.VISIBLE in os.environ else ""
    raise ConsommeError(
        f"gpus: {each}: {socket.gethostname()} has {len(found) or 'none'}{given}; lower it: batches, steps and rates stay what they are. With "
        "CONSOMME_DEVICE=cpu so many processes share the processor"
    )


def srun(each: int, nodes: int, threads: int) -> list[str]:
    """Slurm's command that starts a process for each GPU of each node."""
    return [
        *("srun", "--overlap", f"--nodes={nodes}", f"--ntasks={each * nodes}", f"--ntasks-per-node={each}"),
        *(f"--cpus-per-task={threads}", "--kill-on-bad-exit=1"),
    ]


def without_step(environment: dict[str, str]) -> dict[str, str]:
    """The environment without the options that the step around this process was started with."""
    return {k: v for k, v in environment.items() if k in KEPT or not k.startswith(("SLURM_", "SRUN_"))}


def as_json(job: Job) -> dict[str, Any]:
    """What `rank` makes the job of."""
    paths = {name: str(path.absolute()) for name, path in job.inputs.items()}
    return {
        "spec": job.spec,
        "inputs": paths,
        "out": str(job.out),
        "state": str(job.state),
        "cache": str(job.cache),
        "device": job.device,
    }


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process that ends when its standard input does: with this one, however this one ends."""
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)


def ask_again(work: Path, splits: int) -> NoReturn:
    """Let the launcher end all ranks and start them again with this many parts of each microbatch: a rank that fails within a
    pass which all make together can't tell the others, who wait for it."""
    write_json(work / AGAIN, {"splits": splits})
    while True:
        time.sleep(60)


def wait(started: list[subprocess.Popen[bytes]], again: Path) -> int:
    """Wait until all have ended, and hand them the signals that announce an end. The status: 0, or GO_ON where they saved, or
    that of the first which failed. again: a file at whose appearance all are ended."""
    came: list[int] = []

    def pass_on(number: int, frame: Any) -> None:
        came.append(number)
        for process in started:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        until = None
        while any(process.poll() is None for process in started):
            if until is None and any(process.poll() not in (None, 0, GO_ON) for process in started):
                until = time.monotonic() + GRACE  # the others notice it, and end
            if again.exists() or (until and time.monotonic() > until):
                for process in started:
                    process.kill()
            time.sleep(0.05)
    finally:
        for process in started:
            process.kill()
            process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    found = [process.returncode for process in started]
    asked = (0, GO_ON, *(-number for number in came))
    if came and any(found) and (again.exists() or all(status in asked for status in found)):
        return GO_ON  # some before they could say so
    failed = [status for status in found if status not in (0, GO_ON)]
    return next((status if status > 0 else 1 for status in failed), max(found))
