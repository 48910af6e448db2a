"""The average stage: by a rule with a spec, or by hand with the models' folders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from consomme.average.methods import TABLE, method_named
from consomme.average.methods.base import Mix
from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import whole_folder
from consomme.common.provenance import weights_hash, write_provenance
from consomme.common.stage import Job, finish, say


def run(job: Job) -> None:
    """Make one model of the job's parents by the method of its settings."""
    method, parents = method_named(job.spec["settings"]["method"]), job.labelled("parent")
    method.check_parents(len(parents))
    if method.chooses(job.spec["settings"]):
        import torch

        torch.set_num_threads(job.threads)
    finish(job, key(job), lambda folder, work: build(job, folder))


def key(job: Job) -> dict[str, Any]:
    """What the result depends on, besides the code: the settings and the contents of the inputs."""
    from consomme.common.files import read_json

    return {
        "digest": job.spec["digest"],
        "parents": [[name, weights_hash(path)] for name, path in job.labelled("parent").items()],
        "references": [[name, weights_hash(path)] for name, path in job.labelled("reference").items()],
        "dev": {n: read_json(p / "prepared.json")["fingerprint"] for n, p in job.labelled("corpus").items()},
    }


def build(job: Job, folder: Path) -> None:
    """Fill the empty `folder` with the model and its provenance."""
    settings, parents = job.spec["settings"], job.labelled("parent")

    def judge() -> Any:
        from consomme.average.judge import Judge

        return Judge(job, parents)

    chosen = method_named(settings["method"]).build(Mix(parents, settings, judge), folder)
    write_provenance(job, folder, chosen=chosen)


def by_hand(argv: Sequence[str] | None = None) -> None:
    """`--method METHOD --out DIR MODEL...`: average model folders, with no configuration and no data."""
    free = [name for name, method in TABLE.items() if not method.chooses({"alpha": 0.5})]
    parser = argparse.ArgumentParser(
        prog="python -m consomme.average",
        description=f"Average models of one ancestor. By hand: {', '.join(free)}; the first model gives all files beside "
        "the weights. Methods that choose on development sets need --spec, which a job's log shows.",
    )
    parser.add_argument("--method", required=True, help=", ".join(TABLE))
    parser.add_argument("--out", required=True, type=Path, help="the folder to make")
    parser.add_argument("--alpha", type=float, help="interpolate: 0 is the first model, 1 the second")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="model folders (safetensors)")
    given = parser.parse_args(argv)
    method = method_named(given.method)
    if given.alpha is not None and "alpha" not in method.settings:
        raise ConsommeError(f"--alpha: the method '{method.name}' takes none; it belongs to interpolate")
    settings = {"method": method.name, "alpha": given.alpha, "points": None, "choose_on": None}
    if method.chooses(settings):
        why = "without --alpha " if "alpha" in method.settings else ""
        raise ConsommeError(
            f"--method {method.name} {why}chooses on development sets, which only a job has: give --spec, --inputs and --out "
            f"as a job's log shows them. By hand: {', '.join(free)} (interpolate with --alpha)"
        )
    method.check_parents(len(given.models))
    names = [str(path) for path in given.models]
    if len(set(names)) < len(names):
        raise ConsommeError(f"a model is given twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    if given.out.exists() and (not given.out.is_dir() or any(given.out.iterdir())):
        raise ConsommeError(f"--out {given.out}: there is something already; remove it or name another folder")
    spec = {
        "stage": "average",
        "task": _task(given.models[0]),
        "settings": settings,
        "inputs": [f"parent/{name}" for name in names],
    }
    inputs = dict(zip(spec["inputs"], given.models, strict=True))
    spec["digest"] = digest(spec)  # of what was typed; the contents of the models are in the provenance
    job = Job(spec, inputs, given.out, given.out, given.out, 1, "cpu")
    with whole_folder(given.out) as folder:
        build(job, folder)
    say(f"made {given.out}")


def _task(folder: Path) -> str | None:
    """asr or nmt where the family is known; the mean of any other safetensors checkpoint is a mean all the same."""
    from consomme.families import family_of

    try:
        return family_of(folder).task
    except ConsommeError:
        return None


def entry(argv: Sequence[str] | None = None) -> None:
    """The command: with --spec a job, else by hand."""
    from consomme.common.stage import main

    argv = list(sys.argv[1:] if argv is None else argv)
    if any(a == "--spec" or a.startswith("--spec=") for a in argv):
        main(run, "Average models.", argv)
        return
    try:
        by_hand(argv)
    except ConsommeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
