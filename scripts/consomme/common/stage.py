"""A job as a stage sees it: what a rule and a hand both type.

    python -m consomme.STAGE --spec JSON_OR_FILE --inputs PATH... --out PATH

`spec["inputs"]` names the paths of `--inputs` in their order, so that a stage asks for `job.inputs["parent/base"]`
and never builds a path of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from consomme.common.digest import canonical, digest
from consomme.common.errors import ConsommeError
from consomme.common.files import MARKERS, link_tree, whole_folder
from consomme.common.fork_server import hand_over

START = time.monotonic()
_who = ""


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
    _introduce(spec.get("label", {}))
    inputs = dict(zip(labels, folders, strict=True))
    return Job(spec, inputs, out, state, given.cache, given.threads, given.device)


def finish(job: Job, key: Any, build: Callable[[Path, Path], None]) -> bool:
    """Make `job.out` once for this `key`, whatever becomes of the outputs in between.

    `build(folder, work)` fills the empty `folder`; `work` is a folder that survives a kill and is the same at the next
    try (for checkpoints). The finished folder is kept under `job.state/KEY/finished`, and `job.out` links to its files:
    a job that is started again on the same inputs finds it and computes nothing. A second process with the same key
    waits for the first. Returns whether anything was built."""
    place = job.state / digest(key)
    place.mkdir(parents=True, exist_ok=True)
    finished = place / "finished"
    with FileLock(place / "lock"):
        built = not finished.exists()
        if built:
            (place / "key.json").write_text(canonical(key) + "\n", encoding="utf-8")
            work = place / "work"
            work.mkdir(exist_ok=True)
            with whole_folder(finished) as folder:
                build(folder, work)
    link_tree(finished, job.out)
    say(f"{'made' if built else 'found, nothing to compute:'} {job.out}")
    return built


def say(line: str) -> None:
    """One line for the log: the seconds since the process began, whose line it is, the line."""
    print(f"[{time.monotonic() - START:6.1f}s] {_who}{line}", file=sys.stderr, flush=True)


def _introduce(label: dict[str, str]) -> None:
    """Jobs share a terminal, so each line says whose it is."""
    global _who
    names = [label.get(key) for key in ("experiment", "corpus", "node", "run")]
    replicate = f" #{label['replicate']}" if label.get("replicate") else ""
    _who = "/".join(filter(None, names)) + replicate + ": " if any(names) else ""


def main(run: Callable[[Job], None], description: str, argv: list[str] | None = None) -> None:
    """The `main` of every stage: parse, run, and show a user's error without a traceback (exit code 2)."""
    # before transformers is imported: forked tokenizers stay silent, and so does its advice
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    if argv is None and (status := hand_over(sys.argv[1:])) is not None:
        raise SystemExit(status)
    try:
        run(parse(argv, description))
    except ConsommeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
