"""A small world of a configuration and its files, and what its user may do in it: edits, each drawn at random."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

CONFIGURATION = """
corpora:
  train: {source: manifest, path: train.tsv}
  dev:   {source: manifest, path: dev.tsv}
  test:  {source: manifest, path: test.tsv}
  more:  {source: manifest, path: more.tsv}
experiments:
  e:
    task: nmt
    languages: [en, fr]
    metric: chrf
    by: [domain]
    decoding: {max_new_tokens: 6}
    data: {train: train, dev: {d: dev}, test: {t: test}}
    models:
      given: {from: {folder: checkpoint}}
      tuned:
        train: given
        sweep: {grid: {learning_rate: [0.003, 0.01]}}
        max_steps: 2
        per_device_train_batch_size: 4
      soup: {average: tuned}
      half: {prune: soup, layers: {encoder: {drop: 1/2, by: uniform}}}
    claims:
      - {model: soup, beats: tuned/best, "on": t}
"""
SPEECH = """
corpora:
  heard:      {source: manifest, path: heard.tsv}
  heard-test: {source: manifest, path: heard-test.tsv}
experiment:
  task: asr
  languages: [en]
  data: {train: heard, test: {h: heard-test}}
  models:
    fresh:
      from: {scratch: {family: ctc, num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, intermediate_size: 16}}
    hears: {train: fresh, max_steps: 3, per_device_train_batch_size: 4, learning_rate: 0.03}
"""
# nodes that come and go: name -> the node, and a corpus of that name that it brings
FURTHER: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "line": ({"average": ["given", "soup"], "method": "interpolate", "points": 3, "metric": "loss"}, None),
    "greedy": ({"average": "tuned", "method": "greedy", "metric": "chrf"}, None),
    "healed": ({"train": "half", "distil_from": "soup", "max_steps": 2, "per_device_train_batch_size": 4}, None),
    "out": ({"export": "soup", "format": "safetensors", "quantization": "float16"}, None),
    "pupil": (
        {"train": "given", "data": {"train": "pupil"}, "max_steps": 2, "per_device_train_batch_size": 4},
        {"source": "relabelled", "corpus": "train", "by": "soup"},
    ),
}
ROWS = {"train": 8, "dev": 4, "test": 4, "more": 3}
HEARD = {"heard": 6, "heard-test": 3}
WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "hello",
    "world",
    "how",
    "are",
    "you",
    "le",
    "chat",
    "est",
    "assis",
    "bonjour",
    "monde",
]
VARIANTS = 4
STAGES = ("data", "start", "train", "average", "prune", "evaluate", "report")
# the settings that are changed: key below the models -> its values
SETTINGS: dict[tuple[str, ...], list[Any]] = {
    ("tuned", "max_steps"): [2, 3],
    ("tuned", "per_device_train_batch_size"): [2, 4],
    ("tuned", "label_smoothing_factor"): [0.0, 0.1],
    ("tuned", "augment"): [{}, {"word_dropout": 0.3}],
    ("soup", "method"): ["uniform", "greedy"],
    ("half", "layers"): [{"encoder": {"drop": "1/2", "by": "uniform"}}, {"encoder": {"keep": [2]}}],
    ("hears", "augment"): [{}, {"noise": {"folder": "noises", "snr": [0, 10], "probability": 1.0}}],
}


@dataclass
class World:
    """What results depend on: the configuration, which content each file has, and how far the stages' code has changed."""

    config: dict[str, Any] = field(default_factory=lambda: yaml.safe_load(CONFIGURATION))
    files: dict[str, int] = field(default_factory=dict)  # path -> variant; 0 where none stands
    versions: dict[str, int] = field(default_factory=dict)  # stage -> versions since now

    @property
    def key(self) -> str:
        """The same for the same world, whatever led to it."""
        same = {
            "files": {k: v for k, v in self.files.items() if v},
            "versions": {k: v for k, v in self.versions.items() if v},
        }
        # not sorted: the order in a configuration is part of it
        return hashlib.blake2b(json.dumps([self.config, sorted(same.items())]).encode(), digest_size=8).hexdigest()

    @property
    def models(self) -> dict[str, Any]:
        return self.config["experiments"]["e"]["models"]

    @property
    def experiment(self) -> dict[str, Any]:
        return self.config["experiments"]["e"]

    def copy(self) -> World:
        return World(**copy.deepcopy(asdict(self)))


# -- files -------------------------------------------------------------------------------------------------------------
def paths() -> list[str]:
    """All files that change, as names from the folder; the checkpoint is one."""
    sounds = [f"sounds/{name}-{i}.wav" for name, rows in HEARD.items() for i in range(rows)]
    return [
        *(f"{name}.tsv" for name in (*ROWS, *HEARD)),
        *sounds,
        "checkpoint",
        "noises/hum.wav",
        "terms.txt",
        "count.py",
    ]


def content(path: str, variant: int) -> bytes:
    """The bytes of a file, but for the checkpoint's."""
    name, draw = Path(path).stem, random.Random(f"{path} {variant}")
    if path in ("terms.txt", "count.py"):
        if path == "terms.txt":
            return f"{WORDS[variant]}\n".encode()
        return f"import sys\nfor line in sys.stdin:\n    print(len(line) % {variant + 5})\n".encode()
    if path.endswith(".wav"):
        return wave([draw.randint(-9000, 9000) * (1 + i // 400 % 3) // 3 for i in range(8000)])
    # the last variant of a table has the texts of the first, and other domains alone
    texts = random.Random(f"{path} {variant % (VARIANTS - 1)}")
    rows = ["audio\ttext" if name in HEARD else "source\ttarget\tdomain"]
    for i in range((HEARD | ROWS)[name]):
        said = [" ".join(texts.choices(WORDS, k=3)) for _ in range(2)]
        domain = "ab"[i] if i < 2 else draw.choice("ab")  # there are rows of each
        rows.append(f"sounds/{name}-{i}.wav\t{said[0]}" if name in HEARD else f"{said[0]}\t{said[1]}\t{domain}")
    return ("\n".join(rows) + "\n").encode()


def wave(samples: list[int]) -> bytes:
    """16 bits, 16 kHz."""
    data = struct.pack(f"<{len(samples)}h", *samples)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        16000,
        32000,
        2,
        16,
        b"data",
        len(data),
    )
    return head + data


def write(folder: Path, path: str, variant: int, given: Path, older: bool = False, in_place: bool = False) -> None:
    """Give a file this content. older: with a time long ago; in_place: the same inode. given: the first checkpoint."""
    place = folder / path
    if path == "checkpoint":
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(given, place)
        if variant % 2:  # other weights
            change_weights(place / "model.safetensors", 1 + variant / 8)
        if variant > 1:  # other words that are never said
            said = json.loads((place / "generation_config.json").read_text())
            (place / "generation_config.json").write_text(
                json.dumps(said | {"suppress_tokens": [variant + 3, variant + 7]})
            )
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        if not in_place:
            place.unlink(missing_ok=True)
        place.write_bytes(content(path, variant))
    for file in [place, *place.rglob("*")] if older else []:
        os.utime(file, (1e9 + variant, 1e9 + variant))


def change_weights(path: Path, factor: float) -> None:
    """Multiply all weights by a factor. A file that others are links to is left to them."""
    from safetensors.numpy import load_file, save_file

    changed = {name: (tensor * factor).astype(tensor.dtype) for name, tensor in load_file(path).items()}
    path.unlink()
    save_file(changed, path, {"format": "pt"})


def lay_out(world: World, folder: Path, given: Path) -> None:
    """Write all files of a world into a folder."""
    for path in paths():
        write(folder, path, world.files.get(path, 0), given)
    (folder / "config.yaml").write_text(yaml.safe_dump(world.config, sort_keys=False))


# -- edits -------------------------------------------------------------------------------------------------------------
Edit = Callable[[World, random.Random], str | None]
"""Changes the world; says what it did, None where it can't be done there."""


def rename_a_node(world: World, draw: random.Random) -> str | None:
    old = draw.choice(list(world.models))
    new = old.removesuffix("-x") if old.endswith("-x") else f"{old}-x"
    experiment = world.experiment

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(v) for key, v in value.items()}
        if isinstance(value, list):
            return [renamed(v) for v in value]
        if isinstance(value, str) and (value == old or value.startswith(f"{old}/")):
            return new + value.removeprefix(old)
        return value

    data = experiment["data"]
    models = {new if name == old else name: renamed(node) for name, node in experiment["models"].items()}
    for name, node in models.items():  # a corpus may have a node's first name
        if "data" in node:
            node["data"] = experiment["models"][old if name == new else name]["data"]
    world.config["experiments"]["e"] = {
        **experiment,
        "models": models,
        "claims": renamed(experiment["claims"]),
        "data": data,
    }
    for corpus in world.config["corpora"].values():
        if "by" in corpus:
            corpus["by"] = renamed(corpus["by"])
    return f"{old} is called {new}"


def rename_a_corpus(world: World, draw: random.Random) -> str | None:
    old = draw.choice([name for name in ("test", "test-x", "train", "train-x") if name in world.config["corpora"]])
    new = old.removesuffix("-x") if old.endswith("-x") else f"{old}-x"

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(v) for key, v in value.items()}
        if isinstance(value, list):
            return [renamed(v) for v in value]
        return new if value == old else value

    corpora = {new if name == old else name: {**c} for name, c in world.config["corpora"].items()}
    for corpus in corpora.values():
        for key in ("corpus", "without"):
            if key in corpus:
                corpus[key] = renamed(corpus[key])
    world.config["corpora"] = corpora
    world.experiment["data"] = renamed(world.experiment["data"])
    return f"{old} is called {new}"


def change_a_setting(world: World, draw: random.Random) -> str | None:
    node, key = draw.choice(list(SETTINGS))
    models = world.config["experiments"].get("f", {}).get("models", {}) if node == "hears" else world.models
    if (name := node if node in models else f"{node}-x") not in models:
        return None
    now = models[name].get(key, SETTINGS[node, key][0])
    models[name][key] = draw.choice([value for value in SETTINGS[node, key] if value != now])
    return f"{name}.{key}"


def change_a_sweep(world: World, draw: random.Random) -> str | None:
    grid = world.models["tuned" if "tuned" in world.models else "tuned-x"]["sweep"]["grid"]
    rates = grid["learning_rate"]
    others = [rate for rate in (0.001, 0.003, 0.01, 0.03) if rate not in rates]
    if len(rates) < 3 and (len(rates) < 2 or draw.random() < 0.5):
        grid["learning_rate"] = [*rates, draw.choice(others)]
        return "a value more"
    gone = draw.choice(rates)
    grid["learning_rate"] = [rate for rate in rates if rate != gone]
    return "a value less"


def replace_a_file(world: World, draw: random.Random) -> str | None:
    path = draw.choice(used(world))
    now = world.files.get(path, 0)
    # half of the times back to what it held at first
    world.files[path] = 0 if now and draw.random() < 0.5 else draw.choice([v for v in range(VARIANTS) if v != now])
    return path


def used(world: World) -> list[str]:
    """The files of the configuration. Tables and the checkpoint come more often than each of many recordings."""
    tables = [path for path in paths() if path.endswith(".tsv") and (path.partition(".")[0] in ROWS)]
    found = [*tables, *tables, "checkpoint", "checkpoint", "terms.txt", "count.py"]
    if "f" in world.config["experiments"]:
        found += [f"{name}.tsv" for name in HEARD] + ["noises/hum.wav"]
        found += [path for path in paths() if path.startswith("sounds/")]
    return found


def change_code(world: World, draw: random.Random) -> str | None:
    stage = draw.choice(STAGES)
    world.versions[stage] = 0 if world.versions.get(stage) and draw.random() < 0.5 else world.versions.get(stage, 0) + 1
    return stage


def toggle_an_experiment(world: World, draw: random.Random) -> str | None:
    parts = yaml.safe_load(SPEECH)
    if world.config["experiments"].pop("f", None):
        for name in parts["corpora"]:
            del world.config["corpora"][name]
        return "f goes"
    world.config["experiments"]["f"] = parts["experiment"]
    world.config["corpora"] |= parts["corpora"]
    return "f comes"


def toggle_a_node(world: World, draw: random.Random) -> str | None:
    name = draw.choice(list(FURTHER))
    if there := name if name in world.models else f"{name}-x" if f"{name}-x" in world.models else "":
        del world.models[there]
        world.config["corpora"].pop(name, None)
        world.experiment["claims"] = [c for c in world.experiment["claims"] if there not in c.values()]
        return f"{there} goes"
    node, corpus = copy.deepcopy(FURTHER[name])
    for key in ("average", "train", "export", "distil_from"):
        if key in node:
            node[key] = [now(world, n) for n in node[key]] if isinstance(node[key], list) else now(world, node[key])
    world.models[name] = node
    if corpus:
        world.config["corpora"][name] = {**corpus, "by": now(world, corpus["by"]), "corpus": train_of(world)}
    return f"{name} comes"


def now(world: World, name: str) -> str:
    """The name that a node has now."""
    return name if name in world.models else f"{name}-x"


def train_of(world: World) -> str:
    return "train" if "train" in world.config["corpora"] else "train-x"


def change_test_sets(world: World, draw: random.Random) -> str | None:
    test = "test" if "test" in world.config["corpora"] else "test-x"
    first = draw.choice([test, [test, "more"], ["more", test], "more"])
    others = draw.choice([{}, {"o": "more"}, {"o": test}])
    before = world.experiment["data"]["test"]
    world.experiment["data"]["test"] = {"t": first, **others}
    return None if before == world.experiment["data"]["test"] else "test sets"


def change_decoding(world: World, draw: random.Random) -> str | None:
    decoding = world.experiment["decoding"]
    key = draw.choice(["max_new_tokens", "num_beams"])
    values = {"max_new_tokens": [4, 6, 8], "num_beams": [1, 2]}[key]
    decoding[key] = draw.choice([value for value in values if value != decoding.get(key, 1)])
    return key


def change_claims(world: World, draw: random.Random) -> str | None:
    claims = world.experiment["claims"]
    if len(claims) > 1 and draw.random() < 0.4:
        del claims[draw.randrange(len(claims))]
        return "a claim less"
    model, other = draw.sample([name for name, node in world.models.items() if "sweep" not in node], 2)
    claim: dict[str, Any] = {"model": model, "on": "t"}
    claim |= {"beats": other} if draw.random() < 0.5 else {"keeps": other, "margin": draw.choice([5, 20])}
    if draw.random() < 0.3:
        claim["metric"] = "bleu"
    if claim in claims:
        return None
    claims.append(claim)
    return "a claim more"


def change_the_data(world: World, draw: random.Random) -> str | None:
    test = world.config["corpora"]["test" if "test" in world.config["corpora"] else "test-x"]
    train = world.config["corpora"][train_of(world)]
    where, key, values = draw.choice(
        [
            (test, "where", [None, {"domain": ["a"]}]),
            (test, "normaliser", [None, "basic"]),
            (train, "limit", [None, 5]),
            (train, "without", [None, ["dev"]]),
            (world.experiment["data"], "share", [None, 0.5]),
        ]
    )
    value = next(value for value in values if value != where.get(key))
    where.pop(key, None)
    if value is not None:
        where[key] = value
    return key


def change_the_report(world: World, draw: random.Random) -> str | None:
    key, values = draw.choice(
        [
            ("metrics", [None, {"chrf": None, "length": {"command": ["python", "count.py"]}}]),
            ("glossary", [None, "terms.txt"]),
            ("rare_words", [None, 2]),
            ("normaliser", [None, "basic"]),
            ("units", [None, "document"]),
            ("by", [["domain"], None]),
            ("repeat", [None, [2]]),
        ]
    )
    experiment = world.experiment
    value = next(value for value in values if value != experiment.get(key))
    experiment.pop(key, None)
    if value is not None:
        experiment[key] = value
    return key


def change_nothing(world: World, draw: random.Random) -> str | None:
    """Spelling and the order of keys."""
    models = world.experiment["models"]
    world.experiment["models"] = {name: dict(reversed(node.items())) for name, node in reversed(models.items())}
    world.config = dict(reversed(world.config.items()))
    return "order"


EDITS: dict[str, tuple[Edit, int]] = {  # what counts call it -> the edit, and how often it is drawn
    "a file replaced, or as it was": (replace_a_file, 10),
    "a node's setting": (change_a_setting, 6),
    "a value of the sweep": (change_a_sweep, 4),
    "a node renamed": (rename_a_node, 3),
    "a corpus renamed": (rename_a_corpus, 2),
    "a node added or removed": (toggle_a_node, 5),
    "an experiment added or removed": (toggle_an_experiment, 2),
    "test sets": (change_test_sets, 4),
    "a stage's code": (change_code, 4),
    "decoding": (change_decoding, 3),
    "claims": (change_claims, 3),
    "a corpus's settings": (change_the_data, 4),
    "what the report says": (change_the_report, 4),
    "order and spelling": (change_nothing, 1),
}
