"""A model whose weights, gradients and optimizer state are dealt out to the processes of a training (ZeRO, Rajbhandari et al.
2020, arXiv 1910.02054, stage 3), by torch's fully_shard.

A layer is whole only while it computes: all processes bring their parts together before, and each keeps its part of the sum of
the gradients afterwards. So all have to make the same passes through the same layers, and nothing but passes may happen in
between. What needs the whole model (files, evaluations) has a copy of it, in the first process."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import TrainerCallback

from consomme.common.errors import ConsommeError
from consomme.families.surgery import layers
from consomme.train.share import IDLE

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from consomme.families.base import Family
    from consomme.train.ranks import Ranks


class ShardedWeights(TrainerCallback):
    """Deals out `model`, in place: each layer by itself, and together what is in none.

    device: "cpu" or "cuda". every: the copy has the weights after each step that is a multiple of one of these, and after the
    last one."""

    def __init__(
        self, model: PreTrainedModel, family: Family, device: str, ranks: Ranks, every: Sequence[int] = ()
    ) -> None:
        if not family.stacks:
            raise ConsommeError(f"shard_weights: the layers of '{family.name}' are unknown; leave it out")
        self.model, self.ranks, self.every = model, ranks, every
        self.whole = deepcopy(model) if ranks.first else None  # on the processor
        self.state: dict[str, Any] | None = None  # of the optimizer, for the file that is written next
        self.mesh = init_device_mesh(device, (ranks.count,))
        for stack in family.stacks.values():
            for layer in layers(model, stack):
                fully_shard(layer, mesh=self.mesh)
        fully_shard(model, mesh=self.mesh)
        for module in model.modules():
            if isinstance(module, FSDPModule):  # sums: losses are divided by what is in the step of all processes
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)

    def passes(self, own: Sequence[dict[str, Any]], spare: dict[str, Any] | None) -> Generator[dict[str, Any]]:
        """The inputs of each pass of a batch: this process's own, then the first row of its last or of `spare`, as long as
        another process has more."""
        done = 0
        while self.ranks.any(done < len(own)):
            if done < len(own):
                yield own[done]
            else:
                last = own[-1] if own else spare
                assert last is not None
                yield {name: value[:1] for name, value in last.items()} | {IDLE: True}
            done += 1

    # -- weights -----------------------------------------------------------------------------------------------------
    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step >= state.max_steps or any(state.global_step % n == 0 for n in self.every):
            self.gather()

    @torch.no_grad()
    def gather(self) -> None:
        """Give the copy the weights. All processes call this."""
        own = self.whole.state_dict() if self.whole else {}
        for name, value in self.model.state_dict().items():
            found = whole(value)  # one at a time
            if self.whole:
                own[name].copy_(found)

    @torch.no_grad()
    def scatter(self) -> None:
        """Give all processes the weights of the copy. All processes call this."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        set_model_state_dict(self.model, self.whole.state_dict() if self.whole else {}, options=options)

    # -- the optimizer's state ---------------------------------------------------------------------------------------
    def follow(self, optimizer: Optimizer) -> Optimizer:
        """Let the files of an optimizer hold whole states, as those of one process do."""
        optimizer.register_state_dict_post_hook(lambda _, found: self._collected(found))
        optimizer.register_load_state_dict_pre_hook(self._dealt)
        return optimizer

    def collect(self, optimizer: Optimizer) -> None:
        """Give the first process all of the state, for its next `state_dict`. All processes call this."""
        found = optimizer.state_dict()
        state = {}
        for number, values in found["state"].items():
            each = {key: whole(value) for key, value in values.items()}
            if self.ranks.first:
                state[number] = {k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in each.items()}
        if self.ranks.first:
            self.state = {**found, "state": state}

    def _collected(self, found: dict[str, Any]) -> dict[str, Any]:
        taken, self.state = self.state or found, None
        return taken

    def _dealt(self, optimizer: Optimizer, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parts of this process of a whole state. What has not the shape of its weight is as it is in all."""
        weights = [p for group in optimizer.param_groups for p in group["params"]]

        def part(number: int, value: Any) -> Any:
            weight = weights[number]
            if not isinstance(value, torch.Tensor) or isinstance(value, DTensor) or value.shape != weight.shape:
                return value
            return distribute_tensor(value, self.mesh, weight.placements, src_data_rank=None)

        state = {n: {key: part(n, value) for key, value in values.items()} for n, values in given["state"].items()}
        return {**given, "state": state}


def whole(value: Any) -> Any:
    """All of what is dealt out; what isn't, as it is. All processes call this."""
    return value.full_tensor() if isinstance(value, DTensor) else value
