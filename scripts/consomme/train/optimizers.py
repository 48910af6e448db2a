"""Optimizers, with the learning rate and weight decay of each parameter. A new one is a record here, or an entry point of
another package in the group `consomme.optimizers`. Importing this imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from consomme.common import extras
from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.table import Table
from consomme.common.values import Number
from consomme.families.base import value_of
from consomme.families.parts import HEADS, fits, no_side, require_some

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from consomme.families.base import Family

Groups = list[dict[str, Any]]
MOMENTUM = {"sgd": 0.9, "muon": 0.95}


@dataclass(frozen=True)
class Optimizer:
    """An optimizer."""

    name: str  # the word in configurations
    make: Callable[
        [Groups, Mapping[str, Any]], torch.optim.Optimizer
    ]  # (groups of parameters, settings) -> the optimizer
    settings: type[Section] = Section  # its own keys in a train node
    extra: str | None = None  # the optional package that it needs
    # bytes of its state for each number that is trained, in matrices and in tables
    state: tuple[float, float] = (8, 8)
    shards: bool = True  # whether several processes can hold its state in parts; two optimizers as one can't
    elementwise: bool = False  # whether the step of a number depends on no other one, so that matrices can be cut


class SgdSettings(Section):
    """Settings of sgd."""

    momentum: Number | None = Field(None, ge=0, lt=1, description=f"default {MOMENTUM['sgd']}")


class MuonSettings(Section):
    """Settings of muon."""

    momentum: Number | None = Field(None, ge=0, lt=1, description=f"default {MOMENTUM['muon']}")


def freeze(model: PreTrainedModel, family: Family, parts: Sequence[str]) -> None:
    """Stop the gradients of some parts (encoder, decoder, head, or patterns of names). ConsommeError if a part matches no
    parameter, or if nothing is left to train."""
    names = [name for name, _ in model.named_parameters()]
    for part in parts:
        wanted = require_some(names, family, part, "freeze")
        for name, parameter in model.named_parameters():
            if fits(name, wanted):
                parameter.requires_grad_(False)
    if not any(p.requires_grad for p in model.parameters()):
        raise ConsommeError(f"freeze: {list(parts)} is all of the model; nothing is left to train")


def groups(model: PreTrainedModel, family: Family, settings: Mapping[str, Any], decayed: Iterable[str]) -> Groups:
    """The trained parameters, grouped by learning rate, weight decay, and whether they are tables. A table has a row or a
    number for each token (embeddings, heads); parameters that are not matrices count as tables.

    learning_rates: {part: rate}, the first match counts, instead of learning_rate; layerwise_lr_decay: a layer's rate is
    this times the rate of the layer above it (ULMFiT, BEiT), and parameters below the first layer of a side count as one
    more layer. decayed: names of the parameters with weight decay."""
    import torch

    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rates = settings.get("learning_rates") or {}
    rules = [(require_some(trained, family, part, "learning_rates"), rate) for part, rate in rates.items()]
    decay_by_layer = settings.get("layerwise_lr_decay") or 1.0
    depth = _depths(model, family) if decay_by_layer != 1 else lambda name: 0
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    decayed, by = set(decayed), {}
    for name, parameter in trained.items():
        rate = next((r for wanted, r in rules if fits(name, wanted)), settings["learning_rate"])
        rate *= decay_by_layer ** depth(name)
        decay = settings["weight_decay"] if name in decayed else 0.0
        table = parameter.ndim != 2 or id(parameter) in tables or fits(name, HEADS)
        by.setdefault((rate, decay, table), []).append(parameter)
    names = ("lr", "weight_decay", "table")
    return [{"params": params, **dict(zip(names, key, strict=True))} for key, params in by.items()]


def _depths(model: PreTrainedModel, family: Family) -> Callable[[str], int]:
    """Name -> number of layers above it in its stack: 0 for parameters above the stack, the number of layers for those
    below. Assumes that modules are registered in the order of use. Two are not: the norm of a wav2vec 2.0 encoder, and
    the norm of the embeddings after mBART's layers."""
    if not family.stacks:
        raise ConsommeError(f"layerwise_lr_decay: {no_side(family, 'encoder')}")
    counts = {stack.layers: int(value_of(model.config, stack.count)) for stack in family.stacks.values()}
    sides = {place.rpartition(".")[0]: count for place, count in counts.items()}
    above: set[str] = set()
    for place in counts:
        side, _, layers = place.rpartition(".")
        outer, _, inner = side.rpartition(".")
        above |= {f"{side}.{n}." for n in _behind(model.get_submodule(side), layers) if "embedding" not in n}
        above |= {f"{outer}.{n}." for n in _behind(model.get_submodule(outer), inner) if f"{outer}.{n}" not in sides}
        if getattr(model.config, "do_stable_layer_norm", False):
            above.add(f"{side}.layer_norm.")

    def depth(name: str) -> int:
        for place, count in counts.items():
            if name.startswith(f"{place}."):
                return count - 1 - int(name[len(place) + 1 :].split(".", 1)[0])
        if fits(name, HEADS) or any(name.startswith(module) for module in above):
            return 0
        return next((count for side, count in sides.items() if name.startswith(f"{side}.")), max(sides.values()))

    return depth


def _behind(module: torch.nn.Module, name: str) -> list[str]:
    """The names of the submodules registered after `name`."""
    names = [n for n, _ in module.named_children()]
    return names[names.index(name) + 1 :] if name in names else []


# -- the table ---------------------------------------------------------------------------------------------------------
def _adamw(given: Groups, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    import torch

    betas = settings["adam_beta1"], settings["adam_beta2"]
    return torch.optim.AdamW(given, lr=settings["learning_rate"], betas=betas, fused=True)


def _adafactor(given: Groups, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor

    # the schedule sets the rate: no scaling by the weights or by the step (Shazeer and Stern 2018)
    return Adafactor(given, lr=settings["learning_rate"], scale_parameter=False, relative_step=False)


def _sgd(given: Groups, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    import torch

    return torch.optim.SGD(given, lr=settings["learning_rate"], momentum=_momentum(settings))


def _lion(given: Groups, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    from lion_pytorch import Lion

    return Lion(given, lr=settings["learning_rate"], betas=(settings["adam_beta1"], settings["adam_beta2"]))


def _muon(given: Groups, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Matrices by Muon, with steps scaled to the size of AdamW's, so that one learning rate fits both; tables by AdamW (Jordan
    et al. 2024; Liu et al. 2025, arXiv 2502.16982)."""
    import torch

    matrices, tables = ([g for g in given if g["table"] == table] for table in (False, True))
    rate, momentum = settings["learning_rate"], _momentum(settings)
    muon = [torch.optim.Muon(matrices, lr=rate, momentum=momentum, adjust_lr_fn="match_rms_adamw")] if matrices else []
    from consomme.train.joint_optimizer import Both

    return Both([*muon, *([_adamw(tables, settings)] if tables else [])])


def _adamw_8bit(given: Groups, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Both moments of matrices in 8 bits, quantized in blocks (Dettmers et al. 2021, arXiv 2110.02861); tables by AdamW,
    because rare tokens have gradients of other sizes, as the paper keeps embeddings in 32 bits."""
    from bitsandbytes.optim import AdamW8bit

    from consomme.train.joint_optimizer import Both

    matrices, tables = ([g for g in given if g["table"] == table] for table in (False, True))
    betas = settings["adam_beta1"], settings["adam_beta2"]
    small = [AdamW8bit(matrices, lr=settings["learning_rate"], betas=betas)] if matrices else []
    return Both([*small, *([_adamw(tables, settings)] if tables else [])])


ADAMW = Optimizer("adamw_torch_fused", _adamw, elementwise=True)
ADAMW_8BIT = Optimizer("adamw_8bit", _adamw_8bit, extra="bitsandbytes", state=(2, 8), shards=False)
ADAFACTOR = Optimizer("adafactor", _adafactor, state=(0, 0))
SGD = Optimizer("sgd", _sgd, SgdSettings, state=(4, 4), elementwise=True)
LION = Optimizer("lion", _lion, state=(4, 4), elementwise=True)
MUON = Optimizer("muon", _muon, MuonSettings, state=(4, 8), shards=False)
TABLE: Table[Optimizer] = Table("optimizer", "consomme.optimizers", ADAMW, ADAMW_8BIT, ADAFACTOR, SGD, LION, MUON)


def build(
    model: PreTrainedModel, family: Family, settings: Mapping[str, Any], decayed: Iterable[str], sharded: bool = False
) -> torch.optim.Optimizer:
    """The optimizer of the settings for the trained parameters of a model. sharded: its state is dealt out to
    the processes of the training."""
    chosen = TABLE.named(settings.get("optim") or ADAMW.name)
    if chosen.extra:
        extras.require(chosen.extra, f"optim: {chosen.name}")
    found = groups(model, family, settings, decayed)
    if not sharded:
        return chosen.make(found, settings)
    from consomme.train.sharded_optimizer import Sharded

    return Sharded(found, lambda share: chosen.make(share, settings), settings["learning_rate"])


def _momentum(settings: Mapping[str, Any]) -> float:
    given = settings.get("momentum")
    return MOMENTUM[settings["optim"]] if given is None else float(given)
