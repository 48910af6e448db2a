"""What a run writes of its environment: no secret, whatever the environment holds."""

import json
from pathlib import Path
from types import SimpleNamespace

import torch

from consomme.average.stage import entry
from consomme.common.job import parse
from consomme.report.write import write_report
from consomme.start.stage import run
from consomme.status.show import show
from consomme.train.stage import describe

SECRETS = ("HF_TOKEN", "AZURE_OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "SLURM_JWT")


def test_no_secret_of_the_environment_is_written_or_printed(tmp_path, monkeypatch, capfd, folders, builder):
    monkeypatch.chdir(tmp_path)
    for name in SECRETS:
        monkeypatch.setenv(name, f"canary-{name}")
    source = folders("marian")
    spec = {"stage": "start", "version": 1, "digest": "abcdef012345", "label": {"experiment": "e"}, "task": "nmt"}
    spec["settings"] = {"folder": str(source)}
    run(parse(["--spec", json.dumps(spec), "--out", "results/e/models/base", "--threads", "1"], ""))
    entry(["--method", "uniform", "--out", "soup", str(source), "results/e/models/base"])
    describe(SimpleNamespace(args=SimpleNamespace(max_steps=1, device=torch.device("cpu"))), 0, Path("results"))
    write_report(
        builder(tmp_path, replicates=(1,), count=24), Path("results/medical-translator"), Path("results/cache")
    )
    show(list, "a run", Path("status.html"))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.name for path in written}
    assert {"provenance.json", "running.json", "report.html", "summary.md", "scores.tsv", "status.html"} <= names
    assert not [path for path in written if b"canary-" in path.read_bytes() or "canary-" in str(path)]
    said = capfd.readouterr()
    assert "made soup" in said.err and "canary-" not in said.out + said.err
