"""Several processes (ranks) that train one model, and what they tell each other.

Each rank has the whole model and computes the gradients of its own rows of every batch; the sum over all ranks is the batch's
gradient, and each makes the same step with it. torch's DistributedDataParallel adds the gradients within the backward pass: a
rank that runs out of memory there would leave the others waiting for ever, and layers that are dropped or run outside the
model's forward need care. Here the ranks first agree that each of them has got so far, then add. Only with `sharded_weights`
they wait for each other within a pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from consomme.common.digest import digest

if TYPE_CHECKING:
    from torch import Tensor, nn

Result = TypeVar("Result")
# counts of a batch's content; see `Collator`
COUNTS = ("utterances", "seconds", "tokens", "labels", "filled", "room", "timestamps", "prompts", "cut_prompts")
OUT_OF_MEMORY, DIVERGED, INTERRUPTED, FAILED = EVENTS = ("out_of_memory", "diverged", "interrupted", "failed")
# every message has the same figures, so that a rank that leaves can answer whatever the others wait for
FIGURES = (*EVENTS, "first", "value", *COUNTS)
BUCKET = 2**24  # gradients that are added at once; 64 MiB
PATIENCE = timedelta(days=2)  # a rank may wait as long as the first one evaluates; if one dies, the launcher ends all


class Told(RuntimeError):
    """Another rank has left the training. event: why, one of EVENTS."""

    def __init__(self, event: str) -> None:
        super().__init__(f"another process of this training: {event}")
        self.event = event


class Untold(RuntimeError):
    """This rank has failed within a pass that all ranks make together: the others wait for its part, and hear nothing. Its cause
    is what has failed."""


@contextmanager
def untold(together: bool) -> Generator[None]:
    """Around passes. together: whether all ranks make each of them."""
    try:
        yield
    except Exception as error:
        if not together or isinstance(error, Told):
            raise
        raise Untold(str(error)) from error


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one model. Alone by default: then nothing is sent."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this rank writes files and the log."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        return self.count > 1

    def sums(self, **figures: float) -> dict[str, float]:
        """The sum of each figure over the ranks; all of them call this. Raises Told if one of them left the training instead."""
        if not self.several:
            return figures
        found = self._send(figures)
        if event := next((e for e in reversed(EVENTS) if found[e]), None):
            raise Told(event)
        return found

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return self.sums(value=float(flag))["value"] > 0

    def of_first(self, value: float) -> float:
        """The value that the first rank gives."""
        return self.sums(value=value if self.first else 0.0)["value"]

    def telling(self, work: Callable[[], Result], event_of: Callable[[BaseException], str]) -> Result:
        """What `work` returns. If it raises, the others raise Told in their next call. A rank that fails as the first one does
        ends without a word."""
        try:
            return work()
        except (Told, Untold):
            raise
        except BaseException as error:
            if self.several:
                event = event_of(error)
                found = self._send({event: 1.0, "first": float(self.first)})
                if event == FAILED and found["first"] and not self.first:
                    raise SystemExit(2) from None
            raise

    def _send(self, figures: dict[str, float]) -> dict[str, float]:
        import torch
        from torch import distributed

        message = torch.tensor([figures.get(name, 0.0) for name in FIGURES], dtype=torch.float64)
        distributed.all_reduce(message)  # on the processor: no step waits for the GPU
        return dict(zip(FIGURES, message.tolist(), strict=True))

    def seed(self, seed: int, step: int) -> None:
        """Seed torch's, numpy's and Python's random numbers: each rank its own, in every step anew. So a resumed training
        draws the same ones, and checkpoints need not hold those of each rank."""
        from transformers import set_seed

        set_seed(int(digest(["rank", seed, self.rank, step], 8), 16) % 2**31)

    def add(self, model: nn.Module, loss: Tensor, gradients: bool = True) -> Tensor:
        """Replace the gradients of `model` by their sums over the ranks, and return the sum of `loss`. Running statistics of
        batch norms become their means. Parameters without a gradient on any rank (layer drop) stay without. gradients: False
        where they are sums already."""
        import torch
        from torch import distributed

        parameters = [p for p in model.parameters() if p.requires_grad and gradients]
        # before the ranks agree: afterwards none may fail
        spare = torch.empty(BUCKET, dtype=loss.dtype, device=loss.device)
        self.sums()
        there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
        distributed.all_reduce(there)
        for parameter, found in zip(parameters, there.tolist(), strict=True):
            if found and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        statistics = [s for m in model.modules() for s in running(m)]
        for tensor in statistics:
            tensor.div_(self.count)
        total = loss.detach().clone()
        for bucket in buckets([p.grad for p in parameters if p.grad is not None] + statistics + [total]):
            if len(bucket) == 1 and bucket[0].is_contiguous():
                distributed.all_reduce(bucket[0])
                continue
            sizes = [tensor.numel() for tensor in bucket]
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket], out=spare[: sum(sizes)])
            distributed.all_reduce(flat)
            for tensor, part in zip(bucket, flat.split(sizes), strict=True):
                tensor.copy_(part.view_as(tensor))
        return total


ALONE = Ranks()


def running(module: nn.Module) -> Iterable[Tensor]:
    """The running statistics of a batch norm; nothing of other modules."""
    from torch.nn.modules.batchnorm import _BatchNorm

    if isinstance(module, _BatchNorm) and module.track_running_stats:
        yield from (s for s in (module.running_mean, module.running_var) if s is not None)


def buckets(tensors: Sequence[Tensor]) -> Generator[list[Tensor]]:
    """The tensors in order, in lists of one type with BUCKET elements at most, or one tensor."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(t.numel() for t in bucket) + tensor.numel() > BUCKET
        if bucket and (full or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
