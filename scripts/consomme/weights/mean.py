"""A combination of models, tensor by tensor: written to disk as a stream, or computed in memory as a candidate."""

from __future__ import annotations

import ctypes
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from consomme.common.errors import ConsommeError
from consomme.common.files import link_tree, write_json
from consomme.common.model_files import HISTORY, ZEROED, copy_inherited
from consomme.common.tensor_files import SINGLE
from consomme.weights import tensors
from consomme.weights.compatibility import check, config, copies, not_finite, too_large
from consomme.weights.tensors import FLOATS, Weights

PIECE = 1 << 16  # elements in memory at once, over all models: 512 KiB each as float64
SUMMED = 1 << 18  # elements summed at once: with smaller chunks threads wait for each other
_threads = 1
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # mallopt(3)
_KEPT = 32 << 20  # bytes: the largest threshold that glibc allows; room for many chunks of a few threads

Spans = Iterator[tuple[int, int]]  # (begin, end) of a tensor's elements
M = TypeVar("M", bound="Mixture")


def write_mean(
    folder: Path,
    parents: Mapping[str, Path],
    coefficients: Sequence[float] | None = None,
    divisor: float = 1.0,
    zeroed: bool = True,
) -> None:
    """Fill `folder` with the checkpoint sum(c * model) / divisor over `parents` (name -> folder), `coefficients` in the
    same order.

    Without coefficients: the mean. Sums are float64 and rounded once to the stored dtype (the widest, if models differ).
    Integer tensors must be equal, except the counters of batch norms, which are taken from the first parent. All other
    files come from the first parent, the donor. Memory use depends neither on the number nor on the size of the models.
    zeroed: if all parents have a zeroed copy (head-pruned models), average these copies too.
    Raises ConsommeError, which names the models and tensors, if the models are incompatible."""
    _write(folder, parents, lambda models: Mixture(models, coefficients, divisor))
    zeroed_copies = {name: path / ZEROED for name, path in parents.items()}
    if zeroed and all((path / SINGLE).exists() for path in zeroed_copies.values()):
        (folder / ZEROED).mkdir()  # the mean of the copies is the copy of the mean
        write_mean(folder / ZEROED, zeroed_copies, coefficients, divisor, zeroed=False)


def write_merge(folder: Path, parents: Mapping[str, Path], mixture: Callable[[Sequence[Weights]], M]) -> M:
    """Fill `folder` with the checkpoint that `mixture` computes from the opened `parents`; the first is the donor of all
    other files. Returns the mixture, with its models closed. ConsommeError for head-pruned models: their zeroed
    copies can be averaged only with one coefficient per model."""
    for name, path in parents.items():
        if config(path).get("pruned_heads"):
            raise ConsommeError(
                f"{name} lost attention heads; such models can be averaged only with one weight per model. "
                f"Merge first and prune the result"
            )
    return _write(folder, parents, mixture)


def _write(folder: Path, parents: Mapping[str, Path], mixture: Callable[[Sequence[Weights]], M]) -> M:
    models = [Weights(path, name) for name, path in parents.items()]
    try:
        check(models)
        plan = mixture(models)
        copy_inherited(models[0].folder, folder)
        with open(folder / SINGLE, "wb") as stream:
            tensors.write(stream, plan.layout, plan.pieces)
        _match_precision(folder, plan)
        return plan
    finally:
        for model in models:
            model.close()


class Mixture:
    """A linear combination of models. layout: tensor -> (dtype, shape) of the result, tied weights once.

    Subclasses with different coefficients for different tensors override `of(tensor)`. Combinations that are not linear
    derive from `Combination`."""

    piece = SUMMED  # elements at once

    def __init__(
        self, models: Sequence[Weights], coefficients: Sequence[float] | None = None, divisor: float = 1.0
    ) -> None:
        self.models = models
        self.coefficients = [1.0] * len(models) if coefficients is None else [float(c) for c in coefficients]
        self.divisor = float(len(models)) if coefficients is None else divisor
        if len(self.coefficients) != len(models):
            raise ConsommeError(f"{len(self.coefficients)} coefficients for {len(models)} models")
        if not all(map(math.isfinite, self.coefficients)) or not any(self.coefficients):
            raise ConsommeError(f"coefficients must be finite and not all zero, got {self.coefficients}")
        self.copies = copies(models)
        names = set(models[0].slots).intersection(*(m.slots for m in models[1:]))
        self.layout = {t: (self._dtype(t), models[0].slots[t].shape) for t in sorted(names)}

    def _dtype(self, tensor: str) -> str:
        dtypes = [m.slots[tensor].dtype for m in self.models]
        return tensors.widest(dtypes) if dtypes[0] in FLOATS else dtypes[0]

    def of(self, tensor: str) -> Sequence[float]:
        """The coefficients for one tensor; called once, before its chunks."""
        return self.coefficients

    def pieces(self, tensor: str) -> Iterator[np.ndarray]:
        """The result's elements in order, in the stored dtype."""
        dtype, _ = self.layout[tensor]
        elements = self.models[0].slots[tensor].elements
        spans = tensors.spans(0, elements, self.piece)
        if dtype not in FLOATS:
            for begin, end in spans:
                yield self.models[0].read(tensor, begin, end)
            return

        def stored(total: np.ndarray) -> np.ndarray:
            low, high = total.min(), total.max()  # a NaN or infinity in any term shows in the sum
            limit = tensors.LARGEST[dtype] * abs(self.divisor)
            if not (-limit < low and high < limit):
                raise too_large(tensor, dtype) if np.isfinite(total).all() else not_finite(self.models)
            return rounded(total, self.divisor, dtype)

        yield from self._totals(tensor, spans, stored)

    def _totals(self, tensor: str, spans: Spans, stored: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
        """`stored(sum)` of each span, in order."""
        coefficients = self.of(self.copies.get(tensor, tensor))
        return in_order(lambda span: stored(self._sum(tensor, coefficients, *span)), spans)

    def _sum(self, tensor: str, coefficients: Sequence[float], begin: int, end: int) -> np.ndarray:
        """The weighted sum of the elements begin..end of a floating tensor, float64."""
        total = None
        for model, coefficient in zip(self.models, coefficients, strict=True):
            dtype, stored = model.slots[tensor].dtype, model.read(tensor, begin, end)
            total = add(total, tensors.plain(stored, dtype), coefficient)
            if coefficient == 0 and not tensors.finite(stored, dtype):
                raise not_finite(self.models)
        assert total is not None  # not all coefficients are zero
        return total

    def exact(self, tensor: str, begin: int, end: int) -> np.ndarray:
        """Elements begin..end of every model, float64 [models, elements]. ConsommeError for NaN and infinity."""
        found = np.empty((len(self.models), end - begin))
        for model, values in zip(self.models, found, strict=True):
            np.copyto(values, tensors.plain(model.read(tensor, begin, end), model.slots[tensor].dtype))
        if not np.isfinite(found).all():
            raise not_finite(self.models)
        return found


class Combination(Mixture):
    """A combination that is not linear: subclasses override `combine`."""

    piece = PIECE

    def combine(self, tensor: str, spans: Spans) -> Iterator[np.ndarray]:
        """The sum of each span (begin, end) of a tensor's elements, float64, in order."""
        raise NotImplementedError

    def _totals(self, tensor: str, spans: Spans, stored: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
        return in_order(stored, self.combine(tensor, spans))


class ByTensor(Mixture):
    """A linear combination with different coefficients for each tensor: of(tensor) -> one for each model."""

    def __init__(self, models: Sequence[Weights], of: Callable[[str], Sequence[float]]) -> None:
        super().__init__(models)
        self._of, self.divisor = of, 1.0

    def of(self, tensor: str) -> Sequence[float]:
        return self._of(tensor)


def set_threads(count: int) -> None:
    """Set the number of summing threads, like `torch.set_num_threads`. Affects only speed. For processes that mainly
    compute means."""
    global _threads
    _threads = max(1, count)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Make glibc keep the memory of freed arrays for later ones. Otherwise every page of every chunk is a page fault, which
    takes 40 % of the time of a mean in bfloat16. With other C libraries this does nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            mallopt(option, _KEPT)


def in_order(work: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Any]:
    """work(item) of each item, in order, computed by the threads of `set_threads` a few items ahead."""
    waiting: deque[Future[Any]] = deque()
    ahead = list(islice(items, 2 * _threads if _threads > 1 else 1))
    if len(ahead) < 2:
        yield from map(work, chain(ahead, items))
        return
    with ThreadPoolExecutor(_threads) as pool:
        waiting.extend(pool.submit(work, item) for item in ahead)
        while waiting:
            found = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(items, 1))
            yield found


def add(total: np.ndarray | None, values: np.ndarray, coefficient: float) -> np.ndarray | None:
    """total + coefficient * values in float64; `total` is overwritten, `values` (any floating dtype) may be. With a zero
    coefficient nothing is added, so that the ends of a line equal the models bit for bit, signs of zeros included."""
    if coefficient == 0:
        return total
    if coefficient != 1:
        values = np.multiply(values, coefficient, dtype=np.float64)
    if total is None:
        return values.astype(np.float64, copy=False)
    return np.add(total, values, out=total)


def rounded(total: np.ndarray, divisor: float, dtype: str) -> np.ndarray:
    """total / divisor, rounded once to the stored dtype; `total` is overwritten."""
    if divisor == 1:
        pass
    elif math.frexp(divisor)[0] == 0.5:  # a power of two: its reciprocal is exact, and multiplying is faster
        total *= 1 / divisor
    else:
        total /= divisor
    return tensors.from_float64(total, dtype)


def link_model(source: Path, folder: Path) -> None:
    """Link the files of a finished model into `folder` (hard links where possible), without its provenance."""
    link_tree(source, folder)
    for name in HISTORY:
        (folder / name).unlink(missing_ok=True)


def _match_precision(folder: Path, plan: Mixture) -> None:
    """If models of different precision were combined, write the precision of the result into config.json."""
    words = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    changed = {d for t, (d, _) in plan.layout.items() if d in FLOATS and d != plan.models[0].slots[t].dtype}
    settings = config(folder)
    for key in ("dtype", "torch_dtype"):
        if changed and isinstance(settings.get(key), str):
            settings[key] = words[tensors.widest(changed)]
            write_json(folder / "config.json", settings)


def precision(folder: Path) -> str:
    """The floating dtype of most elements of a checkpoint, by its safetensors name."""
    with Weights(folder) as weights:
        sizes: dict[str, int] = {}
        for slot in weights.slots.values():
            if slot.dtype in FLOATS:
                sizes[slot.dtype] = sizes.get(slot.dtype, 0) + slot.elements
    return max(sorted(sizes), key=lambda d: sizes[d]) if sizes else "F32"
