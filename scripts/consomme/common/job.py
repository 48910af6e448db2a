"""A job as a stage sees it: what a rule and a hand both type.

    python -m consomme.STAGE --spec JSON_OR_FILE --inputs PATH... --out PATH

`spec["inputs"]` names the paths of `--inputs` in their order, so that a stage asks for `job.inputs["parent/base"]`
and never builds a path of its own.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.files import MARKERS
from consomme.common.log import introduce


@dataclass(frozen=True)
class Job:
    """One run of a stage.

    spec: the normalised settings; inputs: label -> folder (a marker file given on the command line, such as a
    model's provenance.json, stands for the folder it lies in); out: what to make; state: where unfinished work is
    kept; cache: where what can be computed again is kept; threads, device: speed only, never part of an identity."""

    spec: dict[str, Any]
    inputs: dict[str, Path]
    out: Path
    state: Path
    cache: Path
    threads: int
    device: str

    def labelled(self, kind: str) -> dict[str, Path]:
        """The inputs whose label is `kind/NAME`, as NAME -> folder, in the order of the spec."""
        return {k.split("/", 1)[1]: v for k, v in self.inputs.items() if k.startswith(f"{kind}/")}


def parse(argv: list[str] | None, description: str) -> Job:
    """Read a job from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--spec", required=True, help="the settings: JSON, or a file that holds it")
    parser.add_argument("--inputs", nargs="*", default=[], help="paths, in the order of the spec's 'inputs'")
    parser.add_argument("--out", required=True, type=Path, help="the file or folder to make")
    parser.add_argument("--state", type=Path, help="folder for unfinished work (default: .state beside OUT)")
    parser.add_argument("--cache", type=Path, default=Path("results/cache"), help="folder for caches")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    given = parser.parse_args(argv)
    text = given.spec if given.spec.lstrip().startswith("{") else Path(given.spec).read_text(encoding="utf-8")
    spec = json.loads(text)
    labels = spec.get("inputs", [])
    if len(labels) != len(given.inputs):
        raise ConsommeError(f"--inputs: the spec names {len(labels)} inputs {labels}, {len(given.inputs)} were given")
    folders = [p.parent if p.suffix == ".json" else p for p in map(Path, given.inputs)]
    out = given.out.parent if given.out.name in MARKERS else given.out
    state = given.state or out.parent / ".state" / out.name
    introduce(spec.get("label", {}))
    inputs = dict(zip(labels, folders, strict=True))
    return Job(spec, inputs, out, state, given.cache, given.threads, given.device)
