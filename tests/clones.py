"""The workflow somewhere else, as a user has it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PARTS = ("Snakefile", "rules", "scripts", "config", "envs", "profiles", "cluster")


def clone(folder: Path) -> Path:
    """The workflow as it stands, and nothing else: no results, no environment, links are links."""
    for name in PARTS:
        source = REPOSITORY / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name, follow_symlinks=False)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Variables with which `python -m consomme` is that of the clone in `folder`, on one thread."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SNAKEMAKE_"))}
    return kept | {"PATH": path, "PYTHONPATH": str(folder / "scripts"), "OMP_NUM_THREADS": "1"}
