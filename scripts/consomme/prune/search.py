"""The evaluations of a layer search: the development objective of a model with only some layers of one side."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from consomme.evaluate.metrics import metric_named
from consomme.prune.merging import Merging
from consomme.prune.replay import LIMIT, Replay

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import nn
    from transformers import PreTrainedModel

    from consomme.evaluate.judge import Judge
    from consomme.families.base import Family

DROPPED = Merging()  # nothing is merged


class Search:
    """The development objective of `model` with only some layers of one side, numbered from 0. `model` is not changed.

    kept: the layers to keep on the other sides. limit: bytes of hidden states to keep between evaluations (0: every
    candidate runs in full). merging: what becomes of dropped layers, here as in the result. asked: for each evaluation
    the layers, the objective, whether it was computed (or found in the cache), and seconds."""

    def __init__(
        self,
        model: PreTrainedModel,
        family: Family,
        side: str,
        kept: Mapping[str, Sequence[int]],
        judge: Judge,
        limit: int = LIMIT,
        merging: Merging = DROPPED,
    ) -> None:
        from consomme.families.surgery import layers

        self.family, self.side, self.judge, self.merging = family, side, judge, merging
        self.model = merging.keep_layers(shared_copy(model.to(judge.device)), family, dict(kept))
        self.depth = len(layers(self.model, family.stacks[side]))
        # states can't be reused in autoregressive generation: they depend on the tokens that each candidate generates
        same = metric_named(judge.choice.metric).needs == "loss" or family.objective == "ctc"
        self.replay = Replay(family, side, limit) if limit and same else None
        self.asked: list[tuple[tuple[int, ...], float, bool, float]] = []
        self.looks, self.looked = 0, 0.0  # passes that read hidden states or gradients, and their seconds

    def __call__(self, kept: Sequence[int]) -> float:
        began, batches = time.monotonic(), 0
        smaller = self.merging.keep_layers(shared_copy(self.model), self.family, {self.side: list(kept)})
        candidate = self.merging.known_by(self.side, kept, self.depth)

        def around(set_name: str, rows: Sequence[int]) -> AbstractContextManager[None]:
            nonlocal batches
            batches += 1
            return self.replay.playing(smaller, candidate, (set_name, tuple(rows))) if self.replay else nullcontext()

        found = self.judge.objective(smaller, around=around)
        self.asked.append((tuple(kept), found, batches > 0, time.monotonic() - began))
        return found

    def near(self, kept: Sequence[int]) -> None:
        """Announce that the next evaluations are of sets with the same first layers as this one."""
        if self.replay:
            self.replay.near(self.merging.known_by(self.side, kept, self.depth))

    def similarity(self) -> list[list[float]]:
        """Mean cosines between the states before, between and after this side's layers, [depth + 1, depth + 1]."""
        from consomme.prune.states import cosines

        return self._looking(cosines, self.model, self.family, self.side, self.judge)

    def learnt(self, drop: int, seed: int) -> tuple[list[float], list[dict[str, Any]]]:
        """A score for each layer of this side, learnt by gradient for the removal of `drop` layers; the losses of the
        steps."""
        from consomme.prune.gates import learn

        return self._looking(learn, self.model, self.family, self.side, self.judge, drop, seed)

    def _looking(self, look: Any, *arguments: Any) -> Any:
        began = time.monotonic()
        found = look(*arguments)
        self.looks, self.looked = self.looks + 1, self.looked + time.monotonic() - began
        return found

    def summary(self) -> str:
        """For the log, such as `7 evaluations, 5 of them computed, in 1.2 s`."""
        seconds = sum(s for *_, s in self.asked) + self.looked
        if not self.asked:
            return f"{self.looks} scoring of all layers in {seconds:.1f} s"
        computed = sum(fresh for *_, fresh, _ in self.asked)
        return f"{len(self.asked)} evaluations, {computed} of them computed, in {seconds:.1f} s"


def shared_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the modules that shares the tensors, and the config until `keep_layers` replaces it: layers can be removed
    from it without copying the weights.

    copy.deepcopy isn't used because it takes as long as one layer takes for a batch. The garbage collector is paused:
    thousands of new dictionaries would start it, and it would find nothing to free."""
    made: dict[int, Any] = {}

    def copied(module: nn.Module) -> Any:
        if id(module) not in made:
            new = made[id(module)] = module.__class__.__new__(module.__class__)
            # hooks, parameters and buffers are in dictionaries of the module
            new.__dict__ = {k: v.copy() if isinstance(v, dict | set) else v for k, v in module.__dict__.items()}
            new._modules = {n: None if m is None else copied(m) for n, m in module._modules.items()}
        return made[id(module)]

    collecting = gc.isenabled()
    gc.disable()
    try:
        return copied(model)
    finally:
        if collecting:
            gc.enable()
