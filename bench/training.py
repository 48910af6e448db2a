"""Training beside its peers: python bench/training.py [--rounds 3] [SECTION...]

speech: against transformers' own speech script, the same model, clips, batch; translation: against its translation
script; padding: what batches waste, and how long a step waits for its batch; memory: its peak by batch size; sweep: what
16 runs take beside their own compute. quality, which has to be asked for, trains until error rates mean something.

Each training is a process of its own, watched step by step; contenders take turns, and start-up never counts."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import watch
import yaml
from measure import Run, timed

HERE = Path(__file__).parent.resolve()
REPOSITORY = HERE.parent
OUT = Path("results/bench/training.json")

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
SIDES = {"encoder_layers": 3, "decoder_layers": 3, "d_model": 256, "encoder_ffn_dim": 1024, "decoder_ffn_dim": 1024}
CLIPS = 1600
SPEECH_STEPS, START = 40, 4  # of ours, and how many of them do not count
BATCH, SENTENCES = 16, 64
PRECISIONS = ("float32", "bfloat16")
PEER_STEPS = 4  # the first of them does not count
SPEECH_BARS = {"fixed": {"float32": 10, "bfloat16": 5}, "filled": {"float32": 13, "bfloat16": 6.5}}
SHIPPED = 0.05  # share of full windows where none is given
SIZES = (4, 8, 16, 32)
STEPS = {"speech": 1500, "translation": 1200}  # of the section quality
RATES = (1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 7e-4, 1e-3, 1.5e-3)  # of the sweep, each with SpecAugment and without


@dataclass(frozen=True)
class Line:
    """One line of the table. ratio: ours / peer, the median over the rounds; bar: what `judged` must reach ("≥") or may
    reach ("≤"), where `judged` is the ratio or, without a peer, ours."""

    name: str
    ours: float
    peer: float | None
    ratio: float | None
    unit: str
    sign: str = ""
    bar: float | None = None
    holds: bool | None = None


def line(
    name: str,
    ours: Sequence[float] | float,
    peer: Sequence[float] | float | None,
    unit: str,
    sign: str = "",
    bar: float | None = None,
) -> Line:
    """A line of one value or one a round."""
    mine = [ours] if isinstance(ours, float | int) else list(ours)
    if peer is None:
        ratio, theirs = None, None
    else:
        others = [peer] if isinstance(peer, float | int) else list(peer)
        ratio = statistics.median(o / p for o, p in zip(mine, others, strict=True))
        theirs = statistics.median(others)
    judged = statistics.median(mine) if ratio is None else ratio
    holds = None if bar is None else (judged >= bar if sign == "≥" else judged <= bar)
    return Line(name, statistics.median(mine), theirs, ratio, unit, sign, bar, holds)


def show(lines: Sequence[Line]) -> None:
    """The rows of a Markdown table."""
    for one in lines:
        cells = [f"{value:.3g} {one.unit}".strip() if value is not None else "" for value in (one.ours, one.peer)]
        ratio = "" if one.ratio is None else f"{one.ratio:.3g}"
        bar, holds = "" if one.bar is None else f"{one.sign} {one.bar:g}", {True: "yes", False: "no", None: ""}
        print(f"| {one.name} | {cells[0]} | {cells[1]} | {ratio} | {bar} | {holds[one.holds]} |", flush=True)


@dataclass(frozen=True)
class Bench:
    """Where it runs and how: place: a folder for corpora, models and runs; data: the folder of docs/data.md; lhotse: a
    folder that has lhotse, as `pip install --target` leaves it; smoke: as little as possible, to try the script."""

    place: Path
    rounds: int
    threads: int
    data: Path
    lhotse: Path | None
    smoke: bool
    precisions: Sequence[str] = PRECISIONS

    def prepare(self, config: Mapping[str, Any], *nodes: str) -> Any:
        """Have Snakemake make the corpora, and these nodes ("EXPERIMENT/NODE"); returns the plan."""
        from consomme.plan.plan import Plan

        path = self.place / "config.yaml"
        path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
        with contextlib.chdir(self.place):
            plan = Plan(config)
        targets = [c.marker for c in plan.corpora.values()] + [t for node in nodes for t in plan.targets(node)]
        self.snakemake(targets)
        return plan

    def snakemake(self, targets: Sequence[str]) -> float:
        """Make these files of the configuration; returns the seconds."""
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")),
            *("--profile", str(REPOSITORY / "profiles/local"), "--cores", str(self.threads)),
            *("--directory", str(self.place), "--configfile", str(self.place / "config.yaml"), "--", *targets),
        ]
        return timed(command).seconds

    def ours(self, model: Any, *options: str) -> tuple[watch.Steps, Run]:
        """Train a model of the plan, from nothing."""
        out, record = self.place / "run", self.place / "record.json"
        shutil.rmtree(out, ignore_errors=True)
        command = [
            *(sys.executable, str(HERE / "ours.py"), str(record), *options, "--spec", model.spec),
            *("--inputs", *model.inputs.values(), "--out", str(out / "model"), "--state", str(out / "state")),
            *("--threads", str(self.threads), "--device", "cpu"),
        ]
        run = timed(command, self.place)
        return watch.read(record), run

    def peer(self, script: str, *arguments: Any) -> tuple[watch.Steps, Run]:
        """Train with a script beside this one."""
        record = self.place / "record.json"
        script_, *task = script.split()
        command = [sys.executable, str(HERE / script_), *task, str(record), *map(str, arguments)]
        run = timed([*command, "--threads", str(self.threads)], self.place)
        return watch.read(record), run

    def scored(self, plan: Any, node: str, model: Path, metric: str, window: str | None = None) -> float:
        """The metric of the model in a folder on the development set of `node`, Whisper's in the window given."""
        from consomme.evaluate.metrics import metric_named

        evaluation = next(e for e in plan.evaluations.values() if e.model.name == node)
        spec, out = json.loads(evaluation.spec), self.place / "scores/index.json"
        spec["decoding"]["window"] = window
        shutil.rmtree(out.parent, ignore_errors=True)
        inputs = [str(model), *(c.marker for c in evaluation.corpora.values())]
        command = [sys.executable, "-m", "consomme.evaluate", "--spec", json.dumps(spec), "--inputs", *inputs]
        timed([*command, "--out", str(out), "--threads", str(self.threads), "--device", "cpu"], self.place)
        entry = next(e for e in json.loads(out.read_text())["sets"] if e["split"] == "dev")
        rows = [json.loads(row) for row in (self.place / entry["path"]).read_text(encoding="utf-8").splitlines()]
        said = [[row[side] for row in rows] for side in ("reference", "hypothesis")]
        kind = metric_named(metric)
        return float(kind.value(kind.statistics(*said, spec["normaliser"]).sum(axis=0)))

    def folder(self, item: Any) -> Path:
        """Where a corpus or a model of the plan lies."""
        return self.place / item.folder


def model_of(plan: Any, name: str) -> Any:
    """The model NODE or NODE/RUN of a plan with one experiment."""
    return next(m for m in plan.models.values() if m.name == name)


def corpus_of(plan: Any, name: str) -> Any:
    return next(c for c in plan.corpora.values() if c.name == name)


def utterances(steps: watch.Steps, mean: float) -> float:
    """Utterances a second of clips of `mean` seconds: batches of like lengths are so different that what some of them
    hold by chance would say more than what they took, so the audio is counted."""
    return watch.rate(steps, "seconds") / mean


def peak(threads: int, precision: str) -> float:
    """FLOP/s of the fastest product of two matrices, in a process of its own."""
    code = (
        "import sys, time, torch; torch.set_num_threads(int(sys.argv[1])); best = 0\n"
        "for n in (1024, 1536, 2048):\n"
        f"    a, b = torch.randn(n, n).to(torch.{precision}), torch.randn(n, n).to(torch.{precision})\n"
        "    for _ in range(8):\n"
        "        t = time.perf_counter(); torch.mm(a, b); best = max(best, 2 * n**3 / (time.perf_counter() - t))\n"
        "open(sys.argv[2], 'w').write(str(best))"
    )
    with tempfile.TemporaryDirectory() as place:
        timed([sys.executable, "-c", code, str(threads), f"{place}/peak"])
        return float(Path(f"{place}/peak").read_text())


# -- speech --------------------------------------------------------------------------------------------------------------
def tiny(folder: Path, scratch: Mapping[str, Any], vocabulary: int | None) -> Path:
    """A Whisper of random weights with a token for each of the corpus's words, as the real one has nearly; its tables
    are of `vocabulary` pieces."""
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
    """Clips of 1 to 8 s, joined from generated utterances, and `nodes` that train on them."""
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
    """What the clips are."""
    from consomme.data.prepared import Rows

    seconds = Rows.open({"clips": bench.folder(corpus_of(plan, "clips"))}).seconds
    print(
        f"\n{len(seconds)} clips of {seconds.min():.1f} to {seconds.max():.1f} s, mean {seconds.mean():.2f}, "
        f"quartiles {', '.join(f'{q:.1f}' for q in sorted(seconds)[len(seconds) // 4 :: len(seconds) // 4][:3])}\n"
    )


def speech(bench: Bench) -> Iterator[list[Line]]:
    """The same clips, model and batch in utterances, or batches filled with as many seconds as those have on average."""
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
    room = round(BATCH * mean, 1)  # as many seconds as a batch of so many clips has
    for precision in PRECISIONS:
        nodes[f"filled-{precision}"] = {**short, "batch_seconds": room, "precision": precision}
    plan = speech_plan(bench, nodes)
    parent = bench.folder(model_of(plan, "untrained"))
    for precision in bench.precisions:
        common = ["--model", parent, "--corpus", bench.folder(clips), "--precision", precision]
        contenders: dict[str, Callable[[], watch.Steps]] = {
            "fixed": lambda p=precision: bench.ours(model_of(plan, f"fixed-{p}"))[0][start:],
            "filled": lambda p=precision: bench.ours(model_of(plan, f"filled-{p}"))[0][start:],
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
        rates = {name: [utterances(steps, mean) for steps in found[name]] for name in ("fixed", "filled")}
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
            line(f"{precision}: with {SHIPPED:.0%} full windows (reckoned)", shipped, rates["script"], unit),
            line(f"{precision}: full windows only", rates["full"], rates["script"], unit),
        ]
        for peer in [name for name in found if name.startswith("lhotse")]:
            name = f"{precision}: filled to {room:g} s, against a loop over {peer}"
            mine, theirs = ([watch.rate(s, "seconds") for s in found[k]] for k in ("filled", peer))
            lines.append(line(name, mine, theirs, "s of audio/s", "≥", 1.1 if peer == "lhotse" else None))
            theirs = [1 - watch.share(s, "filled", "room") for s in found[peer]]
            mine = [1 - watch.share(s, "filled", "room") for s in found["filled"]]
            lines.append(line(f"{precision}: padding beside {peer}", mine, theirs, "of frames"))
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


# -- translation -----------------------------------------------------------------------------------------------------------
def translation_plan(bench: Bench, nodes: Mapping[str, Mapping[str, Any]]) -> Any:
    """Everyday sentences of Tatoeba, and `nodes` that train on them."""
    pairs = {"source": "parallel", "path": "english-french/tatoeba.train", "max_characters": 200}
    if bench.smoke:
        pairs["limit"] = 512
    dev = {"source": "parallel", "path": "english-french/tatoeba.dev", "limit": 400}
    if not (bench.data / "english-french/tatoeba.train.en").is_file():
        raise SystemExit(f"{bench.data}: no english-french/tatoeba.train.en there; docs/data.md says where to get it")
    config = {
        "data_root": str(bench.data.resolve()),
        "corpora": {"pairs": pairs, "dev": dev},
        "experiments": {
            "translation": {
                "task": "nmt",
                "languages": ["en", "fr"],
                "metric": "bleu",
                "decoding": {"max_new_tokens": 60},
                "data": {"train": "pairs", "dev": {"d": "dev"}},
                "models": {
                    "untrained": {
                        "from": {"scratch": {"family": "marian", **SIDES}, "tokenizer": {"vocab_size": 4000}}
                    },
                    **{name: {"train": "untrained", **settings} for name, settings in nodes.items()},
                },
            }
        },
    }
    return bench.prepare(config, "translation/untrained")


def tokens_of(bench: Bench, plan: Any) -> tuple[float, float]:
    """The mean length in tokens of a pair's longer side, and of its target."""
    from consomme.data.prepared import Rows
    from consomme.families import family_of

    place = bench.folder(model_of(plan, "untrained"))
    family, rows = family_of(place), Rows.open({"pairs": bench.folder(corpus_of(plan, "pairs"))})
    processor = family.processor(place, ["en", "fr"])
    sources = [len(family.features(processor, text)) for text in rows.sources]
    targets = [len(family.labels(processor, text, ["en", "fr"])) for text in rows.targets]
    return statistics.mean(map(max, sources, targets)), statistics.mean(targets)


def translation(bench: Bench) -> Iterator[list[Line]]:
    """Batches of so many sentences in random order against batches filled with about as many tokens."""
    longer, target = tokens_of(bench, translation_plan(bench, {}))
    room, steps = round(SENTENCES * longer), 8 if bench.smoke else 60
    print(f"\npairs of {longer:.1f} tokens on the longer side, {target:.1f} of the target; batch_tokens {room}\n")
    nodes = {
        f"{kind}-{precision}": {"max_steps": steps, "precision": precision, **batch}
        for precision in PRECISIONS
        for kind, batch in (
            ("filled", {"batch_tokens": room}),
            ("fixed", {"per_device_train_batch_size": SENTENCES}),
        )
    }
    plan = translation_plan(bench, nodes)
    parent, pairs = bench.folder(model_of(plan, "untrained")), bench.folder(corpus_of(plan, "pairs"))
    for precision in bench.precisions:
        common = ["--model", parent, "--corpus", pairs, "--languages", "en", "fr", "--precision", precision]
        contenders: dict[str, Callable[[], watch.Steps]] = {
            "filled": lambda p=precision: bench.ours(model_of(plan, f"filled-{p}"))[0],
            "fixed": lambda p=precision: bench.ours(model_of(plan, f"fixed-{p}"))[0],
            "script": lambda c=common: bench.peer(
                "seq2seq_trainer.py text", *c, "--batch", SENTENCES, "--steps", steps
            )[0],
        }
        found: dict[str, list[watch.Steps]] = {name: [] for name in contenders}
        for _ in range(bench.rounds):
            for name, contender in contenders.items():
                found[name].append(contender()[steps // 6 :])
        rates = {name: [watch.rate(run, "tokens") for run in runs] for name, runs in found.items()}
        each = {name: statistics.mean(s["tokens"] for run in runs for s in run) for name, runs in found.items()}
        unit, against = "target tokens/s", f"against the script's {SENTENCES} pairs"
        name = f"{precision}: filled to {room} tokens, {against}"
        yield [
            line(name, rates["filled"], rates["script"], unit, "≥", 2 if precision == "float32" else None),
            line(f"{precision}: {SENTENCES} pairs, {against}", rates["fixed"], rates["script"], unit),
            line(f"{precision}: tokens of a filled batch", each["filled"], each["script"], "tokens"),
        ]


# -- padding and loading -----------------------------------------------------------------------------------------------
def padding(bench: Bench) -> Iterator[list[Line]]:
    """Frames that are padding in a whole epoch, and the share of the time that a step waits for its batch."""
    noisy = {"speed": [0.9, 1.0, 1.1], "gain": [-6, 6]}
    short = {"window": "short", "full_windows": 0.0}
    nodes = {
        "fixed": {**short, "per_device_train_batch_size": BATCH},
        "filled": {**short, "batch_seconds": 72.0},
        "augmented": {**short, "per_device_train_batch_size": BATCH, "augment": noisy},
    }
    plan = speech_plan(bench, nodes)
    yield from _waste(bench, plan, "whisper, short windows", nodes)
    plan, nodes = demo_plan(bench, noisy)
    yield from _waste(bench, plan, "ctc of the demo", nodes)
    longer, _ = tokens_of(bench, translation_plan(bench, {}))
    nodes = {
        "fixed": {"max_steps": 175, "per_device_train_batch_size": SENTENCES},
        "filled": {"max_steps": 175, "batch_tokens": round(SENTENCES * longer)},
    }
    if bench.smoke:
        nodes = {name: {**settings, "max_steps": 8} for name, settings in nodes.items()}
    yield from _waste(bench, translation_plan(bench, nodes), "marian", nodes)


def demo_plan(bench: Bench, noisy: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The demo's recogniser, trained from nothing for an epoch."""
    demo = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text(encoding="utf-8"))
    clean = {**demo["corpora"]["spoken-clean-train"], "size": 64 if bench.smoke else 1500}
    size = demo["experiments"]["spoken-numbers"]["models"]["base"]["per_device_train_batch_size"]
    shared = {"train": "untrained", "num_train_epochs": 1}
    nodes = {
        "fixed": {**shared, "per_device_train_batch_size": size},
        "filled": {**shared, "batch_seconds": 2.5 * size},
        "augmented": {**shared, "per_device_train_batch_size": size, "augment": dict(noisy)},
    }
    config = {
        "corpora": {"clean": clean, "dev": {**clean, "split": "dev", "size": 8}},
        "experiments": {
            "ctc": {
                "task": "asr",
                "languages": ["en"],
                "data": {"train": "clean", "dev": {"d": "dev"}},
                "models": {
                    "untrained": demo["experiments"]["spoken-numbers"]["models"]["untrained"]
                    | {"data": {"train": "clean"}},
                    **nodes,
                },
            }
        },
    }
    return bench.prepare(config, "ctc/untrained"), nodes


def _waste(bench: Bench, plan: Any, what: str, nodes: Mapping[str, Any]) -> Iterator[list[Line]]:
    lines = []
    for name in nodes:
        steps = bench.ours(model_of(plan, name))[0]
        steady = steps[min(3, len(steps) // 2) :]
        spent = steady[-1]["ended"] - steady[0]["began"]
        waited = sum(step["waited"] for step in steady)
        wasted = 100 * (1 - watch.share(steps, "filled", "room"))
        if name != "augmented":
            lines.append(line(f"{what}, {name}: padding", wasted, None, "% of the source", "≤", 10))
        each = f"{1000 * spent / len(steady):.0f} ms a step"
        lines.append(
            line(f"{what}, {name}: waiting for batches ({each})", 100 * waited / spent, None, "% of a step", "≤", 5)
        )
    yield lines


# -- memory ------------------------------------------------------------------------------------------------------------
def memory(bench: Bench) -> Iterator[list[Line]]:
    """The peak of anonymous memory over an epoch of ours, and over two steps of the script, all of whose are alike."""
    nodes = {
        f"of-{size}": {
            "window": "short",
            "full_windows": 0.0,
            "max_steps": 16,
            "per_device_train_batch_size": size,
        }
        for size in SIZES
    }
    plan = speech_plan(bench, nodes)
    parent, clips = bench.folder(model_of(plan, "untrained")), bench.folder(corpus_of(plan, "clips"))
    for size in SIZES[: 2 if bench.smoke else None]:
        ours = bench.ours(model_of(plan, f"of-{size}"))[1]
        arguments = ["--model", parent, "--corpus", clips, "--batch", size, "--steps", 2, "--rows", 2 * size]
        peer = bench.peer("seq2seq_trainer.py speech", *arguments)[1]
        yield [line(f"batch of {size}: peak memory", ours.anonymous, peer.anonymous, "MiB")]


# -- sweep -------------------------------------------------------------------------------------------------------------
def sweep(bench: Bench) -> Iterator[list[Line]]:
    """The demo's tuning of its recogniser, 16 runs of it, by Snakemake, `threads` at once on one core each."""
    demo = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text(encoding="utf-8"))
    experiment = demo["experiments"]["spoken-numbers"]
    models = experiment["models"]
    tuned = {
        **models["tuned"],
        "sweep": {"grid": {"learning_rate": list(RATES), "augment.spec_augment": [False, True]}},
    }
    base = {**models["base"], "max_steps": 10, "warmup_steps": 1}
    if bench.smoke:
        tuned |= {"max_steps": 10, "warmup_steps": 1, "sweep": {"grid": {"learning_rate": list(RATES[:4])}}}
    experiment = {**experiment, "models": {"untrained": models["untrained"], "base": base, "tuned": tuned}}
    experiment.pop("claims")
    corpora = {name: corpus for name, corpus in demo["corpora"].items() if name.startswith("spoken")}
    shutil.rmtree(bench.place / "results/spoken-numbers", ignore_errors=True)
    plan = bench.prepare({"corpora": corpora, "experiments": {"spoken-numbers": experiment}}, "spoken-numbers/base")
    runs = [m for m in plan.models.values() if m.node == "tuned" and m.stage == "train"]
    # one run by itself: twice, as the first fills the cache of features
    single = Bench(bench.place, 1, 1, bench.data, None, bench.smoke)
    alone = [single.ours(runs[0]) for _ in range(2)][-1]
    own = alone[0][-1]["ended"] - alone[0][0]["began"]
    wall = bench.snakemake([m.marker for m in runs])
    loops = [_last(bench.folder(m) / "progress.jsonl")["seconds"] for m in runs]
    jobs = [_seconds(bench.place / f"results/spoken-numbers/benchmarks/train/{m.id}.tsv") for m in runs]
    count, at_once = len(runs), bench.threads
    yield [
        line(f"{count} runs, {at_once} at once: wall time against the steps of one alone, {count / at_once:g} times",
             wall, own * count / at_once, "s", "≤", 1.15),
        line("against the steps of all, as they ran", wall, sum(loops) / at_once, "s"),
        line("against a whole process alone", wall, alone[1].seconds * count / at_once, "s", "≤", 1.15),
        line("against all processes, as they ran", wall, sum(jobs) / at_once, "s"),
        line("a process against its steps, alone", alone[1].seconds, own, "s"),
        line("a process against its steps, in the sweep", statistics.mean(jobs), statistics.mean(loops), "s"),
    ]  # fmt: skip


def _last(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8").splitlines()[-1])


def _seconds(path: Path) -> float:
    names, values = (row.split("\t") for row in path.read_text(encoding="utf-8").splitlines()[:2])
    return float(dict(zip(names, values, strict=True))["s"])


# -- quality -----------------------------------------------------------------------------------------------------------
def quality(bench: Bench) -> Iterator[list[Line]]:
    """Error rates after equal steps, and BLEU after equal tokens; the model of speech is small but hears 30 s."""
    yield quality_of_speech(bench)
    yield quality_of_translation(bench)


def quality_of_speech(bench: Bench) -> list[Line]:
    """Digit strings of human recordings; ours in short windows with the script's settings and number of steps."""
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
    # one schedule for both; the script's own default of 5e-5 is for models that were trained before
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
                },
            }
        },
    }
    plan = bench.prepare(config, "quality/untrained")
    found: dict[str, float] = {}
    spent: dict[str, float] = {}
    for name in ("short", "shipped"):
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
    return [
        line(f"{after}: short windows, against the script in 30 s", found["short, short"], theirs, unit, "≤", 1),
        line("the same in the stock 30 s", found["short, full"], theirs, unit),
        line(f"with {SHIPPED:.0%} full windows: short windows", found["shipped, short"], theirs, unit),
        line("the same in the stock 30 s", found["shipped, full"], theirs, unit),
        line("time of the steps, short windows", spent["short"], spent["script"], "s"),
        line(f"time of the steps, {SHIPPED:.0%} full windows", spent["shipped"], spent["script"], "s"),
    ]


def quality_of_translation(bench: Bench) -> list[Line]:
    """BLEU of both after about as many target tokens."""
    longer, _ = tokens_of(bench, translation_plan(bench, {}))
    steps = 20 if bench.smoke else STEPS["translation"]
    settings = {"max_steps": steps, "batch_tokens": round(SENTENCES * longer), "learning_rate": 1e-3}
    settings |= {"warmup_steps": steps // 10, "lr_scheduler_type": "cosine"}
    plan = translation_plan(bench, {"filled": settings})
    ours, _ = bench.ours(model_of(plan, "filled"))
    mine = bench.scored(plan, "filled", bench.place / "run/model", "bleu")
    arguments = ["--model", bench.folder(model_of(plan, "untrained")), "--schedule", "cosine", "--learning-rate", 1e-3]
    arguments += ["--corpus", bench.folder(corpus_of(plan, "pairs")), "--languages", "en", "fr", "--batch", SENTENCES]
    # as many tokens, not steps: batches end where an epoch does
    wanted, each = sum(step["tokens"] for step in ours), 0.0
    trial, _ = bench.peer("seq2seq_trainer.py text", *arguments, "--steps", 20)
    each = statistics.mean(step["tokens"] for step in trial)
    arguments += ["--steps", round(wanted / each), "--warmup-steps", round(wanted / each) // 10]
    peer, _ = bench.peer("seq2seq_trainer.py text", *arguments, "--out", bench.place / "peer")
    theirs = bench.scored(plan, "filled", bench.place / "peer", "bleu")
    seen = sum(step["tokens"] for step in peer)
    return [
        line(f"BLEU after {wanted / 1e6:.2f} M target tokens", mine, theirs, "BLEU", "≥", 1),
        line("target tokens seen", wanted, seen, "tokens"),
        line("target tokens a second", watch.rate(ours, "tokens"), watch.rate(peer, "tokens"), "tokens/s", "≥", 2),
    ]


SECTIONS: dict[str, Callable[[Bench], Iterator[list[Line]]]] = {
    "speech": speech,
    "translation": translation,
    "padding": padding,
    "memory": memory,
    "sweep": sweep,
    "quality": quality,
}
DEFAULT = ("speech", "translation", "padding", "memory", "sweep")


def main() -> None:
    """Measure, print the table, write the rows to results/bench/training.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of: {', '.join(SECTIONS)}; default: {', '.join(DEFAULT)}"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of docs/data.md")
    parser.add_argument("--lhotse", type=Path, help="a folder that has lhotse: pip install --target FOLDER lhotse")
    parser.add_argument("--place", type=Path, help="where corpora and models are made and kept; default: nowhere")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="of speech, translation")
    parser.add_argument("--smoke", action="store_true", help="as little as possible, to try the script")
    given = parser.parse_args()
    unknown = [name for name in given.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section '{unknown[0]}'; allowed: {', '.join(SECTIONS)}")
    os.environ |= {"OMP_NUM_THREADS": str(given.threads), "TOKENIZERS_PARALLELISM": "false"}
    more = [str(REPOSITORY / "scripts"), os.environ.get("PYTHONPATH"), given.lhotse and str(given.lhotse.resolve())]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, more))
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    print("| measured | ours | peer | ratio | bar | holds |\n| --- | --- | --- | --- | --- | --- |")
    for name in given.sections or DEFAULT:
        with contextlib.ExitStack() as stack:
            place = given.place or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            place.mkdir(parents=True, exist_ok=True)
            bench = Bench(
                place.resolve(), given.rounds, given.threads, given.data, given.lhotse, given.smoke, given.precision
            )
            began, lines = time.monotonic(), []
            for some in SECTIONS[name](bench):
                show(some)
                lines += some
        print(f"\n{name}: {time.monotonic() - began:.0f} s\n", flush=True)
        keep(name, lines)


def keep(section: str, lines: Sequence[Line]) -> None:
    """Put the rows of a section beside those of others."""
    OUT.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else []
    rows = [row for row in known if row["section"] != section] + [{"section": section, **asdict(x)} for x in lines]
    OUT.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
