"""How long a plan of many trainings takes, and how much memory: python bench/scale.py [--runs 1000 5000] [--rounds 3]

For each size a configuration with that many trainings in sweeps of a thousand, learning rates by seeds, from a translator of random
weights; with their best, their mean, a greedy soup, a pruned soup and a claim, all scored. Nothing is trained:

- plan: `consomme plan`
- dry run: `snakemake --dry-run` in an empty folder, where every job is to be done
- nothing to do: the same where all files are there. They are empty, but for the prepared corpora and what Snakemake reads

Seconds are the medians of whole processes, memory the largest resident peak of one process."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from measure import Run, timed

CLONE = Path(__file__).resolve().parents[1]
SEEDS, LARGEST = 10, 1000  # of a sweep: seeds, and runs
GOALS = {  # runs: seconds of plan, dry run and nothing to do; MiB
    1000: (1.0, 5.0, 5.0, None),
    5000: (5.0, 30.0, None, 1024.0),
}
SIZES = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}


def configuration(runs: int, folder: Path) -> Path:
    """A configuration with `runs` trainings, and its corpora, in `folder`."""
    for corpus in ("train", "dev", "test"):
        for language in ("en", "fr"):
            lines = "".join(f"{corpus} sentence {n} in {language}\n" for n in range(20))
            (folder / f"{corpus}.{language}").write_text(lines, encoding="utf-8")
    models: dict[str, Any] = {
        "base": {"from": {"scratch": {"family": "marian", **SIZES, **HEADS}, "tokenizer": {"vocab_size": 120}}}
    }
    sweeps = [f"tuned-{n}" for n in range(1, -(-runs // LARGEST) + 1)]
    for n, sweep in enumerate(sweeps, 1):
        rates = [round(1e-5 * (1 + step / 100), 9) for step in range(min(runs, LARGEST) // SEEDS)]
        grid = {"learning_rate": rates, "seed": [*range(1, SEEDS + 1)]}
        models[sweep] = {"train": "base", "max_steps": 10 * n, "sweep": {"grid": grid}}
    models |= {
        "mean": {"average": sweeps},
        "soup": {"average": sweeps, "method": "greedy"},
        "small": {"prune": "soup", "layers": {"encoder": {"drop": "1/2", "by": "uniform"}}},
    }
    experiment = {
        "task": "nmt",
        "languages": ["en", "fr"],
        "data": {"train": "train", "dev": {"general": "dev"}, "test": {"general": "test"}},
        "models": models,
        "claims": [{"model": "soup", "beats": f"{sweeps[0]}/best", "on": "general"}],
    }
    corpora = {name: {"source": "parallel", "path": name} for name in ("train", "dev", "test")}
    path = folder / "many.yaml"
    whole = {"data_root": str(folder), "corpora": corpora, "experiments": {"many": experiment}}
    path.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    return path


def snakemake(config: Path, *more: str) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(CLONE / "Snakefile")]
    return [*command, "--profile", str(CLONE / "profiles/local"), "--configfile", str(config), *more]


def fill(config: Path, place: Path) -> None:
    """Prepare the corpora and make an empty file of every other output. RuntimeError if something is left to do then."""
    subprocess.run(snakemake(config, "--quiet", "all", "--", "corpora"), cwd=place, check=True, capture_output=True)
    listed = subprocess.run(snakemake(config, "--summary"), cwd=place, check=True, capture_output=True, text=True)
    header, *rows = (line.split("\t") for line in listed.stdout.splitlines() if "\t" in line)
    at, now = header.index("output_file"), time.time()
    for row in rows:
        path = place / row[at]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (now, now))  # inputs and outputs of one moment: nothing is newer than what is made of it
    looked = subprocess.run(snakemake(config, "--dry-run"), cwd=place, check=True, capture_output=True, text=True)
    if "Nothing to be done" not in looked.stdout + looked.stderr:
        raise RuntimeError(f"something is left to do:\n{(looked.stdout + looked.stderr)[-1000:]}")


def measured(runs: int, rounds: int) -> dict[str, list[Run]]:
    """What -> its runs, each a whole process, for a configuration with so many trainings."""
    found: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        config = configuration(runs, place)
        plan, dry = (
            [sys.executable, "-m", "consomme", "plan", str(config)],
            snakemake(config, "--dry-run", "--quiet", "all"),
        )
        found["plan"] = [timed(plan, place) for _ in range(rounds)]
        found["dry run"] = [timed(dry, place) for _ in range(rounds)]
        fill(config, place)
        found["nothing to do"] = [timed(dry, place) for _ in range(rounds)]
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[*GOALS])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python compiles this package once, not at every start
    print("| trainings | | seconds | goal | MiB | goal |\n| ---: | --- | ---: | ---: | ---: | ---: |")
    for runs in given.runs:
        *seconds, memory = GOALS.get(runs, (None,) * 4)
        for (what, found), goal in zip(measured(runs, given.rounds).items(), seconds, strict=True):
            each, peak = statistics.median(run.seconds for run in found), max(run.resident for run in found)
            goals = ("" if goal is None else f"{goal:g}", "" if memory is None else f"{memory:g}")
            print(f"| {runs} | {what} | {each:.1f} | {goals[0]} | {peak:.0f} | {goals[1]} |", flush=True)


if __name__ == "__main__":
    main()
