"""LoRA's adapters on disk, in peft's format, and a model with the mean of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from consomme.common.errors import ConsommeError
from consomme.common.files import write_json
from consomme.common.model_files import json_mapping
from consomme.common.tensor_files import header
from consomme.weights.mean import Mixture, Spans
from consomme.weights.tensors import Weights

CONFIG, FACTORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
SHARED = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "fan_in_fan_out")


@dataclass(frozen=True)
class Adapter:
    """An adapter of a linear module is two factors: A [r, inputs] and B [outputs, r]."""

    config: Mapping[str, Any]  # peft's
    factors: Mapping[str, np.ndarray]  # peft's name -> float32

    @property
    def scale(self) -> float:
        """s of W + s · B·A."""
        r = self.config["r"]
        return self.config["lora_alpha"] / (r**0.5 if self.config.get("use_rslora") else r)

    def of(self, tensor: str) -> tuple[np.ndarray, np.ndarray]:
        """A and B for a tensor of the model, float64."""
        module = PREFIX + tensor.removesuffix(".weight")
        a, b = (self.factors[f"{module}.lora_{letter}.weight"].astype(np.float64) for letter in "AB")
        return a, b

    @property
    def tensors(self) -> list[str]:
        """The tensors of the model that it changes."""
        return [n.removeprefix(PREFIX).replace(".lora_A.", ".") for n in self.factors if n.endswith(".lora_A.weight")]


def read(folder: Path, name: str) -> Adapter:
    """The adapter in a model's folder. ConsommeError if there is none, or not one of A and B alone."""
    if not (folder / CONFIG).is_file() or not (folder / FACTORS).is_file():
        raise ConsommeError(
            f"{name}: there are no adapters in {folder}: its training keeps them with lora: {{keep: true}}"
        )
    header(folder / FACTORS, name)
    found = Adapter(json_mapping(folder / CONFIG), load_file(folder / FACTORS))
    if found.config.get("use_dora") or {n.split(".lora_")[-1] for n in found.factors} != {"A.weight", "B.weight"}:
        raise ConsommeError(
            f"{name}: its adapters are more than two factors each (DoRA); average the merged models: uniform"
        )
    return found


def write(folder: Path, adapter: Adapter) -> None:
    """Write it as peft reads it."""
    folder.mkdir()
    write_json(folder / CONFIG, adapter.config)
    save_file(dict(adapter.factors), folder / FACTORS, {"format": "pt"})


class MeanOfFactors(Mixture):
    """The mean of merged models, in which the product of the mean factors replaces the mean of the products.

    The models' common base is not needed: it is in each of them. mean: the mean adapter."""

    def __init__(self, models: Sequence[Weights], adapters: Mapping[str, Adapter]) -> None:
        super().__init__(models)
        self.adapters = list(adapters.values())
        (first, one), *others = adapters.items()
        for name, other in others:
            _check(first, one, name, other)
        self.changed = set(one.tensors)
        if lost := sorted(self.changed - set(self.layout)):
            raise ConsommeError(f"{first}: its adapters change {lost[0]}, which is no tensor of the model")
        factors = {n: np.mean([a.factors[n] for a in self.adapters], 0, np.float64) for n in one.factors}
        self.mean = replace(one, factors={n: mean.astype(np.float32) for n, mean in factors.items()})

    def difference(self, tensor: str) -> np.ndarray:
        """s · (mean(B) · mean(A) − mean(B·A)), float64, flat."""
        factors = [adapter.of(tensor) for adapter in self.adapters]
        a, b = (np.mean(side, 0) for side in zip(*factors, strict=True))
        products = sum(b @ a for a, b in factors) / len(factors)
        return (self.adapters[0].scale * (b @ a - products)).reshape(-1)

    def _totals(self, tensor: str, spans: Spans, stored: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
        if tensor not in self.changed:
            return super()._totals(tensor, spans, stored)
        more = self.divisor * self.difference(tensor)
        pieces = ((begin, end, self._sum(tensor, self.coefficients, begin, end)) for begin, end in spans)
        return (stored(total + more[begin:end]) for begin, end, total in pieces)


def _check(first: str, one: Adapter, name: str, other: Adapter) -> None:
    """ConsommeError unless two adapters have the same modules, shapes and scale."""
    shapes = [{n: f.shape for n, f in a.factors.items()} for a in (one, other)]
    if shapes[0] != shapes[1]:
        differ = sorted(n for n in {*shapes[0], *shapes[1]} if shapes[0].get(n) != shapes[1].get(n))
        raise ConsommeError(f"{first} and {name} have adapters of other modules or ranks: {differ[0]}; use uniform")
    for key in SHARED:
        if one.config.get(key) != other.config.get(key):
            raise ConsommeError(f"{first} and {name} differ in {key} of their adapters; use uniform")
