"""Running the workflow itself, on something tiny, in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
UMASK = 0o002

RECORDINGS = """
corpora:
  train: {source: folder, path: recordings, pattern: "{text}_{speaker}_{index}.wav", where: {index: {from: 0, to: 5}}}
  dev:   {source: folder, path: recordings, pattern: "{text}_{speaker}_{index}.wav", where: {index: {from: 6, to: 7}}}
  test:  {source: folder, path: recordings, pattern: "{text}_{speaker}_{index}.wav", where: {index: {from: 8, to: 9}}}
  other: {source: folder, path: more, pattern: "{text}_{speaker}_{index}.wav"}
experiments:
  e:
    task: asr
    languages: [en]
    data: {train: train, dev: {d: dev}, test: {t: test}}
    models:
      untrained:
        from: {scratch: {family: ctc, num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 16}}
      base: {train: untrained, max_steps: 2, per_device_train_batch_size: 4}
      tuned:
        train: base
        sweep: {grid: {learning_rate: [1e-3, 2e-3]}}
        max_steps: 2
        per_device_train_batch_size: 4
      soup: {average: tuned, method: greedy}
      mean: {average: tuned}
      half: {prune: mean, layers: {encoder: {drop: 1/2, by: uniform}}}
    claims:
      - {model: soup, beats: tuned/best, on: t}
      - {model: half, keeps: mean, on: t, margin: 50}
"""


@dataclass
class Work:
    """What one call of Snakemake did: jobs by name (digests left out), and what the stages said of their results."""

    jobs: Counter
    made: int
    found: int
    output: str


class Place:
    """A working directory with a configuration, and Snakemake run there."""

    def __init__(self, folder: Path, repository: Path = REPOSITORY, umask: int = UMASK) -> None:
        self.folder, self.repository, self.umask = folder, repository, umask

    @property
    def config(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "config.yaml").read_text())

    def write(self, config: dict[str, Any] | str) -> None:
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        (self.folder / "config.yaml").write_text(text)

    def change(self, **settings: Any) -> None:
        """Set keys of the experiment `e`: `change(models__tuned__max_steps=3)`."""
        config = self.config
        for dotted, value in settings.items():
            here = config["experiments"]["e"]
            *parents, last = dotted.split("__")
            for part in parents:
                here = here[part]
            here[last] = value
        self.write(config)

    def run(self, *options: str, profile: str = "local", dry: bool = False, check: bool = True) -> Work:
        """Snakemake with a profile of the repository; `dry` lists the jobs and starts none."""
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(self.repository / "Snakefile")),
            *("--profile", str(self.repository / "profiles" / profile), "--quiet", "host", "--cores", "2"),
            *("--directory", str(self.folder), "--configfile", str(self.folder / "config.yaml")),
            *(["--dry-run"] if dry else []),
            *options,
        ]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
        # seldom the umask of those who run tests, so that what follows none is seen
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, umask=self.umask)
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, output
        told = re.findall(r"^Job \d+: (.*)$", output, re.MULTILINE)
        jobs = Counter(re.sub(r"[- ][0-9a-f]{12}\b", "", name).replace(" e:", "").strip() for name in told)
        return Work(jobs, output.count(": made "), output.count("found, nothing to compute"), output)

    def consomme(self, *arguments: str) -> str:
        """What a command of ours prints; it must succeed."""
        command = [sys.executable, "-m", "consomme", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def copy(self, folder: Path) -> Place:
        """The whole place somewhere else, as it is."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Place(folder, self.repository)


def record(folder: Path) -> None:
    """Write the recordings: noise of two pitches, for two words."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(1)
    for name, numbers in (("recordings", range(10)), ("more", range(2))):
        (folder / name).mkdir()
        for word in ("one", "two"):
            for i in numbers:
                wave = rng.normal(0, 0.1, 12000) * np.sin(np.arange(12000) * (0.1 if word == "one" else 0.3))
                soundfile.write(folder / name / f"{word}_ann_{i}.wav", wave, 16000, subtype="PCM_16")


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Place:
    """The recordings' experiment, run to its end."""
    place = Place(tmp_path_factory.mktemp("finished"))
    record(place.folder)
    place.write(RECORDINGS)
    place.run()
    return place


@pytest.fixture
def place(finished, tmp_path) -> Place:
    """A copy of the finished run, to change something in."""
    return finished.copy(tmp_path / "place")


@pytest.fixture
def empty(tmp_path) -> Place:
    """A place where nothing has run."""
    return Place(tmp_path)


@pytest.fixture
def recorded(empty) -> Place:
    """A place with the recordings and the configuration, where nothing has run."""
    record(empty.folder)
    empty.write(RECORDINGS)
    return empty
