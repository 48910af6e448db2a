"""Runs Snakemake with the Snakefile of this clone and results in the current folder."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from consomme.common import extras
from consomme.common.errors import ConsommeError

PROFILES = ("profile.yaml", "config.yaml")
MAPS = ("--set-resources", "--set-threads", "--default-resources")
EXTRAS = {
    "slurm": "slurm",
    "cluster-generic": "generic",
    "s3": "s3",
    "azure": "azure",
}  # that bring Snakemake's plugins
OWN = ("local", "dryrun", "touch")  # executors that Snakemake has itself
STORAGE = "default-storage-provider"
MOMENT = 0.2  # seconds between two looks at who has ended
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

    Ctrl-C reaches Snakemake and its jobs from the terminal. At SIGTERM and SIGHUP they are ended as by Ctrl-C. This process
    waits until they have ended: trainings save, and Snakemake takes its lock away."""
    folder = profile_folder(profile)
    need_plugins(folder, more)
    command = [sys.executable, "-m", "snakemake", *laid_over(folder, more), "--snakefile", str(file_of("Snakefile"))]
    command += ["--profile", str(folder), *(["--cores", cores] if cores else [])]
    command += ["--configfile", *map(str, config), *(["--", *targets] if targets else [])]
    # `python` in jobs is this interpreter, also if its environment isn't active
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    asked: list[int] = []  # signals that ask for an end
    handlers: dict[int, Any] = {signal.SIGTERM: lambda number, _: asked.append(number)}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
        handlers[signal.SIGHUP] = handlers[signal.SIGTERM]
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    with subprocess.Popen(
        command, env={**os.environ, "PATH": path}, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as process:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
        # at SIGTERM Snakemake would wait for jobs on other machines; it is for a Snakemake that ignores SIGINT, as in the
        # background of a script
        number = signal.SIGTERM if before[signal.SIGINT] == signal.SIG_IGN else signal.SIGINT
        told: set[int] = set()
        while (status := _ended(process)) is None:
            if asked:
                _end(process.pid, number, told)
    for number, handler in before.items():
        signal.signal(number, handler)
    if status and any(Path(".snakemake/locks").glob("*")):
        again = ["consomme", "run", *map(str, config), "--profile", profile, "--", "--unlock"]
        print(
            "This folder is locked: a Snakemake works in it, or one that was killed has left its lock. If none runs here, on "
            f"any machine, take the lock away and start again: {shlex.join(again)}",
            file=sys.stderr,
        )
    return status if status >= 0 else 128 - status


def settings_of(profile: Path) -> dict[str, Any]:
    """What a folder with a profile says; empty where it has none."""
    file = next((f for name in PROFILES if (f := profile / name).is_file()), None)
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file else {}


def need_plugins(profile: Path, more: Sequence[str] = ()) -> None:
    """ConsommeError if the executor or the storage that a profile or Snakemake's arguments name is not installed. Snakemake
    only says that it is no choice."""
    settings = settings_of(profile)
    _need_plugin("executor", settings.get("executor", "local"), profile)
    if f"--{STORAGE}" in more[:-1]:
        _need_plugin("storage", more[more.index(f"--{STORAGE}") + 1], f"--{STORAGE}")
    elif name := settings.get(STORAGE):
        _need_plugin("storage", name, profile)


def _need_plugin(kind: str, name: str, where: object) -> None:
    package = f"snakemake-{kind}-plugin-{name}"
    if name in OWN or extras.installed(package.replace("-", "_")):
        return
    how = extras.command(EXTRAS[name]) if name in EXTRAS else f"pip install {package}"
    raise ConsommeError(f"{where}: {kind}: {name}: the package {package} is not installed: {how}")


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """Its status; None if it still runs after a moment."""
    try:
        return process.wait(MOMENT)
    except subprocess.TimeoutExpired:
        return None


def _end(snakemake: int, number: int, told: set[int]) -> None:
    """Tell Snakemake, by this signal, and its jobs, by SIGTERM, to end: those that weren't `told` already."""
    with suppress(psutil.NoSuchProcess):
        jobs = psutil.Process(snakemake).children(recursive=True)
        if snakemake not in told:
            os.kill(snakemake, number)
        for job in jobs:
            # the process that forks jobs, in a group of its own, ends with them
            with suppress(ProcessLookupError):
                if job.pid not in told and os.getpgid(job.pid) == os.getpgid(0):
                    os.kill(job.pid, signal.SIGTERM)
        told |= {snakemake, *(job.pid for job in jobs)}


def laid_over(profile: Path, more: Sequence[str]) -> list[str]:
    """Arguments of Snakemake in which maps, such as --set-resources, begin with the profile's entries. Snakemake takes a map
    of the command line instead of the profile's: a training with more memory would lose its GPU."""
    given = settings_of(profile)
    found: list[str] = []
    for argument in more:
        option, equals, value = argument.partition("=")
        entries = given.get(option.removeprefix("--")) if option in MAPS else None
        if entries is None:
            found.append(argument)
        else:
            found += [option, *_entries(entries), *([value] if equals else [])]
    return found


def _entries(found: Mapping[str, Any], before: str = "") -> list[str]:
    """A profile's map as Snakemake's command line has it: KEY=VALUE, RULE:KEY=VALUE."""
    entries: list[str] = []
    for key, value in found.items():
        if isinstance(value, Mapping):
            entries += _entries(value, f"{key}:")
        else:
            entries.append(f"{before}{key}={value}")
    return entries
