"""`python -m consomme.report.pictures CONFIG...`: the graphs of a configuration, before or after a run.

Writes results/dag/EXPERIMENT.svg and .mmd (models, with their scores once there) and results/dag/rules.svg and .mmd
(Snakemake's rule graph). No system package is needed."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from consomme.common.errors import ConsommeError, exit_on_error
from consomme.common.files import write_text
from consomme.plan.items import RESULTS
from consomme.plan.load import read
from consomme.plan.plan import Plan
from consomme.report.charts.dag import graph_of_spec, mermaid, svg, svg_from_dot


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m consomme.report.pictures", description=__doc__.split("\n")[0])
    parser.add_argument("config", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path(RESULTS) / "dag")
    parser.add_argument("--snakefile", type=Path, default=Path("Snakefile"))
    given = parser.parse_args(argv)
    with exit_on_error():
        for path in draw(given.config, given.out, given.snakefile):
            print(path)


def draw(config: list[Path], out: Path, snakefile: Path = Path("Snakefile")) -> list[Path]:
    """Write the pictures into `out`. Returns their paths."""
    written: dict[Path, str] = {}
    for study in Plan(read(config)).studies.values():
        graph = graph_of_spec(study.picture)
        written[out / f"{study.name}.svg"] = svg(graph)
        written[out / f"{study.name}.mmd"] = mermaid(graph)
    written[out / "rules.svg"] = svg_from_dot(_rulegraph(config, snakefile, "dot"))
    written[out / "rules.mmd"] = _rulegraph(config, snakefile, "mermaid-js")
    for path, text in written.items():
        write_text(path, text)
    return list(written)


def _rulegraph(config: list[Path], snakefile: Path, kind: str) -> str:
    """Snakemake's rule graph as text, with finished jobs."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--rulegraph", kind, "--nolock"]
    command += ["--forceall", "--configfile", *map(str, config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConsommeError(f"snakemake --rulegraph: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
