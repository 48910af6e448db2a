"""Size of a report's page, and the time to make it once scores and comparisons are there:
python bench/report.py [--rounds 3]

Results are made up: speech recognisers of which most are runs of one sweep, two development and two test sets of 200 rows,
500 lines of progress a training. Both are measured in this process, after a first round that imports the libraries, by
processor time, which other jobs of the machine change less than the clock."""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row, Run, compared, report

from consomme.data.generate.spoken_numbers import ONES

ROWS, STEPS, RATE = 200, 500, 16000
SETS = ("clean", "noisy")
# models, of which runs -> bars: seconds, MB
SIZES = {(46, 16): (2.0, 5.0), (200, 160): (5.0, 20.0)}


def corpus(folder: Path, name: str, seed: int) -> list[str]:
    """A prepared corpus of random numbers, spoken as noise. Returns its texts."""
    from consomme.common.files import write_json
    from consomme.data.prepared import Writer

    rng, noise = random.Random(seed), np.random.default_rng(seed)
    folder.mkdir(parents=True)
    texts = [" ".join(rng.choices(ONES, k=rng.randint(4, 14))) for _ in range(ROWS)]
    with Writer(folder / "rows.arrow", "asr") as writer:
        for i, text in enumerate(texts):
            audio = (1000 * noise.standard_normal(2 * RATE)).astype(np.int16)
            row = {"id": f"{name}-{i}", "speaker": f"s{i % 40}", "document": None, "recordings": [], "seconds": 2.0}
            writer.add(row | {"text": text, "audio_hash": f"{name}{i}", "audio": audio})
    about = {
        "task": "asr",
        "name": name,
        "fingerprint": name,
        "rows": ROWS,
        "seconds": 2.0 * ROWS,
        "sampling_rate": RATE,
    }
    write_json(folder / "prepared.json", about | {"read": ROWS, "skipped": {}, "version": 1})
    return texts


def results(root: Path, models: int, runs: int) -> dict[str, Any]:
    """Results of that many models, below `root`. Returns the report's spec, whose paths are relative to it."""
    corpora = {f"{s}-{split}": f"data/{s}-{split}" for split in ("dev", "test") for s in SETS}
    texts = {name: corpus(root / folder, name, n) for n, (name, folder) in enumerate(corpora.items())}
    sets = {split: {s: [f"{s}-{split}"] for s in SETS} for split in ("dev", "test")}
    names = ["base", *(f"tuned/learning_rate={n}e-05" for n in range(1, runs + 1))]
    names += [f"soup-{n}" for n in range(models - len(names))]
    found = [model(root, name, n, texts, names[1 : runs + 1]) for n, name in enumerate(names)]
    claims = [{"model": "soup-0", "hypothesis": "beats", "against": "base", "on": s, "metric": "wer"} for s in SETS]
    return {
        "experiment": "made-up", "task": "asr", "languages": ["en"], "metric": "wer", "metrics": ["wer", "cer"],
        "normaliser": "basic", "decoding_digest": "d", "replicates": [""], "sets": {"": sets}, "train": {"": {}},
        "models": found, "claims": claims, "corpora": corpora, "landscapes": [],
    }  # fmt: skip


def model(root: Path, name: str, number: int, texts: dict[str, list[str]], runs: list[str]) -> dict[str, Any]:
    """One model's record, curve and hypotheses."""
    rng = random.Random(number)
    node, _, run = name.partition("/")
    verb = "start" if name == "base" else "train" if run else "average"
    folder, place = root / f"models/{number}", root / f"hypotheses/{number}"
    folder.mkdir(parents=True)
    settings = {f"setting_{n}": n for n in range(50)}
    (folder / "provenance.json").write_text(
        json.dumps({"verb": verb, "settings": settings, "versions": {"torch": "2"}})
    )
    if run:
        lines = [{"step": n, "loss": 3 / n + rng.random(), "learning_rate": 1e-4 / n} for n in range(1, STEPS + 1)]
        (folder / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    entries = []
    for corpus_name, said in texts.items():
        name_of_set, _, split = corpus_name.partition("-")
        path = place / f"{corpus_name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = (
            {"id": f"{corpus_name}-{i}", "reference": text}
            | {"hypothesis": " ".join(rng.choice(ONES) if rng.random() < 0.2 else w for w in text.split())}
            for i, text in enumerate(said)
        )
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        entry = {"split": split, "set": name_of_set, "decoding": "d", "path": str(path.relative_to(root)), "n": ROWS}
        entries.append(entry | {"corpora": [corpus_name], "fingerprint": corpus_name})
    (place / "index.json").write_text(json.dumps({"sets": entries}))
    return {
        "name": name, "node": node, "run": run or None, "verb": verb, "replicate": "", "digest": f"{number:012x}",
        "folder": f"models/{number}", "evaluation": f"hypotheses/{number}/index.json",
        "parents": [] if name == "base" else ["base"] if run else runs, "swept": {"learning_rate": run} if run else {},
    }  # fmt: skip


def measured(models: int, runs: int, rounds: int) -> tuple[list[Run], float]:
    """The time of each round, and the page's size in MB."""
    from consomme.report.evidence.claims import compare
    from consomme.report.evidence.questions import declared
    from consomme.report.evidence.scores import scores
    from consomme.report.findings.groups import groups
    from consomme.report.outcomes import Outcomes
    from consomme.report.page.context import context
    from consomme.report.page.render import write_page
    from consomme.results.columns import COSTS
    from consomme.results.frames import frame

    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        spec = results(root, models, runs)
        os.chdir(root)
        outcomes = Outcomes(spec, root / "cache")
        table, comparisons = scores(outcomes), compare(outcomes, declared(outcomes))
        grouped = groups(outcomes)
        found = []
        for _ in range(rounds + 1):
            began = time.process_time()
            # what a report keeps in memory from the scores is there, as it is in a report
            write_page(
                root / "report.html", context(outcomes, table, comparisons, frame(COSTS), grouped), root / "cache"
            )
            found.append(Run(time.process_time() - began, 0.0, 0.0))
        os.chdir("/")
        return found[1:], (root / "report.html").stat().st_size / 1e6


def main() -> None:
    """Measure, print, write results/bench/report.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    out, rows = Path("results/bench/report.json").resolve(), []
    for (models, runs), (seconds, megabytes) in SIZES.items():
        found, size = measured(models, runs, given.rounds)
        name = f"{models} models, of which {runs} runs"
        rows.append(compared(f"{name}: time, against its bar", found, [Run(seconds, 0.0, 0.0)] * len(found), 1.0))
        rows.append(Row(f"{name}: size, against its bar", size, megabytes, size / megabytes, size / megabytes, "MB", 1.0, size <= megabytes))  # fmt: skip
    report(rows, out)


if __name__ == "__main__":
    main()
