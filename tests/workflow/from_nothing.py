"""Runs of small configurations from nothing, without Snakemake: a process that loads the library once and forks for each job.

Reads a line of JSON a task from standard input, {"do": ..., "folder": ..., ...}, and answers with one. It is what runs by
Snakemake are compared with: each stage gets the spec, the inputs and the places that its rule gives it, in the order of the
graph."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from consomme.common import stage
from consomme.common.files import read_json, write_json
from consomme.common.provenance import hash_weights, model_content
from consomme.plan.load import read
from consomme.plan.plan import Plan
from consomme.plan.stages import VERSIONS

MODULES = {"data": "consomme.data.prepare"}  # of the other stages: consomme.STAGE.stage
TABLES = ("runs", "scores", "groups", "comparisons")
MADE = "made.json"  # that a folder's models and hypotheses are there


def planned(task: dict[str, Any]) -> Plan:
    """The plan of the folder's configuration, under the versions of the task. Changes to the folder."""
    os.chdir(task["folder"])
    for name, more in task["versions"].items():
        VERSIONS[name] += more
    return Plan(read(["config.yaml"]))


def make(task: dict[str, Any]) -> None:
    """All corpora, models, hypotheses and landscapes."""
    plan, waiting = planned(task), []
    for corpus in plan.corpora.values():
        waiting.append((corpus.stage, corpus, corpus.marker, f"results/prepared/state/{corpus.id}"))
    for model in plan.models.values():
        waiting.append((model.stage, model, model.marker, f"results/{model.experiment}/state/{model.id}"))
    for one in plan.evaluations.values():
        waiting.append(("evaluate", one, one.path, f"results/{one.model.experiment}/state/{one.model.id}"))
    for one in plan.landscapes.values():
        place = Path(one.path)
        waiting.append(("landscape", one, one.path, f"{place.parent.parent}/state/landscape-{place.stem}"))
    while waiting:
        ready = [job for job in waiting if all(Path(path).exists() for path in job[1].inputs.values())]
        assert ready, f"no job can start: {waiting}"
        for name, item, out, state in ready:
            argv = [
                "--spec",
                item.spec,
                "--inputs",
                *item.inputs.values(),
                "--out",
                out,
                "--state",
                state,
                "--threads",
                "1",
            ]
            module = importlib.import_module(MODULES.get(name, f"consomme.{name}.stage"))
            apart(stage.main, module.run, "", argv)
            assert Path(out).exists(), out
        waiting = [job for job in waiting if job not in ready]
    write_json(MADE, True)


def results(task: dict[str, Any]) -> dict[str, Any]:
    """What stands in a folder for its configuration: name -> content, of models, hypotheses and tables.

    With a register, the tables are made first. It is that of another folder: claims that were withdrawn there count, and when
    they were is no property of a configuration."""
    plan, found = planned(task), {}
    for study in plan.studies.values() if task.get("register") else ():
        from consomme.report.write import write_report

        register = Path(study.folder) / "claims.jsonl"
        register.write_bytes((Path(task["register"]) / register).read_bytes())
        write_report({**study.report, "costs": ""}, Path(study.folder), Path("results/cache"))
    for model in plan.models.values():
        folder = Path(model.folder)
        # of the bytes, not what was recorded of them
        found[f"{model.experiment} {model.name} {model.replicate}"] = [
            hash_weights(folder),
            model_content(folder)["files"],
        ]
    for one in plan.evaluations.values():
        for entry in read_json(one.path)["sets"]:
            place = f"{one.model.experiment} {one.model.name} {one.model.replicate} {entry['split']} {entry['set']}"
            said = Path(entry["path"]).read_text(encoding="utf-8")
            found[f"{place} {entry['decoding']}"] = {**entry, "register": None, "said": said}
    for one in plan.landscapes.values():
        found[one.path] = read_json(one.path)
    for study in plan.studies.values():
        for name in TABLES:
            # rows stand in the order of the configuration's nodes, which is only shown
            found[f"{study.name} {name}"] = sorted(
                Path(study.folder, f"{name}.tsv").read_text(encoding="utf-8").splitlines()
            )
    return found


def checkpoint(task: dict[str, Any]) -> None:
    """A small translator, whose weights all show in what it says."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    from consomme.families import family_named

    sizes = {
        f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("attention_heads", 2), ("ffn_dim", 16))
    }
    settings, folder = {**sizes, "encoder_layers": 2, "decoder_layers": 1, "d_model": 16}, Path(task["folder"])
    texts: Callable[[], Iterable[str]] = lambda: iter(task["texts"])  # noqa: E731
    family_named("marian").create(folder, settings, {"vocab_size": 60}, texts, ["en", "fr"], 1)
    draw, weights = np.random.default_rng(1), load_file(folder / "model.safetensors")
    for name in sorted(weights):
        if weights[name].ndim > 1 and "embed_positions" not in name:
            weights[name] = weights[name] + 0.2 * draw.standard_normal(weights[name].shape).astype(np.float32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def plans(task: dict[str, Any]) -> str:
    """Why the configuration can't be run; empty if it can."""
    from consomme.common.errors import ConsommeError

    try:
        planned(task).need_sources()
    except ConsommeError as error:
        return str(error)
    return ""


TASKS = {one.__name__: one for one in (make, results, checkpoint, plans)}


def apart(what: Callable[..., Any], *given: Any) -> Any:
    """Call a function in a forked child: whatever it changes in its process is gone. Returns its answer, which is JSON."""
    sys.stdout.flush()
    sys.stderr.flush()
    receive, send = os.pipe()
    if not (child := os.fork()):
        os.close(receive)
        status = 1
        try:
            answer = what(*given)
            with os.fdopen(send, "w") as stream:
                json.dump(answer, stream)
            status = 0
        except SystemExit as ended:
            status = int(bool(ended.code))
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stderr.flush()
            os._exit(status)
    os.close(send)
    with os.fdopen(receive) as stream:
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"{getattr(what, '__name__', what)} ended with status {os.waitstatus_to_exitcode(status)}")
    return json.loads(answer or "null")


def serve() -> None:
    """Answer tasks until there are no more."""
    for name in (
        "consomme.train.stage",
        "consomme.train.trainer",
        "consomme.evaluate.evaluator",
        "consomme.report.write",
    ):
        importlib.import_module(name)
    answers, sys.stdout = sys.stdout, sys.stderr  # what jobs print is no answer
    for line in sys.stdin:
        task = json.loads(line)
        try:
            answer = {"answer": apart(TASKS[task["do"]], task)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
