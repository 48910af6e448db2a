"""The job of a stage, read from the command line that rules and users call.

    python -m consomme.STAGE --spec JSON_OR_FILE --inputs PATH... --out PATH [FILE...]

`spec["inputs"]` names the paths of `--inputs` in their order, so that a stage reads `job.inputs["parent/base"]`
and never builds a path itself.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.files import MARKERS, read_text
from consomme.common.log import introduce
from consomme.common.mirror import here


@dataclass(frozen=True)
class Job:
    """One run of a stage."""

    spec: dict[str, Any]  # the normalised settings
    # label -> folder; a marker file on the command line, such as a model's provenance.json, means its folder
    inputs: dict[str, Path]
    out: Path  # the file or folder to make
    state: Path  # folder for unfinished work
    cache: Path  # folder for results that can be computed again
    # these two affect only speed and are never part of a digest
    threads: int
    device: str
    named: tuple[Path, ...] = ()  # files of what is made that Snakemake names, by its copies of them
    parts: Path | None = None  # folder of what other jobs did ahead of this one

    def labelled(self, kind: str) -> dict[str, Path]:
        """The inputs with a label `kind/NAME`, as NAME -> folder, in the order of the spec."""
        return {k.split("/", 1)[1]: v for k, v in self.inputs.items() if k.startswith(f"{kind}/")}


def parse(argv: Sequence[str] | None, description: str) -> Job:
    """Read a job from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--spec", required=True, help="the settings: JSON, or a file that holds it")
    parser.add_argument("--inputs", nargs="*", default=[], help="paths, in the order of the spec's 'inputs'")
    parser.add_argument(
        "--out", required=True, nargs="+", type=Path,
        help="the file or folder to make, or its marker; and its other files that Snakemake names",
    )  # fmt: skip
    parser.add_argument("--parts", nargs="?", help="a corpus: folder of its parts, if its rows were checked ahead")
    parser.add_argument("--state", type=Path, help="folder for unfinished work (default: .state beside OUT)")
    parser.add_argument("--cache", type=Path, default=Path("results/cache"), help="folder for caches")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    given = parser.parse_args(argv)
    text = given.spec if given.spec.lstrip().startswith("{") else read_text(given.spec)
    spec = json.loads(text)
    labels = spec.get("inputs", [])
    if len(labels) != len(given.inputs):
        raise ConsommeError(f"--inputs: the spec names {len(labels)} inputs {labels}, {len(given.inputs)} were given")
    folders = [p.parent if p.suffix == ".json" else p for p in map(here, map(Path, given.inputs))]
    made = given.out[0]
    out = here(made.parent if made.name in MARKERS else made)
    state = given.state or out.parent / ".state" / out.name
    introduce(spec.get("label", {}))
    inputs = dict(zip(labels, folders, strict=True))
    parts = Path(given.parts) if given.parts else None
    return Job(spec, inputs, out, state, given.cache, given.threads, given.device, tuple(given.out), parts)
