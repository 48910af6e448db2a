"""Runs Snakemake with the Snakefile of this clone and results in the current folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from consomme.common.errors import ConsommeError

CLONE = Path(__file__).resolve().parents[2]  # has Snakefile, rules, profiles and config next to scripts/


def file_of(name: str) -> Path:
    """A file or folder of the clone; relative if the current folder is the clone. ConsommeError without a clone."""
    if not (CLONE / "Snakefile").is_file():
        raise ConsommeError(
            f"no Snakefile in {CLONE}: the workflow is not part of a wheel. Install from a clone: pip install -e ."
        )
    path = CLONE / name
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def demo() -> list[Path]:
    """The default configuration: the two small experiments of the demo."""
    return [file_of("config/config.yaml")]


def profile_folder(name: str) -> Path:
    """A profile of the clone, else the folder of that name."""
    ours = file_of("profiles") / name
    return ours if ours.is_dir() else Path(name)


def snakemake(
    config: Sequence[Path],
    profile: str,
    cores: str | None = None,
    more: Sequence[str] = (),
    targets: Sequence[str] = (),
) -> int:
    """Run Snakemake in the current folder and return its exit status.

    profile: a name in the clone's `profiles/`, else one that Snakemake finds; cores: a number or `all`, instead of the
    profile's; more: further arguments of Snakemake; targets: files to make, instead of everything.

    Ctrl-C reaches Snakemake from the terminal, and SIGTERM is passed on. In both cases this process waits until Snakemake
    has ended its jobs."""
    command = [sys.executable, "-m", "snakemake", *more, "--snakefile", str(file_of("Snakefile"))]
    command += ["--profile", str(profile_folder(profile)), *(["--cores", cores] if cores else [])]
    command += ["--configfile", *map(str, config), *(["--", *targets] if targets else [])]
    # `python` in jobs is this interpreter, also if its environment isn't active
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with subprocess.Popen(command, env={**os.environ, "PATH": path}) as process:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        status = process.wait()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return status if status >= 0 else 128 - status
