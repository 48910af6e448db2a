"""An optimizer whose state is dealt out to the processes of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import distributed
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import Optimizer

Groups = list[dict[str, Any]]


class Sharded(ZeroRedundancyOptimizer):
    """Each process holds the state of its share of the parameters, makes their step, and sends them to the others (ZeRO,
    Rajbhandari et al. 2020, arXiv 1910.02054, stage 1).

    make: groups of parameters -> the optimizer of one share; rate: the learning rate where a group has none."""

    def __init__(self, groups: Groups, make: Callable[[Groups], Optimizer], rate: float) -> None:
        self.collected = False
        super().__init__(groups, cast("type[Optimizer]", lambda share, **_: make(share)), lr=rate)

    def collect(self) -> None:
        """Give the first process all of the state. All processes call this."""
        self.consolidate_state_dict(to=0)
        self.collected = distributed.get_rank() == 0

    def state_dict(self) -> dict[str, Any]:
        """The state that was collected last; nothing but the groups before, when accelerate asks for it at the start."""
        return super().state_dict() if self.collected else Optimizer.state_dict(self)
