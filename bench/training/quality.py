"""Error rates after equal steps, and BLEU after equal tokens; ours with random batches and with batches of like lengths."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from training import watch
from training.table import Line, line
from training.translation import tokens_of, translation_plan
from training.workbench import BATCH, GROUPED, SENTENCES, SHIPPED, Bench, corpus_of, model_of

STEPS = {"speech": 1500, "translation": 1200}


def errors(bench: Bench) -> Iterator[list[Line]]:
    """Digit strings of human recordings; ours in short windows with the script's settings and number of steps. The model
    is small, with a window of 30 s."""
    small = {"encoder_layers": 2, "decoder_layers": 2, "d_model": 96, "encoder_ffn_dim": 384, "decoder_ffn_dim": 384}
    digits = dict(enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")))
    clips = {
        "source": "folder",
        "path": "fsdd/recordings",
        "pattern": "{text}_{speaker}_{index}.wav",
        "texts": digits,
    }
    speakers, steps = {"speaker": ["george", "jackson", "lucas"]}, 20 if bench.smoke else STEPS["speech"]
    join = {"length": [2, 8], "edge": [0.1, 0.3]}
    # one schedule for both; the script's default of 5e-5 is for pretrained models
    train = {"train": "untrained", "max_steps": steps, "learning_rate": 1e-3, "warmup_steps": steps // 10}
    train |= {"lr_scheduler_type": "cosine", "per_device_train_batch_size": BATCH, "window": "short"}
    config = {
        "data_root": str(bench.data.resolve()),
        "corpora": {
            "strings": {**clips, "where": {**speakers, "index": {"from": 20, "to": 49}}, "join": {**join, "uses": 10}},
            "held-out": {**clips, "where": {**speakers, "index": {"from": 0, "to": 19}}, "join": {**join, "uses": 1}},
        },
        "experiments": {
            "quality": {
                "task": "asr",
                "languages": ["en"],
                "metric": "wer",
                "decoding": {"max_new_tokens": 40},
                "data": {"train": "strings", "dev": {"d": "held-out"}},
                "models": {
                    "untrained": {"from": {"scratch": {"family": "whisper", "window": 30, "init_std": 0.1, **small}}},
                    "short": {**train, "full_windows": 0.0},
                    "shipped": train,
                    "grouped": {**train, "full_windows": 0.0, **GROUPED},
                },
            }
        },
    }
    plan = bench.prepare(config, "quality/untrained")
    found: dict[str, float] = {}
    spent: dict[str, float] = {}
    for name in ("short", "shipped", "grouped"):
        steps_, _ = bench.ours(model_of(plan, name))
        spent[name] = steps_[-1]["ended"] - steps_[0]["began"]
        for window in ("short", "full"):
            found[f"{name}, {window}"] = bench.scored(plan, "short", bench.place / "run/model", "wer", window)
    arguments = ["--model", bench.folder(model_of(plan, "untrained")), "--schedule", "cosine", "--learning-rate", 1e-3]
    arguments += ["--corpus", bench.folder(corpus_of(plan, "strings")), "--batch", BATCH, "--rows", 10**6]
    arguments += ["--steps", steps, "--warmup-steps", steps // 10, "--out", bench.place / "peer"]
    steps_, _ = bench.peer("seq2seq_trainer.py speech", *arguments)
    spent["script"] = steps_[-1]["ended"] - steps_[0]["began"]
    theirs = bench.scored(plan, "short", bench.place / "peer", "wer", "full")
    unit, after = "% WER", f"after {steps} steps of {BATCH}"
    yield [
        line(f"{after}: short windows, against the script in 30 s", found["short, short"], theirs, unit, "≤", 1),
        line("the same in the stock 30 s", found["short, full"], theirs, unit),
        line(f"with {SHIPPED:.0%} full windows: short windows", found["shipped, short"], theirs, unit),
        line("the same in the stock 30 s", found["shipped, full"], theirs, unit),
        line("short windows, batches of like lengths", found["grouped, short"], theirs, unit),
        line("time of the steps, short windows", spent["short"], spent["script"], "s"),
        line("time of the steps, batches of like lengths", spent["grouped"], spent["script"], "s"),
        line(f"time of the steps, {SHIPPED:.0%} full windows", spent["shipped"], spent["script"], "s"),
    ]


def bleu(bench: Bench) -> Iterator[list[Line]]:
    """BLEU of both after about the same number of target tokens."""
    longer, _ = tokens_of(bench, translation_plan(bench, {}))
    steps = 20 if bench.smoke else STEPS["translation"]
    settings = {"max_steps": steps, "batch_tokens": round(SENTENCES * longer), "learning_rate": 1e-3}
    settings |= {"warmup_steps": steps // 10, "lr_scheduler_type": "cosine"}
    plan = translation_plan(bench, {"filled": settings, "grouped": {**settings, **GROUPED}})
    found: dict[str, float] = {}
    trained: dict[str, watch.Steps] = {}
    for name in ("filled", "grouped"):
        trained[name], _ = bench.ours(model_of(plan, name))
        found[name] = bench.scored(plan, name, bench.place / "run/model", "bleu")
    ours = trained["filled"]
    arguments = ["--model", bench.folder(model_of(plan, "untrained")), "--schedule", "cosine", "--learning-rate", 1e-3]
    arguments += ["--corpus", bench.folder(corpus_of(plan, "pairs")), "--languages", "en", "fr", "--batch", SENTENCES]
    # equal tokens, not steps: the last batch of an epoch is short
    wanted, each = sum(step["tokens"] for step in ours), 0.0
    trial, _ = bench.peer("seq2seq_trainer.py text", *arguments, "--steps", 20)
    each = statistics.mean(step["tokens"] for step in trial)
    arguments += ["--steps", round(wanted / each), "--warmup-steps", round(wanted / each) // 10]
    peer, _ = bench.peer("seq2seq_trainer.py text", *arguments, "--out", bench.place / "peer")
    theirs = bench.scored(plan, "filled", bench.place / "peer", "bleu")
    seen = sum(step["tokens"] for step in peer)
    yield [
        line(f"BLEU after {wanted / 1e6:.2f} M target tokens", found["filled"], theirs, "BLEU", "≥", 1),
        line("batches of like lengths", found["grouped"], theirs, "BLEU"),
        line("target tokens seen", wanted, seen, "tokens"),
        line("target tokens a second", watch.rate(ours, "tokens"), watch.rate(peer, "tokens"), "tokens/s", "≥", 2),
        line(
            "batches of like lengths",
            watch.rate(trained["grouped"], "tokens"),
            watch.rate(peer, "tokens"),
            "tokens/s",
        ),
    ]
