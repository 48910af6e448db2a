"""Lines of a job's log."""

import os
import sys

from consomme.common import log


def test_a_job_goes_on_without_a_reader_of_its_log(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stderr", os.fdopen(writer, "w"))
    log.say("one")
    log.say("two")
