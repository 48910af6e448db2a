"""Several jobs that ask the same question at the same time: one of them computes the answer."""

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from contextlib import contextmanager

import pytest
import torch

FORK = multiprocessing.get_context("fork")
SOURCES, TARGETS = ["5 6 7", "8", "9 10 11 3 4", "2 2", "6 7 8 9"], ["7 6", "8 8 8", "3", "", "4 5 6 7 8 9"]
BATCHES = 3  # of two rows each
PATIENCE = 120  # seconds


@pytest.fixture
def jobs(small, tmp_path):
    """jobs(METRIC, ...) starts a process for each that asks it of the same weights and rows. Their forward passes are lines of
    the file `passes`, and each takes a while."""
    passes, started = tmp_path / "passes", []

    @contextmanager
    def counted(name, which):
        with open(passes, "a") as stream:
            stream.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        yield

    model = small.marian()  # imports what the processes need, which are forks

    def ask(metric, answers):
        torch.set_num_threads(1)
        evaluator = small({"dev": small.Rows(SOURCES, TARGETS)}, batch_size=2)
        answers.put(evaluator.value(model, "dev", metric, counted))

    def start(*metrics):
        answers = FORK.Queue()
        started.extend(FORK.Process(target=ask, args=(metric, answers)) for metric in metrics)
        for process in started[-len(metrics) :]:
            process.start()
        return answers

    start.passes = lambda: passes.read_text().split() if passes.exists() else []
    start.started = started
    yield start
    for process in started:
        process.kill()


def files(tmp_path):
    return [path.suffix for path in (tmp_path / "cache/evaluations").iterdir()]


@pytest.mark.parametrize(("metric", "kept"), [("loss", ".npy"), ("bleu", ".json")])
def test_two_jobs_make_as_many_forward_passes_as_one(jobs, metric, kept, tmp_path, capfd):
    answers = jobs(metric, metric)
    assert answers.get(timeout=PATIENCE) == answers.get(timeout=PATIENCE)
    for process in jobs.started:
        process.join()
    assert len(jobs.passes()) == BATCHES and len(set(jobs.passes())) == 1
    log = capfd.readouterr().err
    assert log.count("another job is computing the same") == log.count(f": {metric} ") == 1
    assert files(tmp_path) == [kept]  # no lock stays behind


def test_other_questions_do_not_wait(jobs, capfd):
    answers = jobs("loss", "bleu")
    assert answers.get(timeout=PATIENCE) != answers.get(timeout=PATIENCE)
    assert len(jobs.passes()) == 2 * BATCHES and "another job" not in capfd.readouterr().err


def test_a_killed_job_leaves_its_question_to_the_next(jobs, capfd):
    jobs("loss")
    while not jobs.passes():
        time.sleep(0.01)
    answers = jobs("loss")
    first, second = jobs.started
    log = ""
    while "another job" not in log:
        time.sleep(0.01)
        log += capfd.readouterr().err
    os.kill(first.pid, signal.SIGKILL)
    assert answers.get(timeout=PATIENCE) > 0
    assert jobs.passes().count(str(second.pid)) == BATCHES


def test_where_there_are_no_locks_both_compute(jobs, monkeypatch):
    def flock(*given):
        raise OSError(errno.ENOSYS, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    answers = jobs("loss", "loss")
    assert answers.get(timeout=PATIENCE) == answers.get(timeout=PATIENCE)
    assert len(jobs.passes()) == 2 * BATCHES
