"""Candidate means in memory, tried before one of them is written. The numbers equal those that would be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from consomme.common.errors import ConsommeError
from consomme.weights import tensors
from consomme.weights.compatibility import check, not_finite
from consomme.weights.mean import Mixture, add, rounded
from consomme.weights.tensors import FLOATS, Weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Renew = Callable[["PreTrainedModel"], "PreTrainedModel"]
Values = dict[str, np.ndarray]  # tensor -> stored elements, flat


class Candidates:
    """One model in memory whose weights are replaced by each candidate in turn: a returned model is valid until the next
    call. The parents' files are read once for a single model or a line, and again for each step of a running sum."""

    def __init__(self, parents: Mapping[str, Path], device: str, renew: Renew | None = None) -> None:
        """renew: applied to every mix, in place, but not to the parents themselves, such as the ends of a line."""
        from consomme.families import load

        self.models = {name: Weights(path, name) for name, path in parents.items()}
        check(list(self.models.values()))
        self.layout = Mixture(list(self.models.values())).layout
        self.renew = renew or (lambda model: model)
        self.vessel = load(next(iter(parents.values())), device)
        self._state = self.vessel.state_dict()
        unknown = sorted(set(self.layout) - set(self._state))
        if unknown:
            raise ConsommeError(f"tensors that the loaded model does not have by that name: {', '.join(unknown[:3])}")

    def single(self, name: str) -> PreTrainedModel:
        """The parent of that name."""
        return self._fill({t: self._exact(name, t) for t in self._floats()}, divisor=1)

    def running(self, first: str) -> Running:
        """A sum that begins with one parent."""
        return Running(self, first)

    def line(self, first: str, second: str) -> Callable[[float], PreTrainedModel]:
        """alpha -> (1 - alpha) * first + alpha * second, for two of the parents, both kept in memory."""
        ends = {name: {t: self.stored(name, t) for t in self._floats()} for name in (first, second)}

        def at(alpha: float) -> PreTrainedModel:
            def mixed(tensor: str) -> np.ndarray:
                total = None
                for (name, end), coefficient in zip(ends.items(), (1 - alpha, alpha), strict=True):
                    exact = tensors.to_float64(end[tensor], self.models[name].slots[tensor].dtype)
                    total = add(total, exact, coefficient)
                assert total is not None  # one of the two coefficients is not zero
                return total

            model = self._fill({t: mixed(t) for t in self._floats()}, divisor=1)
            return self.renew(model) if 0 < alpha < 1 else model

        return at

    def mixed(self, of: Callable[[str], Sequence[float]], renewed: bool = True) -> PreTrainedModel:
        """The linear combination with of(tensor) coefficients, one for each parent; reads all files again.
        renewed: false skips `renew`, for a step on the way to a mix."""

        def total(tensor: str) -> np.ndarray:
            found = None
            for name, coefficient in zip(self.models, of(tensor), strict=True):
                found = add(found, self._exact(name, tensor), coefficient)
            assert found is not None  # not all coefficients are zero
            return found

        model = self._fill({t: total(t) for t in self._floats()}, divisor=1)
        return self.renew(model) if renewed else model

    def alignment(self, tensor: str, gradient: np.ndarray) -> np.ndarray:
        """The inner product of a gradient [elements] with each parent's tensor, float64 [parents]: how the loss changes
        with that parent's coefficient."""
        gradient = gradient.astype(np.float64)
        return np.array([gradient @ self._exact(name, tensor) for name in self.models])

    def stored(self, name: str, tensor: str) -> np.ndarray:
        """A parent's elements as stored. ConsommeError for NaN and infinity."""
        values = self.models[name].read(tensor)
        if not tensors.finite(values, self.models[name].slots[tensor].dtype):
            raise not_finite(list(self.models.values()))
        return values

    def _exact(self, name: str, tensor: str) -> np.ndarray:
        return tensors.to_float64(self.stored(name, tensor), self.models[name].slots[tensor].dtype)

    def _floats(self) -> list[str]:
        return [t for t, (dtype, _) in self.layout.items() if dtype in FLOATS]

    def _fill(self, totals: Values, divisor: float) -> PreTrainedModel:
        import torch

        with torch.no_grad():
            for tensor, total in totals.items():
                dtype, shape = self.layout[tensor]
                values = tensors.to_float32(rounded(total, divisor, dtype), dtype).reshape(shape)
                self._state[tensor].copy_(torch.from_numpy(np.ascontiguousarray(values)))
        return self.vessel

    def close(self) -> None:
        for model in self.models.values():
            model.close()

    def __enter__(self) -> Candidates:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Running:
    """The float64 sum over the ingredients kept so far."""

    def __init__(self, candidates: Candidates, first: str) -> None:
        self.candidates, self.count = candidates, 1
        self.total = {t: candidates._exact(first, t) for t in candidates._floats()}

    def with_one_more(self, name: str) -> PreTrainedModel:
        """The mean of the kept ingredients and one more."""
        totals = {t: total + self.candidates._exact(name, t) for t, total in self.total.items()}
        return self.candidates.renew(self.candidates._fill(totals, divisor=self.count + 1))

    def keep(self, name: str) -> None:
        """Add that parent to the sum."""
        for tensor, total in self.total.items():
            total += self.candidates._exact(name, tensor)
        self.count += 1
