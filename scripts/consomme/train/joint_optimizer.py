"""Several optimizers as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


class Both(torch.optim.Optimizer):
    """Several optimizers as one, with the parameter groups of all for schedules and gradient clipping."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.optimizers = list(optimizers)
        super().__init__([g for o in self.optimizers for g in o.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Use the optimizers' own dictionaries, so that a rate set here is set there."""
        self.param_groups = [g for o in self.optimizers for g in o.param_groups]

    def step(self, closure: Any = None) -> Any:
        for optimizer in self.optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {"optimizers": [o.state_dict() for o in self.optimizers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self._share()
