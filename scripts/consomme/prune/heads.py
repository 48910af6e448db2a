"""Which attention heads go: importance by one backward pass over the development sets.

Michel, Levy and Neubig 2019, arXiv 1905.10650: with a mask on each head's output, all ones, the expected |dL/dmask| says
how much the loss would change without the head. transformers has no head masks any more; a hook before the output
projection puts them there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.prune.layers import to_drop

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from consomme.data.prepared import Rows
    from consomme.families.base import Family

Scores = dict[str, list[list[float]]]  # group (encoder.self, decoder.self, decoder.cross) -> layer -> head -> score
BATCH = 16  # utterances in one backward pass; of speed only, as every utterance has a mask of its own


def taylor(
    model: PreTrainedModel,
    family: Family,
    processor: Any,
    sets: Sequence[tuple[Rows, float]],
    languages: Sequence[str],
    device: str,
) -> Scores:
    """E|dL/dmask| of each head: L is an utterance's loss per token, the expectation runs over the rows of each set, and
    sets count by their weight. Gradients are those of single utterances, so neither batch size nor order matters.

    The model's own weights get no gradients; its requires_grad flags and hooks are as before afterwards."""
    import torch

    from consomme.evaluate.evaluator import ctc_nll, evaluating, seq2seq_nll

    measure = {"ctc": ctc_nll, "seq2seq": seq2seq_nll}[family.objective]
    total: dict[tuple[str, int], Tensor] = {}
    with evaluating(model, device), _frozen(model), _masks(model, family) as masks:
        for rows, weight in sets:
            order = sorted(range(len(rows)), key=lambda i: -float(rows.lengths[i]))
            for start in range(0, len(order), BATCH):
                which = order[start : start + BATCH]
                inputs = [family.features(processor, rows.source(i)) for i in which]
                labels = [family.labels(processor, rows.target(i), languages) for i in which]
                batch = family.collate(processor, inputs, labels)
                batch = {k: v.to(device, model.dtype if v.is_floating_point() else None) for k, v in batch.items()}
                masks.reset(len(which), device)
                with torch.enable_grad():
                    nll, tokens = measure(family, model, batch)
                    (nll / tokens.clamp(min=1)).sum().backward()
                for place, mask in masks.values.items():
                    found = mask.grad.abs().double().sum(dim=0).cpu() * (weight / len(rows))
                    total[place] = total[place] + found if place in total else found
    scores: Scores = {}
    for (group, _layer), value in total.items():
        scores.setdefault(group, []).append(value.tolist())
    return scores


class _Masks:
    """One mask [utterance, head] for each attention module, in the order of groups and layers."""

    def __init__(self) -> None:
        self.modules: dict[tuple[str, int], tuple[nn.Module, int]] = {}
        self.values: dict[tuple[str, int], Tensor] = {}

    def reset(self, utterances: int, device: str) -> None:
        import torch

        self.values = {
            place: torch.ones(utterances, heads, device=device, requires_grad=True)
            for place, (_, heads) in self.modules.items()
        }

    def hook(self, place: tuple[str, int], heads: int) -> Any:
        def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            (value, *others) = inputs  # [utterance, time, head * size]
            parted = value.unflatten(-1, (heads, -1)) * self.values[place].to(value.dtype)[:, None, :, None]
            return (parted.flatten(-2), *others)

        return before


@contextmanager
def _masks(model: PreTrainedModel, family: Family) -> Iterator[_Masks]:
    from consomme.families.surgery import groups, layers, sub

    masks, handles = _Masks(), []
    try:
        for group, stack, attention in groups(family):
            for number, layer in enumerate(layers(model, stack)):
                module = sub(layer, attention.path)
                heads = getattr(module, attention.heads)
                masks.modules[group, number] = (module, heads)
                out = sub(module, attention.out)
                handles.append(out.register_forward_pre_hook(masks.hook((group, number), heads)))
        yield masks
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """No gradients for the weights: only those of the masks are wanted."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


TABLE = {"taylor": taylor}


def normalised(scores: Scores) -> Scores:
    """Each attention module's scores divided by their Euclidean length, as in the paper (after Molchanov et al. 2017):
    without it, modules whose gradients are large as a whole would lose none of their heads."""

    def unit(values: list[float]) -> list[float]:
        length = math.sqrt(sum(v * v for v in values))
        return [v / length for v in values] if length > 0 else values

    return {group: [unit(values) for values in by_layer] for group, by_layer in scores.items()}


def choose(scores: Scores, fraction: Fraction) -> dict[str, dict[int, list[int]]]:
    """The heads that go, numbers from 0: those of lowest score over all modules together, of equals the first.

    `fraction` of all heads, halves rounded up, at least one; each module keeps its best head at least.
    ConsommeError where no module has a second head."""
    modules = [(group, layer, values) for group, by in scores.items() for layer, values in enumerate(by)]
    total = sum(len(values) for _, _, values in modules)
    if total == len(modules):
        raise ConsommeError(f"heads.drop: each of the {total} attention modules has one head, which has to stay")
    wanted = to_drop(fraction, total, least_left=len(modules))
    order = sorted(
        (value, place, head) for place, (_, _, values) in enumerate(modules) for head, value in enumerate(values)
    )
    gone: dict[int, list[int]] = {}
    for _, place, head in order:
        taken = gone.setdefault(place, [])
        if wanted and len(taken) < len(modules[place][2]) - 1:
            taken.append(head)
            wanted -= 1
    found: dict[str, dict[int, list[int]]] = {}
    for place, heads in sorted(gone.items()):
        group, layer, _ = modules[place]
        if heads:
            found.setdefault(group, {})[layer] = sorted(heads)
    return found


def describe(pruned: Mapping[str, Mapping[int, Sequence[int]]]) -> dict[str, dict[str, list[int]]]:
    """Layers and heads counted from 1, for people and provenance."""
    return {g: {str(n + 1): [h + 1 for h in heads] for n, heads in by.items()} for g, by in pruned.items()}
