"""The search for layers with and without kept states, and half an encoder against the whole:
python bench/pruning.py [--rounds 3] [--utterances 64 114]

An 18-layer CTC encoder of width 64 (config/depth.yaml) with random weights, on generated noise: its outputs are
meaningless, its costs are real. Both searches run in this process on one thread, without cached evaluations, on
development sets with the given numbers of utterances (those of config/depth.yaml have nearly 60)."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row, Run, compared, interleaved, report

LAYERS, DROP = 18, 9
RATE = 16000
SECONDS = (1.5, 3.5)  # of an utterance
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SEARCH, ENCODER = 1 / 1.7, 1 / 1.8  # bars: with kept states / without; half the encoder / the whole
REPEATS = 5  # passes in one timing of the models


def corpus(folder: Path, utterances: int) -> None:
    """Bursts of noise, with words of digits as transcripts."""
    from consomme.common.files import write_json
    from consomme.data.prepared import Writer

    random = np.random.default_rng(1)
    folder.mkdir()
    with Writer(folder / "rows.arrow", "asr") as writer:
        for i in range(utterances):
            seconds = random.uniform(*SECONDS)
            loud = np.repeat(random.uniform(0, 1, int(seconds * 10) + 1), RATE // 10)[: int(seconds * RATE)]
            wave = (random.standard_normal(len(loud)) * loud * 3000).astype(np.int16)
            text = " ".join(random.choice(WORDS, int(seconds * 1.5)))
            row = {
                "id": f"u{i}",
                "speaker": None,
                "document": None,
                "recordings": [],
                "text": text,
                "audio_hash": f"u{i}",
            }
            writer.add({**row, "seconds": len(wave) / RATE, "audio": wave})
    about = {"task": "asr", "name": "dev", "fingerprint": writer.fingerprint(RATE), "rows": writer.rows, "version": 1}
    write_json(folder / "prepared.json", {**about, "sampling_rate": RATE, "seconds": writer.seconds})


def measure(place: Path, sizes: list[int], rounds: int) -> list[Row]:
    """The rows of the table."""
    import torch

    from consomme.common.job import Job
    from consomme.evaluate.judge import Judge
    from consomme.families import family_named, load
    from consomme.families.surgery import keep_layers
    from consomme.prune.choosers.base import Question
    from consomme.prune.choosers.greedy import greedy
    from consomme.prune.replay import LIMIT
    from consomme.prune.search import Search, shared_copy

    torch.set_num_threads(1)
    family, checkpoint = family_named("ctc"), place / "model"
    checkpoint.mkdir()
    settings = {"num_hidden_layers": LAYERS, "hidden_size": 64}
    family.create(checkpoint, settings, {}, lambda: iter([" ".join(WORDS)]), ["en"], seed=1)
    model = load(checkpoint).eval()

    def judge_of(size: int) -> Judge:
        corpus(place / f"dev-{size}", size)
        spec = {"dev": {"dev": ["dev"]}, "languages": ["en"], "metric": "wer", "settings": {}}
        job = Job(spec, {"corpus/dev": place / f"dev-{size}"}, place, place, place / "cache", threads=1, device="cpu")
        return Judge(job, {"model": checkpoint}, "loss")

    found: dict[int, tuple] = {}

    def search(judge: Judge, limit: int) -> Run:
        shutil.rmtree(place / "cache" / "evaluations", ignore_errors=True)
        began = time.perf_counter()
        asked = Search(model, family, "encoder", {}, judge, limit)
        answer = greedy(Question(LAYERS, DROP, objective=asked, near=asked.near))
        seconds = time.perf_counter() - began
        found.setdefault(limit, (answer, [(kept, value) for kept, value, *_ in asked.asked]))
        return Run(seconds, 0, 0)

    rows = []
    for size in sizes:
        judge = judge_of(size)
        found.clear()
        contenders = {"with": partial(search, judge, LIMIT), "without": partial(search, judge, 0)}
        runs = interleaved(contenders, rounds)
        if found[LIMIT] != found[0]:
            raise SystemExit("the searches with and without kept states have different results")
        name = f"greedy search, 18 layers to 9, {size} utterances: with kept states"
        rows.append(compared(name, runs["with"], runs["without"], SEARCH))

    kept = [n for n in range(LAYERS) if n not in found[0][0][0]]
    half = keep_layers(shared_copy(model), family, {"encoder": kept})
    audio = judge.rows_of_set("dev")
    waves = [audio.audio(i) for i in range(min(16, len(audio)))]
    processor = family.processor(checkpoint)
    batch = family.collate(processor, [family.features(processor, w) for w in waves], None)
    with torch.no_grad():
        states, _ = model.wav2vec2_bert.feature_projection(batch["input_features"])

    def layers(one: Any) -> None:
        with torch.no_grad():
            one.wav2vec2_bert.encoder(states.clone(), attention_mask=batch["attention_mask"])

    def whole(one: Any) -> None:
        features = [family.features(processor, wave) for wave in waves]
        family.generate(one, processor, family.collate(processor, features, None), ["en"], {})

    def timed(what: Callable[[Any], None], one: Any, scale: float) -> Run:
        began = time.perf_counter()
        for _ in range(REPEATS):
            what(one)
        return Run((time.perf_counter() - began) / scale, 0, 0)

    for name, what, scale, unit, bar in [
        ("half the layers: the encoder", layers, REPEATS, "s", ENCODER),
        ("half the layers: real-time factor", whole, REPEATS * sum(map(len, waves)) / RATE, "s/s", None),
    ]:
        contenders = {n: lambda one=one: timed(what, one, scale) for n, one in (("half", half), ("whole", model))}  # noqa: B023
        runs = interleaved(contenders, max(rounds, 5))
        row = compared(name, runs["half"], runs["whole"], bar)
        rows.append(Row(**{**row.__dict__, "unit": unit}))
    return rows


def main() -> None:
    """Measure, print the table, write results/bench/pruning.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--utterances", type=int, nargs="+", default=[64, 114])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = measure(Path(place), given.utterances, given.rounds)
    report(rows, Path("results/bench/pruning.json"))


if __name__ == "__main__":
    main()
