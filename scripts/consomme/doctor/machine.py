"""Python, packages, the device and the folder for results."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from consomme.common.errors import ConsommeError
from consomme.common.shown import size
from consomme.doctor.finding import Asked, Finding
from consomme.workflow import CLONE, file_of

OLDEST = (3, 11, 5)
FILES_A_JOB = 60  # outputs, logs, state and Snakemake's own records, with a reserve
LEAST_FREE = 2**30  # bytes; too little for any run


def python(asked: Asked) -> Finding:
    """The interpreter is new enough."""
    said = f"{sys.version.split()[0]}, {sys.executable}"
    wanted = ".".join(map(str, OLDEST))
    return Finding(
        sys.version_info[:3] >= OLDEST, said, f"Python {wanted} or later is needed: make setup PYTHON=python3.12"
    )


def packages(asked: Asked) -> Finding:
    """Installed packages have the versions of requirements.txt. Packages that aren't imported here may be absent."""
    try:
        lock = file_of("requirements.txt")
    except ConsommeError as error:
        return Finding(None, str(error))
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", lock.read_text(encoding="utf-8"), re.MULTILINE))
    project = tomllib.loads((CLONE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = {_plain(re.split(r"[<>=~! ]", line)[0]) for line in project["dependencies"]}
    same, other, absent = 0, [], []
    for name, pinned in pins.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            absent += [name] if _plain(name) in direct else []
            continue
        if found.split("+")[0] == pinned:  # 2.11.0+cpu is a build of 2.11.0
            same += 1
        else:
            other.append(f"{name} {found} (pinned {pinned})")
    said = f"{same} as in requirements.txt"
    said += f"; other: {', '.join(other[:5])}{' ...' if len(other) > 5 else ''}" if other else ""
    said += f"; not installed: {', '.join(absent)}" if absent else ""
    return Finding(not (other or absent), said, f"pip install -r {lock}")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def device(asked: Asked) -> Finding:
    """The device that torch uses, with its memory, and whether it has bfloat16."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library of the driver's
        return Finding(False, f"torch can't be imported: {error}", "make setup, or pip install -r requirements.txt")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    where = f"{cores} cores, {size(memory)} of memory"
    if not torch.cuda.is_available():
        if Path("/dev/nvidiactl").exists():
            return Finding(
                False,
                f"torch {torch.__version__} sees no GPU, and a driver is here; {where}",
                "install the build of torch for this driver (PyTorch's installation page), or update the driver",
            )
        half = _trains_in(asked, "bfloat16", "float16")
        return Finding(
            not half,
            f"torch {torch.__version__}, processor; no GPU; {where}",
            f"{half}, which is slow on a processor; leave it out here",
        )
    free, total = torch.cuda.mem_get_info()
    has = torch.cuda.is_bf16_supported(including_emulation=False)
    half = _trains_in(asked, "bfloat16")
    said = f"torch {torch.__version__}, {torch.cuda.get_device_name()}, {size(free)} of {size(total)} free, "
    said += f"{'with' if has else 'without'} bfloat16; {where}"
    return Finding(has or not half, said, f"{half}; this GPU has float16")


def _trains_in(asked: Asked, *precisions: str) -> str:
    """The first model that trains in one of these precisions, in words, or empty."""
    found = ((m.name, m.identity["settings"].get("precision")) for m in asked.models)
    return next((f"{name} trains with precision: {how}" for name, how in found if how in precisions), "")


# -- where results lie -------------------------------------------------------------------------------------------------
def inodes(asked: Asked) -> Finding:
    """The file system has room for the number of files that the jobs make."""
    found = os.statvfs(asked.place)
    jobs = len(asked.models) * 2
    if not found.f_files:
        return Finding(True, "the file system counts no files")
    return Finding(
        found.f_favail > max(jobs * FILES_A_JOB, 1000),
        f"{found.f_favail:,} files may be made" + (f"; about {jobs * FILES_A_JOB:,} will be" if jobs else ""),
        f"remove files on the file system of {asked.place}, or run elsewhere",
    )


def locks(asked: Asked) -> Finding:
    """File locks work: a lock of this process excludes another process."""
    from filelock import FileLock, Timeout

    remedy = (
        f"file locks protect unfinished work, and {asked.place} has none: run where they work, or have them enabled "
        "(NFS: lockd; Lustre: mount with flock)"
    )
    with tempfile.TemporaryDirectory(dir=asked.place, prefix=".consomme-doctor-") as folder:
        path = f"{folder}/lock"
        code = f"import filelock\ntry:\n  filelock.FileLock({path!r}, timeout=0).acquire()\nexcept filelock.Timeout:\n  raise SystemExit(7)"
        try:
            with FileLock(path, timeout=5):
                other = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
        except (OSError, Timeout, NotImplementedError) as error:
            return Finding(False, f"can't be taken: {error}", remedy)
    return Finding(other == 7, "keep others out" if other == 7 else "don't keep others out", remedy)


def links(asked: Asked) -> Finding:
    """Hard links work; a finished model has the same files in state/ and models/."""
    with tempfile.TemporaryDirectory(dir=asked.place, prefix=".consomme-doctor-") as folder:
        one, two = Path(folder, "one"), Path(folder, "two")
        one.write_text("x", encoding="utf-8")
        try:
            os.link(one, two)
        except OSError as error:
            return Finding(
                False,
                f"can't be made: {error.strerror}",
                "models will be copied, and take twice the disk space; use a file system with hard links to avoid that",
            )
    return Finding(True, "can be made")


def disk(asked: Asked) -> Finding:
    """The disk has room for the models that will be written."""
    from consomme.doctor.needs import written

    free = shutil.disk_usage(asked.place).free
    need, unknown = written(asked)
    said = f"{size(free)} free in {asked.place}"
    if asked.plan:
        said += f"; about {size(need)} will be written" if need or not unknown else ""
        said += f"; {unknown} beside" if unknown else ""
    return Finding(
        free > max(need, LEAST_FREE),
        said,
        "make room, remove old models (consomme clean), or link results/ to a larger disk",
    )
