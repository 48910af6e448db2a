#!/usr/bin/env python3
"""PBS, SGE or LSF: how a job is submitted there, asked about, cancelled. Snakemake calls it by its links submit, status and
cancel.

A job leaves its exit status in a file, so that accounting and the history of jobs, which many clusters keep for minutes or not
at all, are not needed. A job that is neither waiting nor running and left none was lost: killed, or its node went down."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from consomme.scheduler import FAILED, RUNNING, SUCCESS, Job, answer, aside, asked, main, written

LOGS = Path(".snakemake/scheduler_logs")  # what the scheduler itself writes of a job, and the exit statuses
PATIENCE = 60  # seconds until a file of another node must be visible here


@dataclass(frozen=True)
class Scheduler:
    submit: Callable[[Job], list[str]]  # the command, which the script follows
    number: Callable[[str], str]  # of what that prints
    own: str  # the variable in which a job finds its own number
    active: Callable[[str], bool]  # whether a job waits or runs, or the scheduler doesn't answer
    cancel: str  # the command that numbers of jobs follow


def pbs(job: Job) -> list[str]:
    # -V: the environment, PATH among it. The log has the scheduler's name for it, in this folder
    command = ["qsub", "-V", "-N", job.name, "-j", "oe", "-o", f"{LOGS.absolute()}/"]
    # one node; a site without ngpus says `:gpus=` (Torque: nodes=1:ppn=8:gpus=1 instead of the whole)
    chunk = f"select=1:ncpus={job.threads}:mem={job.mem_mb}mb" + (f":ngpus={job.gpus}" if job.gpus else "")
    # at the limit PBS sends SIGTERM, and SIGKILL after the server's kill_delay (10 s)
    command += ["-l", chunk, "-l", f"walltime=0:{job.minutes}:0"]
    # queues: here, or by default on the server
    return command + (["-q", "gpu"] if job.gpus else [])


def pbs_active(number: str) -> bool:
    # C and F: Torque and OpenPBS with a history show jobs that have ended
    said = asked("qstat", "-f", number)[1]
    ended = ("Unknown Job", "has finished", "job_state = C", "job_state = F")
    return not any(words in said for words in ended)


def sge(job: Job) -> list[str]:
    command = ["qsub", "-terse", "-S", "/bin/sh", "-V", "-cwd", "-N", job.name, "-j", "y", "-o", str(LOGS.absolute())]
    # the name of the parallel environment is the site's; memory is asked for each slot
    command += ["-pe", "smp", str(job.threads), "-l", f"h_vmem={-(-job.mem_mb // job.threads)}M"]
    # SIGUSR1 two minutes before the end: trainings save
    command += ["-l", f"s_rt=0:{max(job.minutes - 2, 1)}:0,h_rt=0:{job.minutes}:0"]
    # the name of the resource is the site's, where it counts by job (JOB); one that counts by slot (YES) wants a share
    return command + (["-l", f"gpu={job.gpus}"] if job.gpus else [])


def sge_active(number: str) -> bool:
    return "do not exist" not in asked("qstat", "-j", number)[1]


def lsf(job: Job) -> list[str]:
    command = ["bsub", "-J", job.name, "-o", f"{LOGS.absolute()}/%J.log", "-n", str(job.threads)]
    # one node; the limit's unit is the site's (LSF_UNIT_FOR_LIMITS)
    command += ["-R", f"span[hosts=1] rusage[mem={job.mem_mb}MB]", "-M", f"{job.mem_mb}MB", "-W", str(job.minutes)]
    # SIGTERM two minutes before the limit: trainings save
    command += ["-wt", "2", "-wa", "TERM"]
    return command + (["-q", "gpu", "-gpu", f"num={job.gpus}"] if job.gpus else [])


def lsf_active(number: str) -> bool:
    said = asked("bjobs", "-noheader", "-o", "stat", number)[1]
    return said not in ("DONE", "EXIT") and "is not found" not in said


PBS = Scheduler(pbs, str, "PBS_JOBID", pbs_active, "qdel")
SGE = Scheduler(sge, str, "JOB_ID", sge_active, "qdel")
LSF = Scheduler(lsf, lambda said: said.partition("<")[2].partition(">")[0], "LSB_JOBID", lsf_active, "bkill")

HERE = PBS  # or SGE, or LSF


def submit(job: Job) -> str:
    LOGS.mkdir(parents=True, exist_ok=True)
    # the path again, which a login shell sets anew; the shells outlive the signals at which trainings save; the mark appears whole
    text = f"""#!/bin/sh
export PATH={shlex.quote(os.environ["PATH"])}
trap '' TERM USR1 USR2
sh {shlex.quote(str(job.script))}
status=$?
mark={shlex.quote(str(LOGS.absolute()))}/"${HERE.own}".status
echo $status >"$mark.part" && mv "$mark.part" "$mark"
exit $status
"""
    return HERE.number(answer(*HERE.submit(job), str(written(job, "marked", text))))


def status(number: str) -> str:
    mark, gone = LOGS / f"{number}.status", LOGS / f"{number}.gone"
    if mark.exists():
        return SUCCESS if mark.read_text().strip() == "0" else FAILED
    if HERE.active(number):
        return RUNNING
    if not gone.exists():
        gone.touch()
    return FAILED if time.time() - gone.stat().st_mtime > PATIENCE else RUNNING


def cancel(numbers: Sequence[str]) -> None:
    aside(HERE.cancel, *numbers)


if __name__ == "__main__":
    main(submit, status, cancel)
