"""Models that begin alike compute the same up to where they differ: a search computes that once, for each batch."""

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

LIMIT = 2 * 2**30  # bytes of states that are kept
Place = tuple[str, tuple[int, ...]]  # a batch: development set, rows


class Replay:
    """What the layers of one side returned, by batch, for as many layers as a candidate has in common with the base: the
    set whose neighbours a search asks for. A layer is named by anything that tells it from others, such as its number.

    Answers are those of the whole model to the bit: the layers that differ get the very tensors that the others gave
    them in another candidate, and what runs before the layers (convolutions; for a decoder the encoder) is there too.
    Beyond `limit` bytes the states behind every second layer are kept, every fourth, and so on."""

    def __init__(self, family: Family, side: str, limit: int = LIMIT) -> None:
        self.stack, self.side, self.limit = family.stacks[side], side, limit
        self.base: tuple[Hashable, ...] = ()
        self.spacing, self.bytes = 1, 0
        self._states: dict[Place, dict[int, _Output]] = {}  # a number of layers of the base -> what the last returned
        self._front: dict[Place, dict[str, _Output]] = {}  # a module that runs before the layers -> what it returned

    def near(self, base: Sequence[Hashable]) -> None:
        """From now on candidates are compared with this set; what it has in common with the one before stays known."""
        common = _common(self.base, base)
        for known in self._states.values():
            self._forget(known, [count for count in known if count > common])
        self.base = tuple(base)

    @contextmanager
    def playing(self, model: PreTrainedModel, candidate: Sequence[Hashable], place: Place) -> Generator[None]:
        """A context in which `model`, whose layers on this side are `candidate`, is asked for one batch. Its modules must
        be its own: the forward passes of some are replaced for the time."""
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
            # where the first layer makes a position bias for all, it runs: the bias is larger than the states
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
        """Finds what runs once, and before the layers, beside the modules that hold them, and keeps what it returns."""
        found: dict[str, list[_Output | None]] = {}
        entered = False

        def enter(*_: Any) -> None:
            nonlocal entered
            entered = True

        def keeping(name: str) -> Callable[..., None]:
            def keep(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
                # a copy: what comes next may write into it
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
        """Whether `size` bytes behind that many layers may be kept, after others have made room where they can."""
        while count % self.spacing == 0 and self.bytes + size > self.limit:
            if self.spacing > len(self.base):
                return False
            self.spacing *= 2
            for known in self._states.values():
                self._forget(known, [other for other in known if other % self.spacing])
            left = (
                f"those behind every {self.spacing}th layer are kept"
                if self.spacing <= len(self.base)
                else "the layers run in full"
            )
            say(f"{self.side}: the states of this search take more than {self.limit / 2**30:.3g} GiB; {left}")
        return count % self.spacing == 0

    def _forget(self, known: dict[int, _Output], counts: Sequence[int]) -> None:
        for count in counts:
            self.bytes -= known.pop(count).bytes


class _Output:
    """What a module returned. What it was given and only handed on is not kept, but taken from what it is given again."""

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
        """A copy of the output, which may be written into."""
        return copy.deepcopy(self.value)


@contextmanager
def _instead(module: nn.Module, forward: Callable[..., Any]) -> Generator[None]:
    """For the time, the module does that."""
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
    """Modules with weights that lie beside those on the way from the model to the layers, each once."""
    seen, way = set(), []
    for step in stack.layers.split("."):
        for name, child in model.named_children():
            if name != step and id(child) not in seen and next(child.parameters(), None) is not None:
                seen.add(id(child))
                yield ".".join([*way, name]), child
        way.append(step)
        model = getattr(model, step)


def _common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """How many layers two sets begin with in common."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _bytes(value: Any) -> int:
    """Of all tensors in it, each counted once."""
    import torch
    from torch.utils._pytree import tree_leaves

    return sum({id(v): v.nbytes for v in tree_leaves(value) if torch.is_tensor(v)}.values())
