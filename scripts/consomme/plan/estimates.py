"""Estimates for models that are not made yet: bytes from their parents, seconds from jobs like theirs.

They are rough: they tell an hour from a week, and a gigabyte from a hundred."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.tensor_files import header
from consomme.common.tidied import tidied
from consomme.families import TABLE as FAMILIES
from consomme.plan import rungs
from consomme.plan.items import RESULTS, Model
from consomme.plan.schema.training import BATCHES
from consomme.plan.verbs.starting import key_in_scratch

FLOAT32 = 4  # bytes
HIDDEN = ("hidden_size", "d_model")
CHARACTERS = 64  # a typical vocabulary of a character tokenizer
STORED = {"int8": 0.25, "int8_float32": 0.25, "int8_float16": 0.25, "int8_bfloat16": 0.25, "int16": 0.5}
STORED |= {"float16": 0.5, "bfloat16": 0.5}  # of the bytes of float32


WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of a number, by safetensors' names


@dataclass(frozen=True)
class Guess:
    """The bytes of a model."""

    value: float
    measured: bool  # otherwise estimated
    wide: float  # its bytes if every weight were float32, as training stores them


def parameters(scratch: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> float:
    """The approximate number of parameters of an architecture from scratch: layer matrices and embeddings."""
    family = FAMILIES[scratch["family"]]
    hidden = next(scratch[key] for key in HIDDEN if key in scratch)
    total = tokenizer.get("vocab_size", CHARACTERS) * hidden
    for stack in family.stacks.values():
        inner = scratch["d_kv"] * scratch[key_in_scratch(stack.heads)] if "d_kv" in scratch else hidden
        attentions, forwards = len(stack.attentions), len(stack.feed_forwards)
        others = max(len(stack.sublayers) - attentions - forwards, 0)  # convolutions with a projection before and after
        width = scratch[key_in_scratch(stack.width)] if stack.width else 4 * hidden
        layer = attentions * 4 * hidden * inner + forwards * 2 * hidden * width + others * 3 * hidden**2
        total += scratch[key_in_scratch(stack.count)] * layer
    return total


class Estimates:
    """Bytes and seconds of the models of a plan, made or not.

    known: model id -> the folder of a starting point stored elsewhere, such as in the hub's cache."""

    def __init__(self, models: Iterable[Model], known: Mapping[str, Path] | None = None) -> None:
        self.models, self.known = list(models), dict(known or {})
        found = {name: _weights_in(folder.glob("*.safetensors")) for name, folder in self.known.items()}
        self._bytes: dict[str, Guess | None] = dict(found)

    def size(self, model: Model) -> Guess | None:
        """A model's bytes: as on the disk, else of a similar model, else from its parents."""
        if model.id not in self._bytes:
            self._bytes[model.id] = None  # until it is known
            self._bytes[model.id] = _stored(model) or self._twin(model) or self._guessed(model)
        return self._bytes[model.id]

    def _twin(self, model: Model) -> Guess | None:
        twins = (m for m in self._by_digest[model.digest] if m.experiment != model.experiment)
        return next((size for m in twins if (size := _stored(m))), None)

    @cached_property
    def _by_digest(self) -> dict[str, list[Model]]:
        found: dict[str, list[Model]] = {}
        for model in self.models:
            found.setdefault(model.digest, []).append(model)
        return found

    def _guessed(self, model: Model) -> Guess | None:
        settings = model.identity["settings"]
        if model.stage == "start":
            return _start_size(settings, Path(model.data_root))
        known = [guess for m in model.parents.values() if (guess := self._weights(m))]
        if not known:
            return None
        value, wide = (statistics.median(sizes) for sizes in zip(*((g.value, g.wide) for g in known), strict=True))
        if model.ensemble:
            return Guess(sum(g.value for g in known), False, sum(g.wide for g in known))
        if model.stage == "train":
            return Guess(wide, False, wide)
        if model.stage == "export" and (share := STORED.get(settings.get("quantization"))):
            return Guess(wide * share, False, wide)
        share = _kept(next(iter(model.parents.values())), model) if model.stage == "prune" else 1.0
        return Guess(value * share, False, wide * share)

    def _weights(self, model: Model) -> Guess | None:
        """A model's weights alone, without its folder's checkpoints and stock-shape copy."""
        own = Path(model.folder) / "model.safetensors"
        return _weights_in([own]) if own.is_file() else self.size(model)

    def seconds(self, model: Model) -> float | None:
        """Estimated seconds of the job of a model that is not made yet, from finished jobs of the same node, else of the
        same kind in its experiment, else of any. Training time is scaled by the data read and the model's size."""
        for like in (
            [m for m in self._timed if (m.experiment, m.node) == (model.experiment, model.node)],
            [m for m in self._timed if m.experiment == model.experiment],
            self._timed,
        ):
            found = [s for m in like if _kind(m) == _kind(model) and (s := self._scaled(m, model)) is not None]
            if found:
                return statistics.median(found)
        return None

    @cached_property
    def _timed(self) -> list[Model]:
        return [m for m in self.models if Path(m.marker).exists() and wall_seconds(m) is not None]

    def _scaled(self, done: Model, model: Model) -> float | None:
        seconds = wall_seconds(done)
        if seconds is None or model.stage != "train":
            return seconds
        if rungs.stops(done):  # it may have been stopped, which takes no time
            return None
        (unit, ours), (other, theirs) = _read(model), _read(done)
        if unit != other:
            return None
        sizes = [guess.value if (guess := self.size(m)) else 0.0 for m in (model, done)]
        return seconds * ours / theirs * (sizes[0] / sizes[1] if all(sizes) else 1.0)


def wall_seconds(model: Model) -> float | None:
    """The wall time of the job that made a model, from Snakemake's benchmark file."""
    path = Path(f"{RESULTS}/{model.experiment}/benchmarks/{model.stage}/{model.id}.tsv")
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return float(rows[0]["s"]) if rows and rows[0].get("s") else None


def _stored(model: Model) -> Guess | None:
    """A finished model's weights, or all its files if it is an export."""
    if not Path(model.marker).exists():
        return None
    if gone := tidied(Path(model.folder)):
        size = float(sum(gone["files"].values()))
        return Guess(size, True, size)
    files = [f for f in Path(model.folder).rglob("*") if f.is_file()]
    if found := _weights_in(f for f in files if f.suffix == ".safetensors"):
        return found
    size = float(sum(f.stat().st_size for f in files))
    return Guess(size, True, size) if size else None


def _start_size(settings: Mapping[str, Any], root: Path) -> Guess | None:
    """A starting point, None for one of the hub, which isn't queried here."""
    if "scratch" in settings:
        size = FLOAT32 * parameters(settings["scratch"], settings["tokenizer"])
        return Guess(size, False, size)
    if "folder" in settings:
        found = _weights_in((root / settings["folder"]).glob("*.safetensors"))
        return replace(found, measured=False) if found else None
    return None


def _weights_in(files: Iterable[Path]) -> Guess | None:
    """The weights in safetensors files, by their sizes and headers. A file whose header can't be read counts as float32."""
    size = wide = 0.0
    for path in files:
        size += (bytes_ := path.stat().st_size)
        try:
            slots = header(path, str(path.parent)).values()
        except ConsommeError:  # the job that reads it will say why
            wide += bytes_
            continue
        for slot in slots:
            width = WIDTHS.get(slot.dtype)
            wide += (slot.end - slot.begin) * (FLOAT32 / width if width else 1)
    return Guess(size, True, wide) if size else None


def _kept(parent: Model, model: Model) -> float:
    """The approximate fraction of a model's parameters that pruning keeps. Assumption: three quarters of them are in
    layers, and a third of those in attention. 1 if the shape is known only once the parent is made."""
    layers = _ratio(model.depth, parent.depth)
    heads = model.identity["settings"]["heads"]
    attention = 1 - float(Fraction(heads["drop"])) if heads else 1.0
    forward = _ratio(model.width, parent.width)
    return 1 / 4 + 3 / 4 * layers * (attention / 3 + forward * 2 / 3)


def _ratio(left: Mapping[str, int] | None, before: Mapping[str, int] | None) -> float:
    return sum(left.values()) / sum(before.values()) if left and before and sum(before.values()) else 1.0


def _kind(model: Model) -> tuple[Any, ...]:
    """A key that is equal for jobs of similar duration."""
    settings = model.identity["settings"]
    if model.stage == "prune":
        parts = [*(settings["layers"] or {}).values(), settings["heads"], settings["width"]]
        return model.stage, tuple(part["by"] for part in parts if part)
    return model.stage, settings.get("method"), settings.get("format")


def _read(model: Model) -> tuple[tuple[str, ...], float]:
    """The unit and amount of the data that a training reads: steps of a batch, or passes over its data. Of a rung, as many
    as all its jobs read in the mean: those of the runs that have been stopped read nothing."""
    settings = model.identity["settings"]
    if settings["max_steps"] is None:
        return ("epochs",), settings["num_train_epochs"]
    batch = next(key for key in BATCHES if settings[key] is not None)
    taken = rungs.steps(model) * rungs.share(model)
    return ("steps", batch), taken * settings["gradient_accumulation_steps"] * settings[batch]
