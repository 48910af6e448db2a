"""Target tokens per second against transformers' translation script."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from training import watch
from training.table import Line, line
from training.workbench import PRECISIONS, SENTENCES, Bench, corpus_of, model_of

SIDES = {"encoder_layers": 3, "decoder_layers": 3, "d_model": 256, "encoder_ffn_dim": 1024, "decoder_ffn_dim": 1024}


def translation_plan(bench: Bench, nodes: Mapping[str, Mapping[str, Any]]) -> Any:
    """Everyday sentences of Tatoeba, and `nodes` trained on them."""
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
    """The mean length in tokens of the longer side of a pair, and of the target."""
    from consomme.data.prepared import Rows
    from consomme.families import family_of

    place = bench.folder(model_of(plan, "untrained"))
    family, rows = family_of(place), Rows.open({"pairs": bench.folder(corpus_of(plan, "pairs"))})
    processor = family.processor(place, ["en", "fr"])
    sources = [len(family.features(processor, text)) for text in rows.sources]
    targets = [len(family.labels(processor, text, ["en", "fr"])) for text in rows.targets]
    return statistics.mean(map(max, sources, targets)), statistics.mean(targets)


def translation(bench: Bench) -> Iterator[list[Line]]:
    """Batches of a fixed number of sentences in random order, and batches filled with about as many tokens."""
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
