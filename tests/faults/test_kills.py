"""A run that is killed and interrupted again and again ends as one that nobody disturbs, and repeats nothing.

`python -m tests.faults.kills` does the same a hundred times, over both tasks, and writes a table."""

from __future__ import annotations

import os
import sys

import pytest

from .kills import Run, copied, problems, to_the_end, undisturbed

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
]
SEED = int(os.environ.get("CONSOMME_SEED", "1"))
HANDFUL = ("everything", "job", "SIGHUP", "SIGINT twice")


def test_a_run_that_is_disturbed_again_and_again_ends_as_an_undisturbed_one(tmp_path, monkeypatch):
    code = copied(tmp_path / "code")
    whole = undisturbed(tmp_path / "a", code, ["nmt.yaml"])
    run = Run(tmp_path / "b", code, ["nmt.yaml"])
    trials = list(to_the_end(run, SEED, 1, len(HANDFUL), HANDFUL))
    found = [f"{trial.family}: {what}" for trial in trials for what in trial.problems] + problems(run, whole)
    assert not found, f"CONSOMME_SEED={SEED}: {trials}"
