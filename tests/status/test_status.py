"""What jobs are doing, told by folders made by hand and by a small run."""

import fcntl
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consomme.cli import app
from consomme.plan.load import read
from consomme.plan.plan import Plan
from consomme.status.jobs import jobs

TINY = """
corpora:
  train: {source: generated, generator: dosage, domain: general, size: 20}
  dev:   {source: generated, generator: dosage, domain: general, split: dev, size: 5}
experiments:
  e:
    task: nmt
    languages: [en, fr]
    data: {train: train, dev: {d: dev}}
    models:
      untrained: {from: {scratch: {family: marian}}}
      tuned: {train: untrained, max_steps: 200, sweep: {grid: {learning_rate: [1e-4, 2e-4, 3e-4]}}}
      soup: {average: tuned}
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    return Plan(read([Path("tiny.yaml")]))


def found(plan, name, verb="train"):
    (job,) = [j for j in jobs(plan) if (j.name, j.verb) == (name, verb)]
    return job


def run(plan, number):
    return [m for m in plan.models.values() if m.node == "tuned" and m.run != "best"][number]


def begin(model, steps, begun=None):
    """A training's state folder: (step, seconds since the attempt began), ..."""
    work = Path("results/e/state", model.id, "0123456789ab", "work")
    work.mkdir(parents=True)
    lines = [{"step": s, "loss": 5 - s / 100, "seconds": t} for s, t in steps]
    (work / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    begun = {"steps": 200, "first": 0, "device": "cuda", "host": "node7", **(begun or {})}
    (work / "running.json").write_text(json.dumps(begun))
    (work.parent / "lock").touch()
    return work


def log(model, text):
    path = Path("results/e/logs/train", f"{model.id}.log")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def finish(model, **record):
    Path(model.folder).mkdir(parents=True)
    Path(model.marker).write_text(json.dumps({"steps": 200, **record}))


def test_before_a_run_everything_waits(plan):
    every = jobs(plan)
    assert {j.state for j in every} == {"waiting"}
    wanted = {"prepare": 2, "from": 1, "train": 3, "choose": 1, "average": 1, "landscape": 1, "costs": 1, "report": 1}
    counted = Counter(j.verb for j in every)
    assert {verb: counted[verb] for verb in wanted} == wanted and counted["evaluate"] == 5


def test_a_training_runs_while_its_lock_is_held(plan):
    model = run(plan, 0)
    work = begin(model, [(50, 10.0), (100, 20.0)])
    with (work.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        job = found(plan, model.name)
        assert (job.state, job.progress.step, job.progress.steps, job.progress.loss) == ("running", 100, 200, 4.0)
        assert job.progress.rate == pytest.approx(5.0) and job.progress.left == pytest.approx(20.0)
        assert job.progress.device == "cuda on node7"
    assert found(plan, model.name).state == "interrupted"


def test_the_speed_is_that_of_the_present_attempt(plan):
    model = run(plan, 0)
    work = begin(model, [(50, 2.0), (70, 3.0), (90, 5.0), (110, 10.0)], {"first": 70})
    assert found(plan, model.name).progress.rate == pytest.approx(4.0)
    with (work / "progress.jsonl").open("a") as stream:
        stream.write('{"step": 12')
    assert found(plan, model.name).progress.step == 110


@pytest.mark.parametrize(
    ("last", "state", "why"),
    [
        (
            "[ 9.0s] e/tuned: interrupted by SIGTERM: saved at step 9 of 200",
            "interrupted",
            "interrupted by SIGTERM: sa",
        ),
        ("error: corpus 'train': no rows", "failed", "error: corpus 'train': no rows"),
        ("torch.OutOfMemoryError: CUDA out of memory", "failed", "torch.OutOfMemoryError: CUDA out of memory"),
        ("[ 9.0s] e/tuned: step 9/200  loss 3.0", "interrupted", ""),  # killed
    ],
)
def test_the_log_says_how_a_job_ended(plan, last, state, why):
    model = run(plan, 1)
    log(model, f"+ python -m consomme.train\n[ 0.1s] begun\n{last}\n")
    job = found(plan, model.name)
    assert job.state == state and job.why.startswith(why) and bool(job.why) == bool(why)


def test_what_is_done_and_what_diverged(plan):
    finish(run(plan, 0))
    finish(run(plan, 1), diverged={"step": 17, "loss": "nan", "weights_of_step": 0})
    Path(run(plan, 0).folder, "progress.jsonl").write_text('{"step": 200, "loss": 1.25, "seconds": 9}\n')
    assert found(plan, run(plan, 0).name).state == "done" and found(plan, run(plan, 0).name).progress.loss == 1.25
    assert (found(plan, run(plan, 1).name).state, found(plan, run(plan, 1).name).why) == ("diverged", "at step 17")


def test_a_job_without_a_lock_runs_while_its_log_is_young(plan):
    evaluation = next(e for e in plan.evaluations.values() if e.model.node == "soup")
    path = Path("results/e/logs/evaluate", f"{evaluation.model.id}.{evaluation.digest}.log")
    path.parent.mkdir(parents=True)
    path.write_text("[ 1.0s] dev d: 12.0\n")
    assert found(plan, "soup", "evaluate").state == "running"
    os.utime(path, (1, 1))
    assert found(plan, "soup", "evaluate").state == "interrupted"
    Path(evaluation.path).parent.mkdir(parents=True)
    Path(evaluation.path).touch()
    assert found(plan, "soup", "evaluate").state == "done"


def test_the_table_and_the_page_say_the_same(plan):
    begin(run(plan, 0), [(50, 10.0), (100, 20.0)])
    log(run(plan, 1), "error: <script>alert(1)</script>\n")
    result = CliRunner().invoke(app, ["status", "tiny.yaml", "--html", "status.html"])
    assert result.exit_code == 0
    page = Path("status.html").read_text()
    assert "default-src 'none'; style-src" in page
    assert 'http-equiv="refresh"' in page and "<script" not in page and "src=" not in page
    shown = re.sub(r"<[^>]*>", "", page)
    for text in (result.output, shown):
        assert "1 failed" in text and "1 interrupted" in text and re.search(r"100/200 .* 4\.0000", text)
    assert "train e/tuned" in result.output and "evaluate e/tuned × 4" in result.output


@pytest.mark.workflow
@pytest.mark.slow
def test_after_a_small_run_everything_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY.replace("200", "3").replace(", 3e-4", ""))
    # in processes of their own: no server for later tests
    done = os.spawnvpe(os.P_WAIT, "consomme", ["consomme", "run", "tiny.yaml", "--cores", "2"], dict(os.environ))
    assert done == 0
    every = jobs(Plan(read([Path("tiny.yaml")])))
    assert {j.state for j in every} == {"done"}
    trained = [j for j in every if j.verb == "train"]
    assert [(j.progress.step, j.progress.steps) for j in trained] == [(3, 3)] * 2 and trained[0].progress.loss > 0


def test_each_rung_of_a_sweep_that_stops_runs_early_is_a_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = "{grid: {learning_rate: [1e-4, 2e-4, 3e-4]}"
    Path("tiny.yaml").write_text(TINY.replace(grid, f"{grid}, halving: {{rungs: [50, 200], keep: 1/3}}"))
    plan = Plan(read([Path("tiny.yaml")]))
    runs = [m for m in plan.models.values() if m.node == "tuned" and m.run != "best"]
    firsts = {m.name: m for m in runs if "until" in m.identity}
    lasts = {m.name: m for m in runs if m.before}
    one, two, three = firsts
    for name in firsts:
        finish(firsts[name], steps=50)
    finish(lasts[one], steps=50, stopped={"step": 50, "rank": 2, "of": 3, "keep": 1})
    work = Path("results/e/state", lasts[two].state_id, "0123456789ab", "work")
    work.mkdir(parents=True)
    (work / "progress.jsonl").write_text('{"step": 70, "loss": 4.0, "seconds": 9}\n')
    (work / "running.json").write_text(json.dumps({"steps": 200}))
    found = {j.name: j for j in jobs(plan) if j.verb == "train"}
    assert {found[f"{name} to step 50"].state for name in firsts} == {"done"}
    assert (found[one].state, found[one].why) == ("done", "stopped at step 50")
    assert (found[two].state, found[two].progress.step) == ("interrupted", 70)
    assert (found[three].state, found[three].progress) == ("waiting", None)


def test_values_of_trials_are_shown_once_their_study_has_said_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = "grid: {learning_rate: [1e-4, 2e-4, 3e-4]}"
    assert grid in TINY
    space = "n: 4, batch: 2, seed: 1, learning_rate: {log_uniform: [1e-4, 1e-2]}"
    Path("tiny.yaml").write_text(TINY.replace(grid, f"optuna: {{{space}}}"))
    plan = Plan(read([Path("tiny.yaml")]))

    def shown():
        return {j.name: j.values for j in jobs(plan) if j.verb == "train"}

    before = shown()
    assert before["tuned/trial=1"].startswith("learning_rate=") and before["tuned/trial=3"] == ""
    third = next(m for m in plan.models.values() if m.name == "tuned/trial=3")
    finish(third.before["study"], chosen={"study": {"next": [{"learning_rate": 0.002}, {"learning_rate": 0.003}]}})
    assert (shown()["tuned/trial=3"], shown()["tuned/trial=4"]) == ("learning_rate=0.002", "learning_rate=0.003")
    place = Path("results/e/state", third.state_id, "0123456789ab")
    (place / "work").mkdir(parents=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        screen = CliRunner().invoke(app, ["status", "tiny.yaml"]).output
    assert re.search(r"train e/tuned/trial=3 learning_rate=0\.002 +│ running", screen)


def test_a_corpus_in_parts_runs_while_one_of_them_does_and_tells_how_many_are_there(plan):
    corpus = next(c for c in plan.corpora.values() if c.name == "train")
    for part in (1, 3):
        marker = Path(corpus.part_files(4)[3 * part - 1])
        marker.parent.mkdir(parents=True)
        marker.touch()
    lock = Path(f"results/prepared/state/{corpus.id}/2-of-4/lock")
    lock.parent.mkdir(parents=True)
    lock.touch()
    job = found(plan, "train", "prepare")
    assert (job.state, job.why) == ("interrupted", "2 of 4 parts there")
    log = Path(f"results/prepared/logs/{corpus.id}.2-of-4.log")
    log.parent.mkdir()
    log.write_text("+ python -m consomme.data\nerror: the disk is full\n")
    job = found(plan, "train", "prepare")
    assert (job.state, job.why) == ("failed", "error: the disk is full")
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        job = found(plan, "train", "prepare")
        assert (job.state, job.why) == ("running", "2 of 4 parts there")
    Path(corpus.marker).parent.mkdir(parents=True)
    Path(corpus.marker).touch()
    job = found(plan, "train", "prepare")
    assert (job.state, job.why) == ("done", "")
