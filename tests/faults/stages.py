"""The jobs that meet a failing disk: the stages of a small experiment in the order in which Snakemake would start them, without
Snakemake, and the functions that write files."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

CONFIG = """
corpora:
  train: {source: generated, generator: dosage, domain: general, split: train, size: 12}
  dev:   {source: generated, generator: dosage, domain: general, split: dev, size: 4}
experiments:
  e:
    task: nmt
    languages: [en, fr]
    metric: chrf
    data: {train: train, dev: {d: dev}, test: {}}
    decoding: {max_new_tokens: 4}
    models:
      untrained:
        from:
          scratch: {family: marian, encoder_layers: 2, decoder_layers: 1, d_model: 16, encoder_attention_heads: 2, decoder_attention_heads: 2, encoder_ffn_dim: 16, decoder_ffn_dim: 16}
          tokenizer: {vocab_size: 80}
      base:
        train: untrained
        sweep: {grid: {learning_rate: [1e-3, 2e-3]}}
        max_steps: 3
        per_device_train_batch_size: 4
        save_minutes: 1e-9
        checkpoints: {every: 1, last: 2}
      soup:  {average: base}
      small: {prune: soup, layers: {encoder: {drop: 1/2, by: uniform}}}
      out:   {export: small, format: safetensors, quantization: float16}
"""
# stage -> the node or corpus whose job is tried; the first run of a sweep
TRIED = {
    "data": "train",
    "start": "untrained",
    "train": "base",
    "average": "soup",
    "prune": "small",
    "evaluate": "soup",
    "export": "out",
    "report": "report",
}


class Job(NamedTuple):
    """What runs in a process of its own, in a folder. It returns an exit status."""

    stage: str
    name: str
    run: Callable[[], int]
    tried: bool = True


def jobs(config: str = CONFIG) -> list[Job]:
    """All jobs of the experiment. The working folder must be the one in which they run."""
    from consomme.plan.plan import Plan

    plan = Plan(yaml.safe_load(config))
    (study,) = plan.studies.values()
    found = [
        _stage(c.stage, c.name, c.spec, c.inputs, c.marker, f"results/prepared/state/{c.id}")
        for c in plan.corpora.values()
    ]
    for m in study.jobs:
        state = f"results/{study.name}/state/{m.id}"
        found.append(_stage(m.stage, m.node, m.spec, m.inputs, m.marker, state))
    for e in study.evaluations:
        state = f"results/{study.name}/state/{e.model.id}"
        found.append(_stage("evaluate", e.model.node, e.spec, e.inputs, e.path, state))
    study.write_specs()
    costs, report = study.spec_file("costs"), study.spec_file("report")
    found.append(_stage("costs", "costs", costs, {}, f"{study.folder}/costs.tsv", None))
    found.append(_stage("report", "report", report, {}, study.folder, None))
    names = [(job.stage, job.name) for job in found]
    return [
        job._replace(tried=name in TRIED.items() and name not in names[:i])
        for i, (job, name) in enumerate(zip(found, names, strict=True))
    ]


def _stage(stage: str, name: str, spec: str, inputs: Mapping[str, str], out: str, state: str | None) -> Job:
    """A job as its rule calls it."""
    from consomme.preload import _run

    arguments = ["--spec", spec, "--inputs", *inputs.values(), "--out", out, "--threads", "1", "--device", "cpu"]
    arguments += ["--state", state] if state else []
    return Job(stage, name, lambda: _run(f"consomme.{stage}", arguments, {}))


def files() -> list[Job]:
    """The functions of common/files.py, each where something older is already."""

    def file(version: int) -> None:
        from consomme.common.files import write_json, write_text

        write_text("one.txt", f"{version}" * 5000)
        write_json("two.json", {"version": version})

    def folder(version: int) -> None:
        from consomme.common.files import remove_left_over, whole_folder

        remove_left_over(Path("folder/whole"))
        with whole_folder("folder/whole", read_only=True) as made:
            for name in "ab":
                (made / name).write_text(f"{version}{name}" * 5000)

    def once(version: int) -> None:
        from consomme.common import job, stage

        def build(made: Path, work: Path) -> None:
            for name in ("config.json", "model.safetensors", "provenance.json"):
                (made / name).write_text(f"{version} {name}")

        asked = job.Job({}, {}, Path("models/m"), Path("state/m"), Path("cache"), 1, "cpu")
        stage.build_once(asked, {"version": version}, build)

    def append(version: int) -> None:
        from consomme.register import chain

        if version > len(chain.read("claims.jsonl").lines):
            chain.append("claims.jsonl", {"time": f"{version}"})

    found = {"whole files": file, "a whole folder": folder, "work done once": once, "a line of the register": append}
    return [Job("files", name, _in_words(do)) for name, do in found.items()]


def _in_words(do: Callable[[int], None]) -> Callable[[], int]:
    """A job that makes version 1 where there is nothing, then version 2."""

    def run() -> int:
        from consomme.common.errors import exit_on_error

        version = 2 if any(Path().iterdir()) else 1
        try:
            with exit_on_error():
                do(version)
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return run


def in_a_fork(job: Job, folder: Path, said: Path, before: Callable[[], None] | None = None) -> int:
    """Run a job in a fork of this process, in `folder`, with its words in the file `said`. before: called first in the fork.
    Returns the exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.chdir(folder)
            stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(stream, 1)
            os.dup2(stream, 2)
            if before:
                before()
            status = job.run()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
