"""The commands that Snakemake's executor `cluster-generic` wants of a profile: submit, status and cancel.

They lie beside profile.yaml, as links to one file, scheduler.py, which calls `main` with three functions of its own."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from consomme.common.errors import ConsommeError, exit_on_error

RUNNING, SUCCESS, FAILED = "running", "success", "failed"  # what a status may be; a waiting job is running
UNFINISHED = Path(".snakemake/unfinished")  # a file for each job that waits or runs, as far as was asked
PROPERTIES = "# properties = "  # a line of every job's script, with JSON
# The first process of a container gets the signals, and its exit status is the container's. It passes SIGTERM on to all: trainings
# save, and all others, which ignore it, wait for them. Where it isn't the first process, it would hit strangers.
FIRST = """#!/bin/sh
trap '[ $$ != 1 ] || kill -TERM -1' TERM
(trap '' TERM; exec sh {script}) & job=$!
wait $job; status=$?
while [ $status -gt 128 ] && kill -0 $job 2>/dev/null; do wait $job; status=$?; done
exit $status
"""


@dataclass(frozen=True)
class Job:
    """A job's script and what it asks for."""

    script: Path
    name: str  # of its rule or group: letters, digits, hyphens
    threads: int
    mem_mb: int
    minutes: int
    gpus: int


def read(script: Path) -> Job:
    """The job of a script that Snakemake wrote. ConsommeError for one that needs several nodes."""
    lines = script.read_text(encoding="utf-8").splitlines()
    found = json.loads(next(line for line in lines if line.startswith(PROPERTIES)).removeprefix(PROPERTIES))
    resources = found["resources"]
    if (nodes := int(resources.get("nodes", 1))) > 1:
        raise ConsommeError(
            f"a training has nodes: {nodes}, which only Slurm can give it; leave it out, or use --profile slurm"
        )
    name = str(found.get("rule") or found["groupid"]).replace("_", "-")
    wanted = (found["threads"], resources["mem_mb"], resources["runtime"], resources.get("gpu", 0))
    return Job(script.absolute(), name, *map(int, wanted))


def bounded(job: Job) -> Job:
    """The same job, which uses as many cores as it asks for, though its node has more: a group's jobs then take turns."""
    text = job.script.read_text(encoding="utf-8")
    job.script.write_text(text.replace(" --cores all ", f" --cores {job.threads} "), encoding="utf-8")
    return job


def in_container(job: Job) -> list[str]:
    """The command of a container that runs a job's script. It is another script, beside it, on the file system that all share."""
    return ["sh", str(written(job, "first", FIRST.format(script=shlex.quote(str(job.script)))))]


def written(job: Job, suffix: str, text: str) -> Path:
    """A file of a job, beside its script, which goes with it when Snakemake ends."""
    path = job.script.with_name(f"{job.script.name}.{suffix}")
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def answer(*command: str, given: str | None = None) -> str:
    """What a command says, without spaces around it; its errors appear on the screen. ConsommeError if it fails."""
    try:
        done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        raise ConsommeError(f"{command[0]} is not on the path, and this profile submits its jobs by it") from None
    if done.returncode:
        raise ConsommeError(f"{command[0]} has refused (exit status {done.returncode}); what it said stands above")
    return done.stdout.strip()


def asked(*command: str) -> tuple[int, str]:
    """(exit status, what a command says and its errors)."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout.strip()


def status_of(said: str, words: Mapping[str, str]) -> str:
    """The status that a scheduler's word stands for. What is not among `words` is running: asking again is harmless, and an
    error would end the whole run."""
    return words.get(said, RUNNING)


def aside(*command: str) -> None:
    """Start a command and don't wait for it: Snakemake gives a cancellation two seconds."""
    null = subprocess.DEVNULL
    subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)


def noted(number: str, status: str) -> str:
    """The status. A job is among the unfinished ones until it has ended."""
    file = UNFINISHED / quote(number, safe="")
    if status == RUNNING:
        UNFINISHED.mkdir(parents=True, exist_ok=True)
        file.touch()
    else:
        file.unlink(missing_ok=True)
    return status


def cancel_left(command: str | None, begun: float) -> None:
    """Call a profile's cancel for the jobs that are unfinished since `begun` (seconds since 1970), in Snakemake's own process,
    after its end by Ctrl-C or errors. It cancels all jobs but those that it asks about at that moment, with many jobs most of
    them."""
    left = [file.name for file in UNFINISHED.glob("*") if file.stat().st_mtime >= begun]
    if command and left:
        subprocess.run([command, *map(unquote, left)], check=False)


def main(
    submit: Callable[[Job], str],
    status: Callable[[str], str],
    cancel: Callable[[Sequence[str]], None],
) -> None:
    """Do what this process is called: `submit SCRIPT` prints the job's number, `status NUMBER` prints one of RUNNING, SUCCESS,
    FAILED, `cancel NUMBER...` ends jobs."""
    called, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    with exit_on_error():
        if called == "submit":
            number = submit(bounded(read(Path(arguments[0]))))
            noted(number, RUNNING)
            print(number)
        elif called == "status":
            print(noted(arguments[0], status(arguments[0])))
        elif called == "cancel":
            cancel(arguments)
        else:
            raise ConsommeError(f"{called}: call it by one of its links, submit, status or cancel")
