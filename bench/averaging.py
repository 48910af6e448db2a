"""Averaging against mergekit, a loop in torch, and `cat` as the floor: python bench/averaging.py [--rounds 5] [SIZE...]

With mergekit, its weights are compared with ours too, method by method. Models are random, generated for the run, with
tensor names of Llama, which mergekit supports; `--like MODEL` adds some with another checkpoint's tensors, without mergekit.
The floor reads the same bytes and writes as many as one model has. mergekit runs in its own environment: python -m venv DIR, then
DIR/bin/pip install mergekit, and --mergekit DIR."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (numpy's bfloat16)
import numpy as np
from measure import Row, Run, compared, interleaved, report, timed
from safetensors.numpy import load_file, save_file

from consomme.common.files import read_json
from consomme.weights.tensors import Weights

SIZES = {  # name: models, width, layers, vocabulary, dtype
    "8 x 95 M float32": (8, 768, 8, 12500, "float32"),
    "8 x 95 M bfloat16": (8, 768, 8, 12500, "bfloat16"),
    "8 x 95 M float16": (8, 768, 8, 12500, "float16"),
    "8 x 250 M bfloat16": (8, 1024, 12, 24000, "bfloat16"),
    "4 x 446 M bfloat16": (4, 1280, 16, 24000, "bfloat16"),
    "4 x 1.1 M float32": (4, 128, 4, 1000, "float32"),  # to try the script
}
SMALL = "4 x 1.1 M float32"
LIKE = (8, "float16")  # models, dtype
# our options, mergekit's settings; the base, if the method has one, is the first model
METHODS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "uniform": ([], {"merge_method": "linear", "parameters": {"weight": 1.0}}),
    "slerp": (["--alpha", "0.3"], {"merge_method": "slerp", "parameters": {"t": 0.3}}),
    "task_arithmetic": (
        ["--scale", "0.7"],
        {"merge_method": "task_arithmetic", "parameters": {"weight": 1.0, "lambda": 0.7}},
    ),
    "ties": (["--density", "0.5"], {"merge_method": "ties", "parameters": {"weight": 1.0, "density": 0.5}}),
    "model_stock": ([], {"merge_method": "model_stock", "parameters": {"filter_wise": False}}),
}
# bars: of mergekit's time and of the torch loop's, where an element has four or two bytes; MiB
PEER, LOOPED, MEMORY = {4: 0.2, 2: 0.35}, {4: None, 2: 0.5}, 100.0

LOOP = """
import sys
from safetensors.torch import load_file, save_file
out, *models = sys.argv[1:]
total = {name: tensor.float() for name, tensor in load_file(models[0]).items()}
kinds = {name: tensor.dtype for name, tensor in load_file(models[0]).items()}
for model in models[1:]:
    for name, tensor in load_file(model).items():
        total[name] += tensor.float()
save_file({name: (tensor / len(models)).to(kinds[name]) for name, tensor in total.items()}, out)
"""


def shapes(width: int, layers: int, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Tensors of a Llama with square attention and a feed-forward part of four widths."""
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, width),
        "model.norm.weight": (width,),
    }
    found["lm_head.weight"] = (vocabulary, width)
    for n in range(layers):
        at = f"model.layers.{n}."
        found |= {f"{at}self_attn.{p}_proj.weight": (width, width) for p in "qkvo"}
        found |= {f"{at}mlp.{p}_proj.weight": (4 * width, width) for p in ("gate", "up")}
        found |= {f"{at}mlp.down_proj.weight": (width, 4 * width)}
        found |= {f"{at}{p}_layernorm.weight": (width,) for p in ("input", "post_attention")}
    return found


@dataclass(frozen=True)
class Models:
    """Random checkpoints of one layout."""

    count: int
    shapes: Mapping[str, tuple[int, ...]]  # of the tensors
    config: Mapping[str, Any]  # config.json
    dtype: str

    def make(self, place: Path) -> list[Path]:
        """Their folders, of numbers near 0."""
        return [self._make(place / f"model-{i}", seed=i) for i in range(self.count)]

    def _make(self, folder: Path, seed: int) -> Path:
        random = np.random.default_rng(seed)
        values = {
            name: (random.standard_normal(shape, dtype=np.float32) * np.float32(0.02)).astype(self.dtype)
            for name, shape in self.shapes.items()
        }
        folder.mkdir(parents=True)
        save_file(values, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps({**self.config, "torch_dtype": self.dtype}))
        return folder


def of_size(size: str) -> Models:
    """The models of one of the `SIZES`."""
    count, width, layers, vocabulary, dtype = SIZES[size]
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "num_key_value_heads": width // 64,
        "vocab_size": vocabulary,
        "tie_word_embeddings": False,
    }
    return Models(count, shapes(width, layers, vocabulary), config, dtype)


def like(model: Path) -> Models:
    """Models with the tensors of a checkpoint."""
    count, dtype = LIKE
    with Weights(model) as weights:
        found = {name: slot.shape for name, slot in weights.slots.items()}
    return Models(count, found, read_json(model / "config.json"), dtype)


def measure(size: str, models: Models, rounds: int, mergekit: Path | None, place: Path) -> list[Row]:
    """The rows of one size."""
    folders = models.make(place)
    files = [str(f / "model.safetensors") for f in folders]
    out = place / "out"

    def fresh(command: list[str], inside: bool = False) -> Run:
        shutil.rmtree(out, ignore_errors=True)
        if inside:
            out.mkdir()
        return timed(command)

    ours = [sys.executable, "-m", "consomme.average", "--method", "uniform", "--out", str(out), *map(str, folders)]
    single = str(out / "model.safetensors")
    floor = ["sh", "-c", f"cat {' '.join(files)} > /dev/null && cat {files[0]} > {single}"]
    contenders = {
        "consomme": lambda: fresh(ours),
        "cat": lambda: fresh(floor, inside=True),
        "torch loop": lambda: fresh([sys.executable, "-c", LOOP, single, *files], inside=True),
    }
    if mergekit:
        recipe = place / "recipe.yaml"
        parts = [{"model": str(f), "parameters": {"weight": 1.0}} for f in folders]
        recipe.write_text(json.dumps({"merge_method": "linear", "models": parts, "dtype": models.dtype}))
        command = [str(mergekit / "bin/mergekit-yaml"), str(recipe), str(out)]
        contenders["mergekit"] = lambda: fresh(command)
    found = interleaved(contenders, rounds)
    width = np.dtype(models.dtype).itemsize
    bars = {"cat": None, "torch loop": LOOPED[width], "mergekit": PEER[width]}
    rows = [
        compared(f"{size}: against {n}", found["consomme"], found[n], bars[n]) for n in contenders if n != "consomme"
    ]
    peaks = {n: max(run.anonymous for run in runs) for n, runs in found.items()}
    for peer in [n for n in ("torch loop", "mergekit") if n in peaks]:
        ratio = peaks["consomme"] / peaks[peer]
        name = f"{size}: anonymous memory against {peer}"
        rows.append(Row(name, peaks["consomme"], peaks[peer], ratio, ratio, "MiB", None, peaks["consomme"] <= MEMORY))
    return rows


def agree(mergekit: Path, place: Path) -> None:
    """Print the difference of our weights from mergekit's for each method that both have and that is not random."""
    folders = of_size(SMALL).make(place)
    print(
        "\n| method | largest difference | largest weight | elements further apart than 4 roundings |\n| --- | --- | --- | --- |"
    )
    for name, (options, recipe) in METHODS.items():
        models = folders[:2] if name == "slerp" else folders
        based = name not in ("uniform", "slerp")
        outs = {who: place / f"{name}-{who}" for who in ("ours", "mergekit")}
        base = ["--base", str(models[0])] if based else []
        command = [
            sys.executable,
            "-m",
            "consomme.average",
            "--method",
            name,
            *options,
            *base,
            "--out",
            str(outs["ours"]),
        ]
        timed([*command, *map(str, models[based:])])
        file = place / f"{name}.yaml"
        parameters = recipe["parameters"]
        whole = {"models": [{"model": str(m)} for m in models], "dtype": "float32", **recipe}
        if based or name == "slerp":
            whole["base_model"] = str(models[0])
        if "weight" in parameters:
            own = {k: v for k, v in parameters.items() if k in ("weight", "density")}
            whole["models"] = [
                {"model": str(m)} | ({} if based and m == models[0] else {"parameters": own}) for m in models
            ]
            whole["parameters"] = {k: v for k, v in parameters.items() if k not in own}
        file.write_text(json.dumps(whole))
        timed([str(mergekit / "bin/mergekit-yaml"), str(file), str(outs["mergekit"])])
        ours, theirs = (load_file(next(out.glob("*.safetensors"))) for out in outs.values())
        apart = [np.abs(ours[k].astype(np.float64) - theirs[k]) for k in ours]
        unit = [4 * np.spacing(np.abs(ours[k]).max()) for k in ours]
        far = sum(int((a > u).sum()) for a, u in zip(apart, unit, strict=True)) / sum(a.size for a in apart)
        largest, weight = max(float(a.max()) for a in apart), max(float(np.abs(v).max()) for v in ours.values())
        print(f"| {name} | {largest:.2g} | {weight:.2g} | {far:.2%} |", flush=True)


def main() -> None:
    """Measure, print the table, write results/bench/averaging.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", metavar="SIZE", help=f"of: {', '.join(SIZES)}; default: all but the last")
    parser.add_argument(
        "--like", type=Path, metavar="MODEL", help=f"also {LIKE[0]} models with its tensors, in {LIKE[1]}"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mergekit", type=Path, help="the environment with mergekit")
    parser.add_argument(
        "--place", type=Path, help="folder for the models, which are removed afterwards; default: the temporary folder"
    )
    given = parser.parse_args()
    unknown = [size for size in given.sizes if size not in SIZES]
    if unknown:
        parser.error(f"no size '{unknown[0]}'; allowed: {', '.join(SIZES)}")
    every = {size: (of_size(size), given.mergekit) for size in given.sizes or list(SIZES)[:-1]}
    if given.like:  # without mergekit, which fails on the names of Whisper's tensors
        every[f"{LIKE[0]} x {given.like.name} {LIKE[1]}"] = like(given.like), None
    rows = []
    for size, (models, peer) in every.items():
        with tempfile.TemporaryDirectory(dir=given.place) as place:
            rows += measure(size, models, given.rounds, peer, Path(place))
    report(rows, Path("results/bench/averaging.json"))
    if given.mergekit:
        with tempfile.TemporaryDirectory(dir=given.place) as place:
            agree(given.mergekit, Path(place))


if __name__ == "__main__":
    main()
