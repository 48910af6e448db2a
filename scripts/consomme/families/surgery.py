"""Taking layers and heads out of a model.

Layers and heads count from 0 here. A group of attention modules is named SIDE.KIND: `encoder.self`, `decoder.self`,
`decoder.cross`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.families.base import Attention, Family, Stack, set_value, value_of
from consomme.families.settings import own_generation_config

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

Pruned = Mapping[str, Mapping[int, Sequence[int]]]


def sub(model: nn.Module, dotted: str) -> Any:
    """The submodule (or attribute) at a dotted path."""
    for name in dotted.split("."):
        model = getattr(model, name)
    return model


def layers(model: PreTrainedModel, stack: Stack) -> nn.ModuleList:
    """The layers of one side, in order."""
    return sub(model, stack.layers)


def groups(family: Family) -> Iterator[tuple[str, Stack, Attention]]:
    """Every group of attention modules: its name, its side, where its module is in a layer."""
    for side, stack in family.stacks.items():
        for kind, attention in stack.attentions.items():
            yield f"{side}.{kind}", stack, attention


def attentions(model: PreTrainedModel, family: Family) -> dict[str, list[nn.Module]]:
    """Group -> the attention module of each layer."""
    return {
        name: [sub(layer, attention.path) for layer in layers(model, stack)]
        for name, stack, attention in groups(family)
    }


def heads(model: PreTrainedModel, family: Family) -> dict[str, list[int]]:
    """Group -> the number of heads of each layer as it is now."""
    spelled = {name: attention for name, _, attention in groups(family)}
    return {
        name: [sub(module, spelled[name].heads) for module in modules]
        for name, modules in attentions(model, family).items()
    }


# -- layers --------------------------------------------------------------------------------------------------------
def keep_layers(model: PreTrainedModel, family: Family, kept: Mapping[str, Sequence[int]]) -> PreTrainedModel:
    """Keep these layers of each named side, in place, and return the model.

    What is saved afterwards is a plain checkpoint: the config counts the layers that remain, layer numbers follow the
    new order (generation caches index by them). ConsommeError for an empty, unordered or unknown selection."""
    from torch import nn

    for side, chosen in kept.items():
        stack = _stack(family, side)
        total = len(layers(model, stack))
        chosen = list(chosen)
        if not chosen or chosen != sorted(set(chosen)) or chosen[0] < 0 or chosen[-1] >= total:
            raise ConsommeError(
                f"{side}: can't keep layers {[c + 1 for c in chosen]} of {total}; "
                f"name at least one, each once, ascending, from 1 to {total}"
            )
    own_config(model)
    family.before_layers(model, kept)
    for side, chosen in kept.items():
        stack = family.stacks[side]
        old = layers(model, stack)
        parent, _, name = stack.layers.rpartition(".")
        setattr(sub(model, parent), name, nn.ModuleList([old[i] for i in chosen]))
        for new, layer in enumerate(layers(model, stack)):
            parts: Iterator[Any] = layer.modules()
            for module in parts:
                if getattr(module, "layer_idx", None) is not None:
                    module.layer_idx = new
        set_value(model.config, stack.count, len(chosen))
        _renumber(model.config, side, chosen)
    family.after_layers(model, kept)
    return model


def _renumber(config: Any, side: str, chosen: Sequence[int]) -> None:
    """Heads that were cut out keep their place when layers move."""
    pruned = getattr(config, "pruned_heads", None) or {}
    new = {old: str(i) for i, old in enumerate(chosen)}
    for name in [n for n in pruned if n.split(".")[0] == side]:
        pruned[name] = {new[int(k)]: v for k, v in pruned[name].items() if int(k) in new}
    if pruned:
        config.pruned_heads = {n: by_layer for n, by_layer in pruned.items() if by_layer}


# -- heads ---------------------------------------------------------------------------------------------------------
def slice_heads(model: PreTrainedModel, family: Family, pruned: Pruned) -> PreTrainedModel:
    """Cut heads out of the projections, in place, and return the model: faster and smaller, but only
    `consomme.families.load` loads it, by the `pruned_heads` that this writes to the config.

    `pruned[group][layer]` are head numbers of the model as it is. ConsommeError if a sublayer would keep no head."""
    import torch

    reason = family.no_slicing(model.config)
    if reason:
        raise ConsommeError(f"{family.name}: heads can't be cut out: {reason}; zero them instead")
    pruned = _checked(model, family, pruned)
    own_config(model)
    before = _original_heads(model, family)
    remain: dict[str, dict[int, list[int]]] = {}
    for name, stack, attention in groups(family):
        for layer, gone in pruned.get(name, {}).items():
            module = sub(layers(model, stack)[layer], attention.path)
            count = sub(module, attention.heads)
            stay = [h for h in range(count) if h not in set(gone)]
            size = sub(module, attention.query).out_features // count
            index = torch.cat([torch.arange(h * size, (h + 1) * size) for h in stay])
            for projection in (attention.query, attention.key, attention.value):
                take(sub(module, projection), index, dim=0)
            take(sub(module, attention.out), index, dim=1)
            setattr(module, attention.heads, len(stay))
            remain.setdefault(name, {})[layer] = stay
            before[name][layer] = [before[name][layer][h] for h in stay]
    model.config.pruned_heads = _gone(model, family, before)
    family.after_heads(model, remain)
    return model


def zero_heads(model: PreTrainedModel, family: Family, pruned: Pruned) -> PreTrainedModel:
    """Silence heads in the stock shape, in place, and return the model: any code loads it, and it computes what the
    sliced model computes (up to rounding). Queries, keys, values and output columns of those heads become zero."""
    import torch

    pruned = _checked(model, family, pruned)
    with torch.no_grad():
        for name, stack, attention in groups(family):
            for layer, gone in pruned.get(name, {}).items():
                module = sub(layers(model, stack)[layer], attention.path)
                size = sub(module, attention.query).out_features // sub(module, attention.heads)
                for head in gone:
                    part = slice(head * size, (head + 1) * size)
                    sub(module, attention.out).weight[:, part] = 0
                    for projection in (attention.query, attention.key, attention.value):
                        linear = sub(module, projection)
                        linear.weight[part] = 0
                        if linear.bias is not None:
                            linear.bias[part] = 0
    return model


def dead_heads(model: PreTrainedModel, family: Family) -> set[tuple[str, int, int]]:
    """Heads (group, layer, number, all from 0) without effect: their output columns are zero."""
    return {
        (name, number, head)
        for name, stack, attention in groups(family)
        for number, layer in enumerate(layers(model, stack))
        for module in [sub(layer, attention.path)]
        for head, columns in enumerate(sub(module, attention.out).weight.chunk(sub(module, attention.heads), dim=1))
        if not columns.any()
    }


def last_projections(model: PreTrainedModel, stack: Stack) -> list[nn.Module]:
    """Of each sublayer of a side, in the order of computation, the projection without which it adds nothing."""
    return [sub(layer, path) for layer in layers(model, stack) for path in stack.sublayers.values()]


def is_zeroed(projection: nn.Module) -> bool:
    """Whether a projection is zero with its bias, as pruning leaves the last one of a sublayer."""
    return not any(p.any() for p in projection.parameters())


def complain(path: Path, report: Mapping[str, Any], optional: Sequence[str] = ()) -> None:
    """ConsommeError if a checkpoint's weights and its config do not fit: transformers would go on with random ones.

    optional: ends of the names of weights that may be missing or too many."""
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        found = [name for name in report.get(what) or () if not str(name).endswith(tuple(optional))]
        if found:
            names = ", ".join(sorted(map(_told, found))[:3])
            raise ConsommeError(f"{path / 'model.safetensors'} does not fit its config.json: {what}: {names}")


def _told(found: Any) -> str:
    """A name as transformers reports it, or a name with the shapes in the file and by config.json."""
    if isinstance(found, str):
        return found
    name, stored, described = found
    return f"{name} {list(stored)} and not {list(described)}"


def zero(model: PreTrainedModel, names: Sequence[str]) -> None:
    """Set these weights, in place, to zero."""
    import torch

    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name in names:
            weights[name].zero_()


def load_sliced(path: Path, family: Family) -> PreTrainedModel:
    """Load a model whose heads were cut out: build the stock shape with zeros in their place, then cut again."""
    import torch

    model = load_in_stock_shape(path, family)
    pruned = {n: {int(k): v for k, v in by.items()} for n, by in model.config.pruned_heads.items()}
    model.config.pruned_heads = {}
    slice_heads(model, family, pruned)
    own_generation_config(model, path)  # as stored: its head numbers already are those that remain
    return model.to(torch.float32)


def load_in_stock_shape(path: Path, family: Family) -> PreTrainedModel:
    """A sliced checkpoint in its stock shape, its missing heads zero.

    Its config still names them under `pruned_heads`; `zeroed_copy` removes that for saving."""
    import torch
    import transformers
    from safetensors.torch import load_file

    config = getattr(transformers, family.config).from_pretrained(path, local_files_only=True)
    state = load_file(path / "model.safetensors")
    for name, stack, attention in groups(family):
        count = value_of(config, stack.heads)
        for layer, gone in (config.pruned_heads.get(name) or {}).items():
            prefix = f"{stack.layers}.{layer}.{attention.path}."
            stay = [h for h in range(count) if h not in set(gone)]
            for projection in (attention.query, attention.key, attention.value):
                for kind in ("weight", "bias"):
                    key = f"{prefix}{projection}.{kind}"
                    if key in state:
                        state[key] = _spread(state[key], stay, count, dim=0)
            key = f"{prefix}{attention.out}.weight"
            state[key] = _spread(state[key], stay, count, dim=1)
    kind = getattr(transformers, family.architecture)
    model, report = kind.from_pretrained(
        None, config=config, state_dict=state, dtype=torch.float32, output_loading_info=True
    )
    complain(path, report, family.optional)
    zero(model, report["missing_keys"])
    return model


def zeroed_copy(path: Path, family: Family) -> PreTrainedModel:
    """The copy of a sliced checkpoint that plain `from_pretrained` loads once saved: stock shape, those heads zero."""

    model = load_in_stock_shape(path, family)
    own_config(model)
    del model.config.pruned_heads
    own_generation_config(model, path)
    return model.eval()


def _checked(model: PreTrainedModel, family: Family, pruned: Pruned) -> dict[str, dict[int, list[int]]]:
    counts = heads(model, family)
    _require_own_keys(model, family)
    unknown = sorted(set(pruned) - set(counts))
    if unknown:
        raise ConsommeError(f"heads: {family.name} has no {unknown[0]}; allowed: {', '.join(counts)}")
    checked: dict[str, dict[int, list[int]]] = {}
    for name, by_layer in pruned.items():
        for key, gone in by_layer.items():
            layer, gone = int(key), sorted(set(gone))
            if not 0 <= layer < len(counts[name]):
                raise ConsommeError(f"heads: {name} has no layer {layer + 1}; it has {len(counts[name])}")
            if not gone:
                continue
            total = counts[name][layer]
            if gone[0] < 0 or gone[-1] >= total:
                raise ConsommeError(f"heads: layer {layer + 1} of {name} has heads 1 to {total}, not {gone[-1] + 1}")
            if len(gone) == total:
                raise ConsommeError(
                    f"heads: all {total} heads of layer {layer + 1} of {name} would go; a sublayer keeps at least one "
                    "(drop the layer instead)"
                )
            checked.setdefault(name, {})[layer] = gone
    return checked


def _require_own_keys(model: PreTrainedModel, family: Family) -> None:
    """ConsommeError where several heads share keys and values, so that one alone can't go."""
    for name, _, attention in groups(family):
        for module in attentions(model, family)[name]:
            if sub(module, attention.query).out_features != sub(module, attention.key).out_features:
                raise ConsommeError(f"heads: the heads of {name} share keys and values (grouped-query attention)")


def _original_heads(model: PreTrainedModel, family: Family) -> dict[str, list[list[int]]]:
    """Group -> layer -> the numbers in the stock shape of the heads that are there."""
    earlier = getattr(model.config, "pruned_heads", None) or {}
    found = {}
    for name, stack, _ in groups(family):
        total = value_of(model.config, stack.heads)
        lost = {int(k): set(v) for k, v in earlier.get(name, {}).items()}
        found[name] = [
            [h for h in range(total) if h not in lost.get(layer, ())] for layer in range(len(layers(model, stack)))
        ]
    return found


def _gone(
    model: PreTrainedModel, family: Family, left: Mapping[str, list[list[int]]]
) -> dict[str, dict[str, list[int]]]:
    result: dict[str, dict[str, list[int]]] = {}
    for name, stack, _ in groups(family):
        total = value_of(model.config, stack.heads)
        for layer, there in enumerate(left[name]):
            if len(there) < total:
                result.setdefault(name, {})[str(layer)] = [h for h in range(total) if h not in set(there)]
    return result


def take(linear: nn.Linear, index: torch.Tensor, dim: int) -> None:
    """Keep these rows (dim 0) or columns (dim 1) of a linear layer."""
    from torch import nn

    index = index.to(linear.weight.device)
    linear.weight = nn.Parameter(linear.weight.detach().index_select(dim, index).clone(), linear.weight.requires_grad)
    if dim == 0:
        linear.out_features = len(index)
        if linear.bias is not None:
            linear.bias = nn.Parameter(linear.bias.detach().index_select(0, index).clone(), linear.bias.requires_grad)
    else:
        linear.in_features = len(index)


def _spread(tensor: torch.Tensor, stay: Sequence[int], count: int, dim: int) -> torch.Tensor:
    """Put the blocks of the heads that stayed at their places among `count`, zeros elsewhere."""
    size = tensor.shape[dim] // len(stay)
    shape = list(tensor.shape)
    shape[dim] = count * size
    full = tensor.new_zeros(shape)
    for i, head in enumerate(stay):
        full.narrow(dim, head * size, size).copy_(tensor.narrow(dim, i * size, size))
    return full


def own_config(model: PreTrainedModel) -> None:
    """Give the model a config of its own: models built from one config object share it."""
    old, new = model.config, copy.deepcopy(model.config)
    parts = {name: part for name in old.sub_configs if (part := getattr(old, name, None)) is not None}
    modules: Iterator[Any] = model.modules()
    for module in modules:
        if getattr(module, "config", None) is old:
            module.config = new
        for name, part in parts.items():
            if getattr(module, "config", None) is part:
                module.config = getattr(new, name)
    if getattr(model, "generation_config", None) is not None:
        model.generation_config = copy.deepcopy(model.generation_config)


def _stack(family: Family, side: str) -> Stack:
    if side not in family.stacks:
        raise ConsommeError(f"layers: {family.name} has no {side}; allowed: {', '.join(family.stacks)}")
    return family.stacks[side]
