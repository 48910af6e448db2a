"""Each rank's rows of a batch: those of all ranks are the batch, and each rank works about as long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from consomme.train.examples import Example, Examples
from consomme.train.sampler import Key

if TYPE_CHECKING:
    from consomme.train.collate import Collator
    from consomme.train.ranks import Ranks


# among a batch: the inputs of a row of others, for a rank that has none. Among the inputs of a pass: it is made for the others'
# sake alone, and its loss doesn't count
IDLE = "idle"


class Part(NamedTuple):
    """What a rank has of a batch, and what it must know of the others' rows."""

    examples: list[Example]
    idle: bool  # the example is another rank's
    labels: list[Sequence[int]]  # of the whole batch, before augmentation


class Share(Dataset[Any]):
    """The examples of one rank, batch by batch: it reads no others.

    costs: corpus -> the work of each row [rows], in any unit; spare: give a rank without rows another's, with which it is idle"""

    def __init__(self, examples: Examples, costs: Mapping[str, np.ndarray], ranks: Ranks, spare: bool = False) -> None:
        self.examples, self.costs, self.ranks, self.spare = examples, costs, ranks, spare

    def __getitems__(self, keys: Sequence[Key]) -> Part:
        """This rank's part of the batch of `keys`."""
        work = np.array([self.costs[name][row] for _, name, row in keys])
        mine = np.flatnonzero(deal(work, self.ranks.count) == self.ranks.rank)
        labels = [self.examples.corpora[name].labels[row] for _, name, row in keys]
        idle = self.spare and not len(mine)
        return Part([self.examples[keys[i]] for i in ([int(work.argmin())] if idle else mine)], idle, labels)


class CollatePart:
    """A rank's part of a batch -> the model's inputs."""

    def __init__(self, collator: Collator) -> None:
        self.collator = collator

    def __call__(self, part: Part) -> dict[str, Any]:
        found = self.collator(part.examples, part.labels)
        if not part.idle:
            return found
        return {"microbatches": [], "counts": dict.fromkeys(found["counts"], 0), IDLE: found["microbatches"][0]}


def deal(work: np.ndarray, ranks: int) -> np.ndarray:
    """The rank of each row [rows]. Rows of like work go to one rank, so that it pads little, and every rank gets about an equal
    part of all work. work: of each row [rows], above 0."""
    order = np.argsort(-work, kind="stable")
    middle = np.cumsum(work[order]) - work[order] / 2
    found = np.empty(len(work), dtype=np.int64)
    found[order] = np.minimum(middle / work.sum() * ranks, ranks - 1).astype(np.int64)
    return found
