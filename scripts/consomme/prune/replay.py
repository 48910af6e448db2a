"""Reuse of hidden states in a search: candidates with the same first layers share their states, computed once per batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from consomme.common.log import say
from consomme.families.base import Family, Stack

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

LIMIT = 2 * 2**30  # bytes of states to keep
Place = tuple[str, tuple[int, ...]]  # a batch: development set, rows


class Replay:
    """The outputs of one side's layers, by batch, for the layers that a candidate shares with the base. The base is the set
    of layers whose neighbours a search evaluates. A layer is identified by any hashable value, such as its number.

    Results equal those of the whole model bit for bit: the first layer that differs gets the same input tensors as in the
    full pass. The outputs of the modules that run before the layers (convolutions; for a decoder the encoder) are kept
    too. If the states take more than `limit` bytes, only those after every second layer are kept, then every fourth, and
    so on."""

    def __init__(self, family: Family, side: str, limit: int = LIMIT) -> None:
        self.stack, self.side, self.limit = family.stacks[side], side, limit
        self.base: tuple[Hashable, ...] = ()
        self.spacing, self.bytes = 1, 0
        self._states: dict[
            Place, dict[int, _Output]
        ] = {}  # number of first layers of the base -> output of the last of them
        self._front: dict[Place, dict[str, _Output]] = {}  # a module that runs before the layers -> its output

    def near(self, base: Sequence[Hashable]) -> None:
        """Set the base for the next candidates. States of the first layers that it shares with the old base are kept."""
        common = _common(self.base, base)
        for known in self._states.values():
            self._forget(known, [count for count in known if count > common])
        self.base = tuple(base)

    @contextmanager
    def playing(self, model: PreTrainedModel, candidate: Sequence[Hashable], place: Place) -> Generator[None]:
        """A context for one forward pass of `model`, with the layers `candidate` on this side, over one batch. The model
        must not share modules with others: within the context the forward methods of some are replaced."""
        from consomme.families.surgery import layers, sub

        stack, common = layers(model, self.stack), _common(self.base, candidate)
        known = self._states.setdefault(place, {})
        start = max((count for count in known if count <= common), default=0)
        with ExitStack() as undo:
            if place in self._front:
                for name, output in self._front[place].items():
                    undo.enter_context(_instead(sub(model, name), output.copied))
            else:
                undo.enter_context(self._watching(model, stack[0], place))
            # a first layer that computes the position bias of all layers still runs: the bias is larger than the states
            for layer in stack[int(self.stack.anchored) : start]:
                undo.enter_context(_instead(layer, known[start].given))
            for count in range(start + 1, common + 1):
                undo.enter_context(self._recording(stack[count - 1], known, count))
            yield

    @contextmanager
    def _recording(self, layer: nn.Module, known: dict[int, _Output], count: int) -> Generator[None]:
        def keep(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            found = _Output(output, arguments, named)
            if self._room(count, found.bytes):
                known[count] = found
                self.bytes += found.bytes

        handle = layer.register_forward_hook(keep, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _watching(self, model: PreTrainedModel, first: nn.Module, place: Place) -> Generator[None]:
        """Find the modules that run exactly once, before the layers and outside the modules that hold them; keep their
        outputs."""
        found: dict[str, list[_Output | None]] = {}
        entered = False

        def enter(*_: Any) -> None:
            nonlocal entered
            entered = True

        def keeping(name: str) -> Callable[..., None]:
            def keep(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
                # a copy: later modules may write into it
                found.setdefault(name, []).append(None if entered else _Output(copy.deepcopy(output)))

            return keep

        handles = [first.register_forward_pre_hook(enter)]
        handles += [m.register_forward_hook(keeping(n), with_kwargs=True) for n, m in _beside(model, self.stack)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        once = {name: outputs[0] for name, outputs in found.items() if len(outputs) == 1}
        kept = {name: output for name, output in once.items() if output is not None}
        size = sum(output.bytes for output in kept.values())
        if not self._room(0, size):
            kept, size = {}, 0
        self._front[place] = kept
        self.bytes += size

    def _room(self, count: int, size: int) -> bool:
        """Whether the `size` bytes of states after `count` layers may be kept. Deletes other states to make room if
        needed."""
        while count % self.spacing == 0 and self.bytes + size > self.limit:
            if self.spacing > len(self.base):
                return False
            self.spacing *= 2
            for known in self._states.values():
                self._forget(known, [other for other in known if other % self.spacing])
            left = (
                f"those after every {self.spacing}th layer are kept"
                if self.spacing <= len(self.base)
                else "the layers run in full"
            )
            say(f"{self.side}: the states of this search take more than {self.limit / 2**30:.3g} GiB; {left}")
        return count % self.spacing == 0

    def _forget(self, known: dict[int, _Output], counts: Sequence[int]) -> None:
        for count in counts:
            self.bytes -= known.pop(count).bytes


class _Output:
    """The output of a module. Inputs that it returns unchanged are not stored: they are taken from the next call's inputs."""

    def __init__(self, value: Any, arguments: tuple[Any, ...] = (), named: Mapping[str, Any] | None = None) -> None:
        import torch

        self.value = value
        self.handed_on: dict[int, int | str] = {}  # number in the tuple -> argument
        if type(value) is tuple:
            places = {id(a): at for at, a in [*enumerate(arguments), *(named or {}).items()] if torch.is_tensor(a)}
            self.handed_on = {i: places[id(v)] for i, v in enumerate(value) if id(v) in places}
            self.value = tuple(None if i in self.handed_on else v for i, v in enumerate(value))
        self.bytes = _bytes(self.value)

    def given(self, *arguments: Any, **named: Any) -> Any:
        """The output for these arguments."""
        if not self.handed_on:
            return self.value
        return tuple(
            v if (at := self.handed_on.get(i)) is None else named[at] if isinstance(at, str) else arguments[at]
            for i, v in enumerate(self.value)
        )

    def copied(self, *arguments: Any, **named: Any) -> Any:
        """A copy of the output, safe to write into."""
        return copy.deepcopy(self.value)


@contextmanager
def _instead(module: nn.Module, forward: Callable[..., Any]) -> Generator[None]:
    """Within the block, `forward` replaces the module's own."""
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def _beside(model: nn.Module, stack: Stack) -> Iterator[tuple[str, nn.Module]]:
    """Modules with weights that are siblings of the modules on the path from the model to its layers, each once."""
    seen, way = set(), []
    for step in stack.layers.split("."):
        for name, child in model.named_children():
            if name != step and id(child) not in seen and next(child.parameters(), None) is not None:
                seen.add(id(child))
                yield ".".join([*way, name]), child
        way.append(step)
        model = getattr(model, step)


def _common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """The number of first layers that two sets share."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _bytes(value: Any) -> int:
    """The size of all tensors in `value`, each counted once."""
    import torch
    from torch.utils._pytree import tree_leaves

    return sum({id(v): v.nbytes for v in tree_leaves(value) if torch.is_tensor(v)}.values())
