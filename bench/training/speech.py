"""Utterances per second against transformers' speech script, and against a loop over lhotse."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from training import watch
from training.table import Line, line
from training.workbench import BATCH, GROUPED, PRECISIONS, SHIPPED, Bench, corpus_of, model_of, peak, utterances

# whisper-tiny, with random weights
TINY = {
    "window": 30,
    "d_model": 384,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_ffn_dim": 1536,
    "max_target_positions": 448,
    "dropout": 0.0,
}
VOCABULARY = 51865
CLIPS = 1600
SPEECH_STEPS, START = 40, 4  # of ours: steps in all, and first ones that do not count
PEER_STEPS = 4  # the first of them does not count
SPEECH_BARS = {"fixed": {"float32": 10, "bfloat16": 5}, "filled": {"float32": 13, "bfloat16": 6.5}}


def tiny(folder: Path, scratch: Mapping[str, Any], vocabulary: int | None) -> Path:
    """A Whisper with random weights and a token for each word of the corpus, nearly as in the real one. Embedding and head
    have `vocabulary` rows."""
    import random

    from consomme.data.generate.spoken_numbers import sentence
    from consomme.families import family_named, load
    from consomme.families.settings import quiet

    if folder.exists():
        return folder
    rng = random.Random(0)
    said = [sentence(rng) for _ in range(2000)]
    new = folder.with_name("new")
    shutil.rmtree(new, ignore_errors=True)
    family_named("whisper").create(new, scratch, {"vocab_size": 1000}, lambda: iter(said), ["en"], 0)
    if vocabulary:
        quiet()
        model = load(new)
        model.resize_token_embeddings(vocabulary, mean_resizing=False)
        model.save_pretrained(new)
    new.rename(folder)
    return folder


def speech_plan(bench: Bench, nodes: Mapping[str, Mapping[str, Any]]) -> Any:
    """Clips of 1 to 8 s, joined from generated utterances, and `nodes` trained on them."""
    model = tiny(bench.place / "tiny", TINY, None if bench.smoke else VOCABULARY)
    clips = {
        "source": "generated",
        "generator": "spoken-numbers",
        "domain": "clean",
        "size": 64 if bench.smoke else CLIPS,
        "join": {"length": [1, 4], "gap": [0, 0.3], "uses": 3},
        "min_seconds": 1,
        "max_seconds": 8,
        "limit": 48 if bench.smoke else CLIPS,
    }
    shared = {
        "train": "untrained",
        "max_steps": 6 if bench.smoke else SPEECH_STEPS,
        "learning_rate": 5e-5,
        "lr_scheduler_type": "linear",
    }
    config = {
        "corpora": {"clips": clips, "dev": {**clips, "split": "dev", "size": 60, "limit": 8}},
        "experiments": {
            "speech": {
                "task": "asr",
                "languages": ["en"],
                "data": {"train": "clips", "dev": {"d": "dev"}},
                "models": {
                    "untrained": {"from": {"folder": str(model)}},
                    **{name: {**shared, **settings} for name, settings in nodes.items()},
                },
            }
        },
    }
    return bench.prepare(config, "speech/untrained")


def about(plan: Any, bench: Bench) -> None:
    """Print number and lengths of the clips."""
    from consomme.data.prepared import Rows

    seconds = Rows.open({"clips": bench.folder(corpus_of(plan, "clips"))}).seconds
    print(
        f"\n{len(seconds)} clips of {seconds.min():.1f} to {seconds.max():.1f} s, mean {seconds.mean():.2f}, "
        f"quartiles {', '.join(f'{q:.1f}' for q in sorted(seconds)[len(seconds) // 4 :: len(seconds) // 4][:3])}\n"
    )


def _padding(steps: watch.Steps) -> float:
    return 1 - watch.share(steps, "filled", "room")


def speech(bench: Bench) -> Iterator[list[Line]]:
    """The same clips, model and number of utterances per batch, or batches filled to the mean seconds of such a batch."""
    short = {"window": "short", "full_windows": 0.0}
    nodes: dict[str, dict[str, Any]] = {}
    for precision in PRECISIONS:
        fixed = {"per_device_train_batch_size": BATCH, "precision": precision}
        nodes |= {
            f"fixed-{precision}": {**short, **fixed},
            f"full-{precision}": {"window": "full", **fixed, "max_steps": PEER_STEPS},
        }
    plan = speech_plan(bench, nodes)
    about(plan, bench)
    from consomme.data.prepared import Rows

    clips = corpus_of(plan, "clips")
    mean, start = float(Rows.open({"c": bench.folder(clips)}).seconds.mean()), 2 if bench.smoke else START
    room = round(BATCH * mean, 1)  # mean seconds of a batch of BATCH clips
    for precision in PRECISIONS:
        nodes[f"filled-{precision}"] = {**short, "batch_seconds": room, "precision": precision}
        nodes[f"grouped-{precision}"] = {**nodes[f"filled-{precision}"], **GROUPED}
    plan = speech_plan(bench, nodes)
    parent = bench.folder(model_of(plan, "untrained"))
    for precision in bench.precisions:
        common = ["--model", parent, "--corpus", bench.folder(clips), "--precision", precision]
        contenders: dict[str, Callable[[], watch.Steps]] = {
            "fixed": lambda p=precision: bench.ours(model_of(plan, f"fixed-{p}"))[0][start:],
            "filled": lambda p=precision: bench.ours(model_of(plan, f"filled-{p}"))[0][start:],
            "grouped": lambda p=precision: bench.ours(model_of(plan, f"grouped-{p}"))[0][start:],
            "full": lambda p=precision: bench.ours(model_of(plan, f"full-{p}"))[0][1:],
            "script": lambda c=common: bench.peer(
                "seq2seq_trainer.py speech", *c, "--batch", BATCH, "--steps", PEER_STEPS, "--rows", BATCH * PEER_STEPS
            )[0][1:],
        }
        if bench.lhotse:
            loop = [*common, "--seconds", room, "--steps", 4 if bench.smoke else 25]
            contenders["lhotse"] = lambda c=loop: bench.peer("lhotse_loop.py", *c)[0][2:]
            contenders["lhotse, fused"] = lambda c=loop: bench.peer("lhotse_loop.py", *c, "--fused")[0][2:]
        found: dict[str, list[watch.Steps]] = {name: [] for name in contenders}
        for _ in range(bench.rounds):
            for name, contender in contenders.items():
                found[name].append(contender())
        rates = {name: [utterances(steps, mean) for steps in found[name]] for name in ("fixed", "filled", "grouped")}
        rates |= {name: [watch.rate(steps) for steps in found[name]] for name in ("full", "script")}
        shipped = [1 / ((1 - SHIPPED) / s + SHIPPED / f) for s, f in zip(rates["fixed"], rates["full"], strict=True)]
        bars = {kind: SPEECH_BARS[kind][precision] for kind in SPEECH_BARS}
        unit = "utterances/s"
        lines = [
            line(
                f"{precision}: {BATCH} clips, short windows, against the script",
                rates["fixed"],
                rates["script"],
                unit,
                "≥",
                bars["fixed"],
            ),
            line(f"{precision}: filled to {room:g} s", rates["filled"], rates["script"], unit, "≥", bars["filled"]),
            line(f"{precision}: filled, of like lengths", rates["grouped"], rates["script"], unit),
            line(f"{precision}: with {SHIPPED:.0%} full windows (reckoned)", shipped, rates["script"], unit),
            line(f"{precision}: full windows only", rates["full"], rates["script"], unit),
        ]
        for peer in [name for name in found if name.startswith("lhotse")]:
            theirs, waste = [watch.rate(s, "seconds") for s in found[peer]], [_padding(s) for s in found[peer]]
            # its batches are of like lengths: compare with ours of like lengths, and show random ones too
            for kind, bar in (("grouped", 1.1 if peer == "lhotse" else None), ("filled", None)):
                what = "of like lengths, " if kind == "grouped" else ""
                name = f"{precision}: filled to {room:g} s, {what}against a loop over {peer}"
                mine = [watch.rate(s, "seconds") for s in found[kind]]
                lines.append(line(name, mine, theirs, "s of audio/s", "≥" if bar else "", bar))
                mine = [_padding(s) for s in found[kind]]
                lines.append(line(f"{precision}: padding, {what}beside {peer}", mine, waste, "of frames"))
        yield lines
        lines = []
        highest = max(peak(bench.threads, precision) for _ in range(bench.rounds))
        for kind in ("fixed", "filled"):
            counted = bench.ours(model_of(plan, f"{kind}-{precision}"), "--flops")[0]
            each = watch.share(counted, "flops", "utterances")
            reached = statistics.median(rates[kind]) * each
            name = f"{precision}: {kind}, share of the matrix peak ({each / 1e9:.1f} GFLOP an utterance)"
            lines.append(Line(name, reached / 1e12, highest / 1e12, reached / highest, "TFLOP/s"))
        yield lines
