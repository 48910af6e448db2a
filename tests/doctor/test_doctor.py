"""`consomme doctor`: what is found on machines that lack something."""

import io
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from consomme.common import gpus
from consomme.doctor import checks, machine, needs
from consomme.doctor.finding import Asked, Finding

CONFIG = """
corpora:
  train: {source: generated, generator: dosage, domain: general, size: 20}
  dev:   {source: generated, generator: dosage, domain: general, split: dev, size: 5}
experiments:
  e:
    task: nmt
    languages: [en, fr]
    data: {train: train, dev: {d: dev}}
    models:
      base: {from: {hub: someone/some-model}}
      tuned: {train: base, max_steps: 2}
      small: {export: tuned, format: ctranslate2, quantization: int8}
"""
SCRATCH = CONFIG.replace("{hub: someone/some-model}", "{scratch: {family: marian}}")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text, name="mine.yaml"):
    Path(name).write_text(text)
    return Path(name)


def doctor(*arguments, **environment):
    """The command in a process of its own, with an empty cache of the hub: lines by check, exit status."""
    known = {**os.environ, "HF_HOME": str(Path("hub").resolve()), "HF_HUB_OFFLINE": "0", **environment}
    known.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-m", "consomme", "doctor", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=known, check=False)
    assert done.returncode in (0, 1), done.stderr
    lines = {line[2:].split("  ")[0].strip(): line for line in done.stdout.splitlines()}
    return lines, done.returncode


def cached(revision="main"):
    """A checkpoint in the hub's cache."""
    snapshot = Path("hub/hub/models--someone--some-model/snapshots/0123")
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"model_type": "marian"}')
    (snapshot / "model.safetensors").write_bytes(bytes(2**21))
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / revision).write_text("0123")


# -- the command -------------------------------------------------------------------------------------------------------
def test_a_cross_makes_exit_code_1_and_says_what_to_do(here):
    lines, status = doctor(write(CONFIG), HF_HUB_OFFLINE="1")
    assert status == 1 and lines["hub"].startswith("✗") and "hf download someone/some-model" in lines["hub"]


def test_what_is_in_the_cache_needs_no_hub(here):
    cached()
    lines, _ = doctor(write(CONFIG), HF_HUB_OFFLINE="1")
    assert lines["hub"].startswith("✓") and "(weights 2 MiB, gradients 2 MiB, optimizer 4 MiB," in lines["training"]
    assert lines["disk"].startswith("✓") and "MiB will be written" in lines["disk"]


def test_no_checkpoint_no_hub(here):
    lines, _ = doctor(write(SCRATCH), HF_HUB_OFFLINE="1")
    assert lines["hub"].startswith("✓") and "not needed" in lines["hub"]


def test_without_a_configuration_the_machine_alone(here):
    lines, _ = doctor()
    assert {"Python", "packages", "device", "disk", "file locks"} <= set(lines) and "hub" not in lines
    assert list(here.iterdir()) == []  # nothing is left behind


def test_a_configuration_that_cannot_be_planned(here):
    lines, status = doctor(write(CONFIG.replace("max_steps", "max_stesp")))
    assert status == 1 and "max_steps" in lines["configuration"] and "hub" not in lines


def test_missing_data(here):
    text = CONFIG.replace(
        "{source: generated, generator: dosage, domain: general, size: 20}", "{source: parallel, path: nowhere}"
    )
    lines, status = doctor(write(text), HF_HUB_OFFLINE="1")
    assert status == 1 and lines["configuration"].startswith("✗") and "nowhere.en" in lines["configuration"]


class Hub(BaseHTTPRequestHandler):
    """A hub that knows one model."""

    def do_GET(self):
        known = "someone/some-model" in self.path
        body = json.dumps({"id": "someone/some-model", "siblings": []} if known else {"error": "no"}).encode()
        self.send_response(200 if known else 404)
        if not known:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_whether_the_hub_answers_and_knows_the_name(here):
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    lines, _ = doctor(write(CONFIG), HF_ENDPOINT=endpoint, NO_PROXY="127.0.0.1")
    assert lines["hub"].startswith("✓")
    other = write(CONFIG.replace("some-model", "other"), "other.yaml")
    lines, status = doctor(other, HF_ENDPOINT=endpoint, NO_PROXY="127.0.0.1")
    assert status == 1 and "there is no model someone/other" in lines["hub"]
    server.shutdown()
    server.server_close()
    lines, status = doctor(write(CONFIG), HF_ENDPOINT=endpoint, NO_PROXY="127.0.0.1")
    assert status == 1 and "doesn't answer" in lines["hub"]


# -- single checks -----------------------------------------------------------------------------------------------------
def test_this_machine_keeps_locks_and_links(tmp_path):
    asked = Asked(tmp_path)
    assert machine.locks(asked).well and machine.links(asked).well and machine.inodes(asked).well
    assert list(tmp_path.iterdir()) == []


def test_locks_that_keep_nobody_out(tmp_path, monkeypatch):
    class Nothing:
        def __init__(self, *_, **__): ...
        def __enter__(self): ...
        def __exit__(self, *_): ...

    monkeypatch.setattr("filelock.FileLock", Nothing)
    assert machine.locks(Asked(tmp_path)).well is False


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    found = machine.links(Asked(tmp_path))
    assert found.well is False and "Operation not permitted" in found.said and found.remedy


def test_a_full_disk(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert machine.disk(Asked(tmp_path)).well is False


def test_a_folder_that_cannot_be_written_to(tmp_path):
    found = checks._find(checks.Check("hard links", machine.links), Asked(tmp_path / "nowhere"))
    assert found.well is False and "write permission" in found.remedy


def test_packages_that_are_not_as_pinned(tmp_path, monkeypatch):
    lock = tmp_path / "requirements.txt"
    monkeypatch.setattr(machine, "file_of", lambda _: lock)
    lock.write_text("pydantic==0.0.1\nno-linter-of-this-name==1.0\n")
    found = machine.packages(Asked(tmp_path))
    assert found.well is False and "pydantic" in found.said and "no-linter" not in found.said
    from importlib.metadata import version

    lock.write_text(f"pydantic=={version('pydantic')}\n")
    assert machine.packages(Asked(tmp_path)).well


@pytest.mark.parametrize(
    ("says", "most"), [("gpu:2", 2), ("(null)\ngpu:a100:4(S:0-1),gpu:v100:2\nlicence:9", 4), ("(null)", 0)]
)
def test_more_gpus_than_a_node_of_the_cluster_has(tmp_path, monkeypatch, says, most):
    """Slurm takes such a job, and lets it wait for ever."""
    (tmp_path / "sinfo").write_text(f"#!/bin/sh\ncat <<'EOF'\n{says}\nEOF\n")
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    models = [SimpleNamespace(name="tuned", execution={"gpus": 4})]
    found = needs.several(SimpleNamespace(models=models, plan=None))
    assert found.well is (most >= 4) and f"the node with the most has {most or 'none'}" in found.said
    assert "wait for ever" in found.remedy


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster with the partitions cpu and long, and a profile that names cpu and gpu."""
    (tmp_path / "bin").mkdir()
    sinfo = tmp_path / "bin/sinfo"
    sinfo.write_text("#!/bin/sh\necho cpu\necho long\n")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sinfo.parent}:{os.environ['PATH']}")
    profile = tmp_path / "profile"
    profile.mkdir()
    text = "default-resources: {slurm_partition: cpu}\nset-resources: {train_model: {slurm_partition: gpu}}\n"
    (profile / "profile.yaml").write_text(text)
    return profile


def test_a_store_for_results(tmp_path, monkeypatch):
    monkeypatch.setattr("consomme.common.extras.installed", lambda package: True)
    assert needs.store(Asked(tmp_path, profile=tmp_path)).well is None
    settings = "default-storage-provider: s3\ndefault-storage-prefix: "
    (tmp_path / "profile.yaml").write_text(f"{settings}memory://bucket/mine")
    assert needs.store(Asked(tmp_path, profile=tmp_path)).well
    (tmp_path / "profile.yaml").write_text(f"{settings}mine")
    found = needs.store(Asked(tmp_path, profile=tmp_path))
    assert found.well is False and "no address" in found.said


def test_partitions_that_the_cluster_lacks(slurm, tmp_path):
    found = needs.partitions(Asked(tmp_path, profile=slurm))
    assert found.well is False and "no gpu" in found.said and "cpu, long" in found.remedy
    text = (slurm / "profile.yaml").read_text()
    (slurm / "profile.yaml").write_text(text.replace("gpu", "long"))
    assert needs.partitions(Asked(tmp_path, profile=slurm)).well


def test_without_slurm_no_partition_is_judged(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert needs.partitions(Asked(tmp_path)).well is None


def test_what_has_nothing_to_judge_is_no_cross():
    console = Console(record=True, width=200, file=io.StringIO())
    assert checks.show([("one", Finding(True, "well")), ("two", Finding(None, "none"))], console)
    assert not checks.show([("one", Finding(True, "well")), ("two", Finding(False, "bad", "mend it"))], console)
    assert "✗ two  bad → mend it" in console.export_text()


# -- a checkpoint ------------------------------------------------------------------------------------------------------
def tried(name, **environment):
    """`--model` in this process: lines by step, exit status, what went to standard error."""
    from typer.testing import CliRunner

    from consomme.cli import app

    done = CliRunner().invoke(app, ["doctor", "--model", str(name)], env=environment)
    return {line[2:].split("  ")[0].strip(): line for line in done.stdout.splitlines()}, done.exit_code, done.stderr


def test_a_checkpoint_goes_the_whole_path(here, folders):
    lines, status, _ = tried(folders("t5"))
    assert list(lines) == ["checkpoint", "start", "evaluate", "train", "average", "prune", "export"]
    assert status == 0 and all(line.startswith("✓") for line in lines.values()), lines
    assert "t5, nmt" in lines["checkpoint"] and "parameters" in lines["start"] and "2 steps" in lines["train"]
    assert "kept" in lines["prune"] and "2 of 2" in lines["export"]
    assert list(here.iterdir()) == []


def test_a_checkpoint_that_cannot_start_says_why_and_the_rest_is_not_tried(here, folders):
    shutil.copytree(folders("wav2vec2"), "mine")
    config = json.loads(Path("mine/config.json").read_text())
    Path("mine/config.json").write_text(json.dumps(config | {"pad_token_id": 1}))
    lines, status, error = tried("mine")
    assert status == 1 and "CTC's blank, is 1 in its config.json" in lines["start"] and not error
    assert all(lines[step].startswith("–") for step in ("evaluate", "train", "average", "prune", "export"))


def test_what_is_no_checkpoint(here, folders):
    Path("empty").mkdir()
    for name, reason in (("empty", "no config.json there"), ("./nowhere", "there is no such folder")):
        lines, status, _ = tried(name)
        assert status == 1 and reason in lines["checkpoint"] and lines["start"].startswith("–")


def test_a_crash_is_a_cross_with_the_lines_to_report(here, folders, monkeypatch):
    from consomme.train import stage

    monkeypatch.setattr(stage, "run", lambda job: 1 / 0)
    lines, status, error = tried(folders("t5"))
    assert status == 1 and "ZeroDivisionError" in lines["train"] and "please report" in lines["train"]
    assert "Traceback" in error and lines["average"].startswith("–") and lines["export"].startswith("✓")


def test_more_gpus_than_this_machine_has(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "DEVICES", tmp_path)
    monkeypatch.setattr(needs, "_elsewhere", lambda asked: False)
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    monkeypatch.delenv("CONSOMME_DEVICE", raising=False)

    def found(**execution):
        model = SimpleNamespace(name="tuned", execution=execution)
        return needs.several(SimpleNamespace(models=[model], plan=None))

    assert found().well and found(gpus=1).well
    assert found(gpus=2).well is False and "tuned trains on 2 GPUs; here are none" in found(gpus=2).said
    assert "lower `gpus`" in found(gpus=2).remedy and "Slurm" in found(nodes=2).said
    for number in range(2):
        (tmp_path / f"nvidia{number}").touch()
    assert found(gpus=2).well and not found(gpus=3).well
    monkeypatch.setenv("CONSOMME_DEVICE", "cpu")
    assert found(gpus=3).well
