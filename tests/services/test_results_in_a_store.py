"""Results in S3's and Azure Blob's likenesses: machines that share the clone, and nothing else but a store."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import psutil
import pytest

from consomme.common.extras import installed

from ..clones import environment
from .servers import KEY, SECRET
from .test_lost_jobs import LONG, STEPS

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
TINY = Path(__file__).parents[1] / "workflow/tiny.yaml"
PATIENCE = 1800.0
PROVIDER = {"s3": "s3", "az": "azure"}
# each job has a machine of its own: an empty folder, beside that of Snakemake, with the configuration
SUBMIT = """#!/bin/sh
machine=$(mktemp -d {machines}/mXXXXXX)
cp {machines}/head/*.yaml "$1" "$machine"
cd "$machine" || exit 1
(setsid sh "$(basename "$1")" > said 2>&1; echo $? > status) > /dev/null 2>&1 &
echo "$machine"
"""
STATUS = """#!/bin/sh
if [ ! -e "$1/status" ]; then echo running; elif [ "$(cat "$1/status")" = 0 ]; then echo success; else echo failed; fi
"""
SPEECH = """
corpora:
  train: %s
  dev: {source: generated, generator: spoken-numbers, domain: clean, split: dev, size: 4}
experiments:
  e:
    task: asr
    languages: [en]
    data: {train: train, dev: {d: dev}}
    models:
      untrained: {from: {scratch: {family: ctc, num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, intermediate_size: 16}}}
      base: {train: untrained, max_steps: 1, per_device_train_batch_size: 2}
"""


class Site:
    """A store, and machines in a folder each."""

    def __init__(self, folder: Path, clone: Path, scheme: str, login: dict[str, str]) -> None:
        self.folder, self.scheme = folder, scheme
        kept = {k: v for k, v in environment(clone).items() if not k.startswith(("AWS_", "AZURE_"))}
        self.environment = kept | login | {"CONSOMME_PRELOAD": "", "CONSOMME_DEVICE": "cpu"}
        self.environment |= {"CONSOMME_CACHE": str(folder / "copies")}
        if scheme == "s3":
            self.environment["SNAKEMAKE_STORAGE_S3_ENDPOINT_URL"] = login["AWS_ENDPOINT_URL"]
        else:
            self.environment["AZURITE_CONNECTION_STRING"] = login["AZURE_STORAGE_CONNECTION_STRING"]
            self.environment["SNAKEMAKE_STORAGE_AZURE_ACCOUNT_NAME"] = "devstoreaccount1"
        self.bucket = f"results{abs(hash(str(folder))) % 10**12}"
        self.address = f"{scheme}://{self.bucket}/of/mine"
        for name, text in (("submit", SUBMIT), ("status", STATUS)):
            (folder / name).write_text(text.format(machines=folder))
            (folder / name).chmod(0o755)

    def head(self, name: str, *configurations: Path) -> Path:
        place = self.folder / name
        place.mkdir()
        for path in configurations:
            shutil.copy(path, place)
        return place

    def start(self, place: Path, *words: str, more: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        store = ["--default-storage-provider", PROVIDER[self.scheme], "--default-storage-prefix", self.address]
        jobs = ["--executor", "cluster-generic", "--jobs", "2", "--shared-fs-usage", "none"]
        jobs += [f"--cluster-generic-{what}-cmd={self.folder / what}" for what in ("submit", "status")]
        command = [sys.executable, "-m", "consomme", *words, "--", *store, *jobs, *more]
        with (place / "said").open("w") as said:
            return subprocess.Popen(
                command, cwd=place, env=self.environment, stdout=said, stderr=subprocess.STDOUT, text=True
            )

    def run(self, place: Path, *words: str, more: tuple[str, ...] = ()) -> str:
        process = self.start(place, *words, more=more)
        status, said = process.wait(PATIENCE), (place / "said").read_text()
        last = "".join(path.read_text()[-2000:] for path in self.folder.glob("m*/said") if "rror" in path.read_text())
        assert status == 0, said[-3000:] + last
        return said

    def stored(self) -> dict[str, bytes]:
        system = fsspec.filesystem(self.scheme, use_listings_cache=False, skip_instance_cache=True)
        return {
            path.removeprefix(f"{self.bucket}/of/mine/"): system.cat(path)
            for path in system.find(f"{self.bucket}/of/mine")
        }


@pytest.fixture
def at(request, tmp_path, cloned, monkeypatch):
    """`at(scheme)`: a site with an empty store."""

    def made(scheme: str) -> Site:
        login = request.getfixturevalue(scheme)
        for package in (f"snakemake_storage_plugin_{PROVIDER[scheme]}", "snakemake_executor_plugin_cluster_generic"):
            if not installed(package):
                pytest.skip(f"not installed: {package}")
        for name, value in login.items():
            monkeypatch.setenv(name, value)
        # machines lie as deep as Snakemake's own folder: it names the Snakefile by the path from there
        (tmp_path / "clone").mkdir()
        site = Site(tmp_path, cloned(tmp_path / "clone"), scheme, login)
        fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True).mkdir(site.bucket)
        return site

    return made


@pytest.mark.parametrize("scheme", ["s3", "az"])
def test_every_verb_on_machines_that_share_a_store_alone(at, scheme):
    site = at(scheme)
    place = site.head("head", TINY)
    said = site.run(place, "run", "tiny.yaml")
    assert "25 of 25 steps" in said and "# tiny" in said
    here = {path.name for path in (place / "results/tiny").iterdir()}
    assert {"report.html", "summary.md", "scores.tsv"} <= here and not (place / "results/tiny/models").exists()
    # weights and hypotheses are those of one machine without a store
    alone = site.head("alone", TINY)
    command = [sys.executable, "-m", "consomme", "run", "tiny.yaml", "--cores", "2"]
    subprocess.run(command, cwd=alone, env=site.environment, check=True, capture_output=True, timeout=PATIENCE)
    stored = site.stored()
    for pattern in ("models/*/*.safetensors", "models/*/*.json", "hypotheses/**/*.jsonl", "scores.tsv"):
        paths = [
            path.relative_to(alone) for path in alone.glob(f"results/tiny/{pattern}") if "provenance" not in path.name
        ]
        assert paths
        for path in paths:
            if path.name != "content.json":  # has the hash of what has times
                assert stored[str(path)] == (alone / path).read_bytes(), path
    # another machine has nothing to do, and gets what it asks for
    other = site.head("other", TINY)
    said = site.run(other, "run", "tiny.yaml", more=("--quiet", "host"))
    assert "Nothing to be done" in said and "# tiny" in said and "not finished" not in said
    fetched = subprocess.run(
        [sys.executable, "-m", "consomme", "fetch", site.address],
        cwd=other, env=site.environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert fetched.returncode == 0, fetched.stderr
    assert (other / "results/tiny/current/soup/provenance.json").exists()
    assert not list(other.glob("results/tiny/models/*/*.safetensors"))
    command = [sys.executable, "-m", "consomme", "verify"]
    subprocess.run(command, cwd=other, env=site.environment, check=True, capture_output=True, timeout=300)
    # no login is written anywhere
    told = [path for path in site.folder.rglob("*") if path.is_file() and "clone" not in path.parts]
    for secret in (SECRET, KEY):
        for name, content in [*((path, path.read_bytes()) for path in told), *stored.items()]:
            assert secret.encode() not in content, name


def test_under_slurm(at, slurm):
    site = at("s3")
    place = site.head("head", TINY)
    store = ["--default-storage-provider", "s3", "--default-storage-prefix", site.address, "--shared-fs-usage"]
    shared = ["persistence", "software-deployment", "sources", "source-cache"]
    threads = ["--set-threads", "prepare_corpus=1", "train_model=1", "measure_costs=1"]
    command = [sys.executable, "-m", "consomme", "model", "tiny/soup", "tiny.yaml", "--profile", "cluster", "--"]
    for expected in ("7 of 7 steps", "Nothing to be done"):
        done = subprocess.run(
            [*command, "--latency-wait", "10", *threads, *store, *shared],
            cwd=place, env=site.environment, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0 and expected in said, said[-4000:]
    assert any(re.search(r"models/soup-\w+/tokenizer_config.json", name) for name in site.stored())


def training(site: Site, machine: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if "consomme.train" in process.cmdline() and process.cwd() == str(machine):
                yield process
        except psutil.Error:
            continue


@pytest.mark.parametrize(("scheme", "number"), [("s3", signal.SIGTERM), ("s3", signal.SIGKILL), ("az", signal.SIGTERM)])
def test_a_training_that_loses_its_machine_goes_on_on_another_one(at, scheme, number):
    site = at(scheme)
    steps = STEPS // 4
    place = site.head("head")
    (place / "long.yaml").write_text(LONG.replace(str(STEPS), str(steps)))
    alone = site.head("alone", place / "long.yaml")
    command = [sys.executable, "-m", "consomme", "model", "e/base", "long.yaml", "--cores", "1"]
    subprocess.run(command, cwd=alone, env=site.environment, check=True, capture_output=True, timeout=PATIENCE)
    process = site.start(place, "model", "e/base", "long.yaml", more=("--retries", "1"))
    until = time.monotonic() + PATIENCE
    while not any("checkpoints/checkpoint-" in name for name in site.stored()):
        assert process.poll() is None and time.monotonic() < until, (place / "said").read_text()[-3000:]
        time.sleep(0.2)
    machine = next(path for path in site.folder.glob("m*") if any(training(site, path)))
    for found in training(site, machine):
        os.kill(found.pid, number)
    assert process.wait(PATIENCE) == 0, (place / "said").read_text()[-3000:]
    logs = "".join(path.read_text() for path in site.folder.glob("m*/said"))
    assert "resuming from checkpoint-" in logs
    stored = site.stored()
    (weights,) = alone.glob("results/e/models/base-*/model.safetensors")
    assert stored[str(weights.relative_to(alone))] == weights.read_bytes()
    assert not any("checkpoints/" in name for name in stored)


def test_a_sweep_goes_on_from_its_rung_on_another_machine(at):
    site = at("s3")
    place = site.head("head")
    sweep = "sweep: {grid: {learning_rate: [1e-3, 2e-3]}, halving: {rungs: [2, 4], keep: 1/2}}, "
    (place / "long.yaml").write_text(LONG.replace(f"max_steps: {STEPS}", f"{sweep}max_steps: 4"))
    site.run(place, "model", "e/base/best", "long.yaml")
    logs = "".join(path.read_text() for path in site.folder.glob("m*/said"))
    assert logs.count("resuming from checkpoint-2") == 1
    assert "trains from its start" not in logs


def test_parts_of_a_corpus_meet_in_the_store_and_go_from_it(at):
    site = at("s3")
    place = site.head("head")
    corpus = "{source: generated, generator: spoken-numbers, domain: clean, size: 70, parts: 2}"
    (place / "speech.yaml").write_text(SPEECH % corpus)
    said = site.run(place, "model", "e/base", "speech.yaml")
    logs = "".join(path.read_text() for path in site.folder.glob("m*/said"))
    assert "5 of 5 steps" in said and "70 rows were checked ahead, 0 here" in logs
    stored = site.stored()
    assert not [name for name in stored if "prepared/parts/" in name or name.endswith("lock")]
    alone = site.head("alone")
    (alone / "speech.yaml").write_text(SPEECH % corpus.replace(", parts: 2", ""))
    command = [sys.executable, "-m", "consomme", "model", "e/base", "speech.yaml", "--cores", "1"]
    subprocess.run(command, cwd=alone, env=site.environment, check=True, capture_output=True, timeout=PATIENCE)
    (rows,) = alone.glob("results/prepared/train-*/rows.arrow")
    assert stored[str(rows.relative_to(alone))] == rows.read_bytes()
    # another number of parts changes nothing that is there
    (place / "speech.yaml").write_text(SPEECH % corpus.replace("parts: 2", "parts: 3"))
    assert "Nothing to be done" in site.run(place, "model", "e/base", "speech.yaml", more=("--quiet", "host"))
