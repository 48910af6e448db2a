"""Snakemake reads configuration files by itself; what it would lose in silence stops the run all the same."""

from __future__ import annotations

import pytest

from .conftest import RECORDINGS

pytestmark = pytest.mark.workflow


def test_a_key_given_twice_stops_the_run(empty):
    lines = RECORDINGS.rstrip().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("    claims:"))
    lines.insert(place, "      mean: {average: tuned, method: greedy}")
    empty.write("\n".join(lines))
    work = empty.run(dry=True, check=False)
    first = next(i for i, line in enumerate(lines, 1) if line.startswith("      mean:"))
    assert f"config.yaml: 'mean' is given twice, in lines {first} and {place + 1}" in work.output
    assert "Traceback" not in work.output and not work.jobs


def test_a_key_given_twice_in_an_overlay_stops_the_run(empty):
    empty.write(RECORDINGS)
    overlay = empty.folder / "more.yaml"
    overlay.write_text("data_root: .\nexperiments: {}\ndata_root: elsewhere\n")
    work = empty.run("--configfile", str(empty.folder / "config.yaml"), str(overlay), dry=True, check=False)
    assert "more.yaml: 'data_root' is given twice, in lines 1 and 3" in work.output and not work.jobs
