#!/usr/bin/env python3
"""A stand-in for PBS on this machine, by the name of the link that it is called by: qsub starts a job's script in the background,
qstat says whether it runs, qdel ends it. Beside the links lie `asked`, a line of JSON for each call, and a file with the process's
number for each job. Where there is a file `hold`, a job does nothing for ten minutes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(sys.argv[0]).parent


def alive(number: str) -> bool:
    process = (HERE / number).read_text()
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def qsub(*arguments: str) -> None:
    number = f"{len(list(HERE.glob('*.pbs'))) + 1}.pbs"
    script = ["sleep", "600"] if (HERE / "hold").exists() else ["sh", arguments[-1]]
    with (HERE / f"{number}.log").open("w") as log:
        job = subprocess.Popen(
            script,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"PBS_JOBID": number},
        )
    (HERE / number).write_text(str(job.pid))
    print(number)


def qstat(*arguments: str) -> None:
    if not alive(arguments[-1]):
        sys.exit(f"qstat: Unknown Job Id {arguments[-1]}")
    print("    job_state = R")


def qdel(*numbers: str) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for number in filter(alive, numbers):
            os.killpg(int((HERE / number).read_text()), sign)
        time.sleep(0.5)


if __name__ == "__main__":
    called = Path(sys.argv[0]).name
    with (HERE / "asked").open("a") as asked:
        asked.write(json.dumps([called, *sys.argv[1:]]) + "\n")
    {"qsub": qsub, "qstat": qstat, "qdel": qdel}[called](*sys.argv[1:])
