"""What preparing and reading corpora costs: python bench/data.py --speech TABLE --model WHISPER [--rows 1000] [--pairs 1000000]

speech: a .tsv with the columns audio and text, of which the first rows are taken; also as wav, flac and mp3 written from them, and as
one tar file of shards. For each way to keep audio, an hour of it:

- prepare: seconds of processor time of `python -m consomme.data` with one thread
- disk: bytes of rows.arrow, and of the features of the Whisper model where these are kept
- samples: seconds of one core until all waveforms have been read, in random order
- features: the same for the model's input: from its file, or computed

text: wall time and peak memory of preparing pairs of made-up sentences with one thread.

Every figure is the median of --rounds; all processes run one after the other."""

from __future__ import annotations

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from measure import timed

WAYS = ("samples", "flac", "in_place")
FORMATS = ("wav", "flac", "mp3")


def settings(corpus: dict[str, Any], task: str, languages: Sequence[str]) -> str:
    """What `consomme.data` is told of a corpus."""
    spec = {"task": task, "languages": list(languages), "label": {"corpus": "bench"}, "corpus": corpus, "inputs": []}
    return json.dumps(spec)


def prepare(corpus: dict[str, Any], folder: Path, task: str = "asr", languages: Sequence[str] = ("en",)) -> list[str]:
    """The command that prepares a corpus in `folder`."""
    command = [sys.executable, "-m", "consomme.data", "--spec", settings(corpus, task, languages), "--threads", "1"]
    return [*command, "--out", str(folder / "prepared"), "--state", str(folder / "state")]


def processor_seconds(command: Sequence[str]) -> float:
    """Processor time of a command and of what it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def spent(work: Callable[[], object]) -> float:
    """Processor time of some work in this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


# -- corpora ------------------------------------------------------------------------------------------------------------
def corpora(table: Path, rows: int, folder: Path) -> dict[str, dict[str, Any]]:
    """The same recordings as they came, in other formats, and in a tar file: name -> a corpus."""
    with open(table, encoding="utf-8", newline="") as stream:
        found = [row for row, _ in zip(csv.DictReader(stream, delimiter="\t"), range(rows), strict=False)]
    files = [table.parent / row["audio"] for row in found]
    made = {files[0].suffix[1:]: listed(files, found, folder / "given.tsv")}
    for kind in FORMATS:
        (folder / kind).mkdir()
        for n, file in enumerate(files):
            samples, rate = soundfile.read(file, dtype="int16")
            soundfile.write(folder / kind / f"{n}.{kind}", samples, rate)
        made[kind] = listed([folder / kind / f"{n}.{kind}" for n in range(len(files))], found, folder / f"{kind}.tsv")
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for n, (file, row) in enumerate(zip(files, found, strict=True)):
            (folder / "text").write_text(row["text"], encoding="utf-8")
            tar.add(file, f"{n}{file.suffix}")
            tar.add(folder / "text", f"{n}.txt")
    made[f"{files[0].suffix[1:]} in a tar file"] = {"source": "shards", "path": str(folder / "shard.tar")}
    return made


def listed(files: Sequence[Path], rows: Sequence[dict[str, str]], table: Path) -> dict[str, Any]:
    """A table of recordings as a corpus."""
    lines = [f"{file.resolve()}\t{row['text']}\n" for file, row in zip(files, rows, strict=True)]
    table.write_text("audio\ttext\n" + "".join(lines), encoding="utf-8")
    return {"source": "manifest", "path": str(table)}


# -- measures -----------------------------------------------------------------------------------------------------------
def speech(corpus: dict[str, Any], way: str, model: Path, rounds: int) -> dict[str, float]:
    """The medians of the figures of one corpus kept in one way, of an hour of its audio."""
    measured: dict[str, list[float]] = {}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as place:
            for name, value in once({**corpus, "keep_audio": way}, model, number, Path(place)).items():
                measured.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in measured.items()}


def once(corpus: dict[str, Any], model: Path, seed: int, folder: Path) -> dict[str, float]:
    """The figures of one round."""
    from consomme.data.features import features_of
    from consomme.data.prepared import Rows
    from consomme.families import family_named

    family, cache = family_named("whisper"), folder / "cache"
    processor = family.processor(model)
    found = {"prepare": processor_seconds(prepare(corpus, folder))}
    rows = Rows.open([folder / "prepared"])
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    found["samples"] = spent(lambda: [rows.audio(i) for i in order])
    features_of(family, processor, rows, cache, "bench", ["en"])  # those that are kept are made here
    inputs = features_of(family, processor, rows, cache, "bench", ["en"])
    found["features"] = spent(lambda: [np.array(inputs[i]) for i in order])
    found["audio on disk"] = (folder / "prepared" / "rows.arrow").stat().st_size / 1e6
    found["features on disk"] = sum(f.stat().st_size for f in cache.rglob("*") if f.is_file()) / 1e6
    return {name: value / (rows.seconds.sum() / 3600) for name, value in found.items()}


def text(pairs: int, rounds: int) -> tuple[float, float]:
    """Seconds and MiB of preparing so many pairs."""
    words = [f"word{n}" for n in range(5000)]
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for language in ("en", "fr"):
            with open(folder / f"pairs.{language}", "w", encoding="utf-8") as stream:
                for length in generator.integers(5, 30, pairs):
                    stream.write(" ".join(words[n] for n in generator.integers(0, len(words), length)) + "\n")
        corpus = {"source": "parallel", "path": str(folder / "pairs")}
        runs = [timed(prepare(corpus, folder / str(n), "nmt", ("en", "fr"))) for n in range(rounds)]
    return statistics.median(r.seconds for r in runs), max(r.resident for r in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, help="a .tsv with the columns audio and text")
    parser.add_argument("--model", type=Path, help="a folder of a Whisper model")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.speech:
        names = ("prepare", "audio on disk", "features on disk", "samples", "features")
        print("| recordings | kept as | prepare, s | audio, MB | features, MB | samples, s | features, s |")
        print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
        with tempfile.TemporaryDirectory() as place:
            for name, corpus in corpora(given.speech, given.rows, Path(place)).items():
                for way in WAYS:
                    found = speech(corpus, way, given.model, given.rounds)
                    print(f"| {name} | `{way}` | {' | '.join(f'{found[n]:.2f}' for n in names)} |", flush=True)
    if given.pairs:
        seconds, memory = text(given.pairs, given.rounds)
        print(f"\n{given.pairs:,} pairs: {seconds:.1f} s, {memory:.0f} MiB")


if __name__ == "__main__":
    main()
