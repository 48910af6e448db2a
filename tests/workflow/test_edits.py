"""After every edit of a configuration, its files or the code, a run has the results of one from nothing: a random walk.

One edit in half a minute. CONSOMME_EDITS=200 takes as many; CONSOMME_EDITS_IN=FOLDER keeps them there, so that a walk that was
ended goes on; CONSOMME_EDITS_SEED=2 is another walk. counts.tsv in that folder has the number of edits of each kind."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from consomme.common.files import read_json, write_text

from .conftest import REPOSITORY, Place
from .edits import EDITS, WORDS, World, lay_out, paths, write

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

STEPS = int(os.environ.get("CONSOMME_EDITS", "1"))
SEED = int(os.environ.get("CONSOMME_EDITS_SEED", "1"))
# in the copy of the code that walks: a stage's version changes what it computes; speeds aren't measured and no page is drawn,
# which are not compared; and one process that has the libraries loaded serves all runs
CHANGES = {
    "scripts/consomme/common/provenance.py": [
        (
            "    forget_code(folder)\n    record",
            "    forget_code(folder)\n    versioned(spec['stage'], folder)\n    record",
        )
    ],
    "scripts/consomme/data/prepare.py": [
        (
            "            writer.add(row)\n            segments",
            "            writer.add(reworded(row))\n            segments",
        )
    ],
    "scripts/consomme/evaluate/stage.py": [
        (
            "            if mark and split",
            "            said = [resaid(one) for one in said]\n            if mark and split",
        )
    ],
    "scripts/consomme/speed/rounds.py": [
        ("    keys = [(arch", "    return [{'window': model.window} for model in models]\n    keys = [(arch")
    ],
    "scripts/consomme/report/write.py": [
        ("    shown = context(", "    return write_text(out / 'report.html', '')\n    shown = context(")
    ],
    "rules/common.smk": [("CONSOMME_PRELOAD_FOR=str(os.getpid())", "CONSOMME_PRELOAD_FOR=os.environ['WALK']")],
}
VERSIONED = """
FIRST = {first}


def later(stage):
    from consomme.plan.stages import VERSIONS  # now: the process that this is forked from is older

    return VERSIONS[stage] - FIRST[stage]


def versioned(stage, folder):
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    if (more := later(stage)) and path.exists():
        changed = {{name: (tensor * (1 + more / 64)).astype(tensor.dtype) for name, tensor in load_file(path).items()}}
        path.unlink()
        save_file(changed, path, {{"format": "pt"}})


def reworded(row):
    side = "target" if "target" in row else "text"
    return {{**row, side: row[side] + " le" * later("data")}}


def resaid(text):
    return text + " chat" * later("evaluate")
"""


def code(folder: Path) -> Path:
    """A copy of the code whose stages compute something else in each version."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("Snakefile", "rules", "scripts", "profiles", "envs", "config"):
        copy: Any = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copyfile
        copy(REPOSITORY / name, folder / name, **({"ignore": ignored} if (REPOSITORY / name).is_dir() else {}))
    for name, changes in CHANGES.items():
        text = (folder / name).read_text()
        for old, new in changes:
            assert text.count(old) == 1, f"{name}: {old}"
            text = text.replace(old, new)
        if names := [one for one in ("versioned", "reworded", "resaid") if f"{one}(" in text]:
            text = text.replace("\nimport ", f"\nfrom consomme.versioned import {', '.join(names)}\nimport ", 1)
        (folder / name).write_text(text)
    from consomme.plan.stages import VERSIONS

    (folder / "scripts/consomme/versioned.py").write_text(VERSIONED.format(first=VERSIONS))
    return folder


class FromNothing:
    """The process that runs configurations from nothing. Runs are kept by the world that they are of."""

    def __init__(self, repository: Path, kept: Path) -> None:
        self.kept = kept
        environment = os.environ | {"PYTHONPATH": str(repository / "scripts"), "OMP_NUM_THREADS": "1"}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        command = [sys.executable, str(Path(__file__).with_name("from_nothing.py"))]
        self.log = (kept.parent / "from_nothing.log").open("a")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment
        )

    def ask(self, do: str, folder: Path, **more: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        print(json.dumps({"do": do, "folder": str(folder), **more}), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline() or '{"error": "the process has ended"}')
        assert "error" not in answer, f"{do} {folder}: {answer['error']}; see {self.log.name}"
        return answer["answer"]

    def run(self, world: World, given: Path, register: Path) -> dict[str, Any]:
        folder = self.kept / world.key
        if not (folder / "made.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            lay_out(world, folder, given)
            self.ask("make", folder, versions=world.versions)
        return self.ask("results", folder, versions=world.versions, register=str(register))

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()
        self.log.close()


class Walk:
    """A walk in a folder: world/ is edited and run by Snakemake, from-nothing/ has the runs to compare with."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        folder.mkdir(parents=True, exist_ok=True)
        repository = folder / "code"
        if not repository.exists():
            repository.mkdir()
            code(repository)
        self.place = Place(folder / "world", repository)
        self.stages = repository / "scripts/consomme/plan/stages.py"
        self.first = self.stages.with_suffix(".first")
        if not self.first.exists():
            shutil.copyfile(self.stages, self.first)
        shutil.copyfile(self.first, self.stages)  # as the process that runs from nothing has to read it
        self.nothing = FromNothing(repository, folder / "from-nothing")
        self.given = folder / "checkpoint"
        if not self.given.exists():
            self.given.mkdir()
            self.nothing.ask("checkpoint", self.given, texts=[" ".join(WORDS)] * 20)

    def go(self, steps: int) -> None:
        """Take the steps up to this number."""
        known = self.folder / "walk.json"
        # every world so far, the last one is where the walk stands; what each step did
        walk = read_json(known) if known.exists() else {"worlds": [], "done": []}
        while len(walk["done"]) <= steps:
            number = len(walk["done"])
            draw = random.Random(f"{self.seed} {number}")
            worlds = [World(**one) for one in walk["worlds"]]
            kind, what, world = ("from nothing", "", World()) if not worlds else self.edited(worlds, draw)
            self.step(worlds[-1] if worlds else None, world, draw, f"step {number}: {kind}: {what}")
            walk["worlds"].append(vars(world))
            walk["done"].append([kind, what])
            write_text(known, json.dumps(walk))  # keys in their order, which is part of a configuration
            counts = Counter(kind for kind, _ in walk["done"])
            write_text(self.folder / "counts.tsv", "".join(f"{kind}\t{n}\n" for kind, n in sorted(counts.items())))
            print(f"step {number}: {kind}: {what}", flush=True)

    def edited(self, worlds: list[World], draw: random.Random) -> tuple[str, str, World]:
        """An edit that gives a configuration that can be run; one in six goes back to an earlier one."""
        why = ""
        for _ in range(200):
            if len(worlds) > 2 and draw.random() < 1 / 6:
                number = draw.randrange(max(0, len(worlds) - 12), len(worlds) - 1)
                if worlds[number].key != worlds[-1].key:
                    return "back to an earlier configuration", f"of step {number}", worlds[number].copy()
            world = worlds[-1].copy()
            kind = draw.choices(list(EDITS), [often for _, often in EDITS.values()])[0]
            what = EDITS[kind][0](world, draw)
            if what and world.key != worlds[-1].key and not (why := self.refused(world)):
                return kind, what, world
        raise AssertionError(f"no edit can be made: {why}")

    def refused(self, world: World) -> str:
        trial = self.folder / "trial"
        trial.mkdir(exist_ok=True)
        lay_out(world, trial, self.given)
        return self.nothing.ask("plans", trial, versions=world.versions)

    def step(self, before: World | None, world: World, draw: random.Random, told: str) -> None:
        """Make the world's files of the one before, run, and compare. Files change by their bytes, with a time of now or of
        long ago, in place or under a new inode."""
        folder = self.place.folder
        if before is None:
            folder.mkdir()
            lay_out(world, folder, self.given)
        else:
            for path in paths():
                if world.files.get(path, 0) != before.files.get(path, 0):
                    older, in_place = draw.random() < 0.5, draw.random() < 0.5
                    write(folder, path, world.files.get(path, 0), self.given, older, in_place)
                    told += f" ({'older' if older else 'newer'}{', in place' if in_place else ''})"
        self.place.write(world.config)
        text = self.first.read_text()
        for stage, more in world.versions.items():
            text = text.replace(f'"{stage}": ', f'"{stage}": {more} + ')
        self.stages.write_text(text)
        self.place.run()
        results = self.nothing.ask("results", folder, versions=world.versions)
        wanted = self.nothing.run(world, self.given, folder)
        differ = [name for name in sorted({*wanted, *results}) if wanted.get(name) != results.get(name)]
        shown = "".join(f"\n{name}:\n  {results.get(name)}\n  {wanted.get(name)}" for name in differ[:4])
        assert not differ, f"{told}: {len(differ)} differ from a run from nothing ({world.key}), {differ}{shown}"


def test_after_every_edit_results_are_those_of_a_run_from_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WALK", str(os.getpid()))  # what the loaded process ends with
    kept = os.environ.get("CONSOMME_EDITS_IN")
    walk = Walk(Path(kept) if kept else tmp_path, SEED)
    try:
        walk.go(STEPS)
    finally:
        walk.nothing.close()
