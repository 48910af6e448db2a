"""The claims' register and sealed test sets, as Snakemake and `consomme unseal` treat them."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

REPORT = Counter({"report e": 1})


def lines(place):
    return [json.loads(line) for line in (place.folder / "results/e/claims.jsonl").read_text().splitlines()]


def summary(place):
    return (place.folder / "results/e/summary.md").read_text()


def unseal(place):
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    command = [sys.executable, "-m", "consomme", "unseal", "config.yaml", "e", "--cores", "2"]
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_run_is_registered_before_and_behind_and_a_changed_claim_makes_the_report_alone(place):
    first, second = lines(place)
    assert (first["sets"]["t"]["scored"], second["sets"]["t"]["scored"]) == (0, 7)
    marks = [
        entry.get("register")
        for index in place.folder.glob("results/e/hypotheses/*/*.json")
        for entry in json.loads(index.read_text())["sets"]
    ]
    assert Counter(marks) == {first["hash"]: 7, None: 7}  # test sets, development sets
    assert "All were declared before any score." in summary(place) and first["hash"] in summary(place)
    place.change(claims=place.config["experiments"]["e"]["claims"][:1])
    assert place.run(dry=True).jobs == REPORT and len(lines(place)) == 2
    assert place.run().jobs == REPORT and len(lines(place)) == 3
    assert "Withdrawn: **half keeps mean on t within 50**" in summary(place)
    assert place.run(dry=True).jobs == Counter()
    (place.folder / "results/e/claims.jsonl").unlink()
    assert place.run().jobs == REPORT
    assert "not the one under which 7 of 7 scores were made" in summary(place)


def test_a_sealed_set_is_decoded_once_for_the_models_of_its_claims(place):
    claims = place.config["experiments"]["e"]["claims"]
    sealed = {"model": "half", "keeps": "mean", "on": "u", "margin": 50}
    place.change(data__test={"t": "test", "u": "other"}, sealed=["u"], claims=[sealed, *claims])
    assert place.run().jobs == REPORT
    assert "- **half keeps mean on u within 50** — sealed." in summary(place)
    assert not list(place.folder.glob("results/e/hypotheses/*/test/u@*"))
    status, said = unseal(place)
    assert status == 0 and "e: u is opened for half, mean\n" in said, said
    decoded = {path.parts[-3].partition("-")[0] for path in place.folder.glob("results/e/hypotheses/*/test/u@*")}
    assert decoded == {"half", "mean"} and said.count("made results/e/models") == 0
    assert "All were declared before any score." in summary(place) and "half keeps mean on u within 50** — " in said
    before = (place.folder / "results/e/claims.jsonl").read_bytes()
    assert [set(line["opened"]) for line in lines(place) if "opened" in line] == [{"u"}]
    status, said = unseal(place)
    assert status == 0 and "u was opened before" in said
    assert (place.folder / "results/e/claims.jsonl").read_bytes() == before
    assert place.run(dry=True).jobs == Counter()
    # another model under the same name is not decoded on it
    place.change(models__half__layers={"encoder": {"drop": [1]}})
    assert place.run().jobs["evaluate half"] == 1
    assert len(list(place.folder.glob("results/e/hypotheses/*/test/u@*"))) == 2
    assert "its models are not those for which the seal was broken" in summary(place)
