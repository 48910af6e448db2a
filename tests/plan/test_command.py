"""`python -m consomme.plan` among other commands."""

import signal
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[2] / "config/config.yaml"


def test_a_reader_that_has_had_enough_ends_it_without_a_word():
    """As `| head -1` does: the pipe's other end is closed before anything is written."""
    with subprocess.Popen(
        [sys.executable, "-m", "consomme.plan", str(DEMO), "--schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        command.stdout.close()
        said = command.stderr.read()
    assert command.returncode == -signal.SIGPIPE and said == ""
