"""Distillation from a frozen teacher (Hinton, Vinyals, Dean 2015): loss = (1 - w) task + w T² KL, optionally plus a loss
on hidden states."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from consomme.families.base import Family
    from consomme.train.hidden import Heard, Hidden


def divergence(student: Tensor, teacher: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """T² times the Kullback-Leibler divergence from teacher to student, a weighted sum over places: scalar, nats.

    student, teacher: logits [batch, places, vocabulary]; weights: of each place [batch, places], 0 for padding.
    T² keeps the size of the gradient independent of the temperature."""
    valid = weights > 0
    student = functional.log_softmax(student[valid].float() / temperature, -1)
    teacher = functional.log_softmax(teacher[valid].float() / temperature, -1)
    found = functional.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
    return temperature**2 * (found * weights[valid]).sum()


class Teacher:
    """A frozen model whose outputs the student is trained on. settings: weight of the divergence, 0..1; temperature, above
    0. hidden: the loss on hidden states; None without."""

    def __init__(
        self, model: PreTrainedModel, family: Family, settings: Mapping[str, Any], hidden: Hidden | None = None
    ) -> None:
        self.family, self.hidden = family, hidden
        self.model = model.eval().requires_grad_(False)
        self.weight, self.temperature = float(settings["weight"]), float(settings["temperature"])
        if not 0 <= self.weight <= 1 or self.temperature <= 0:
            raise ConsommeError(
                f"distil: weight {self.weight}, temperature {self.temperature}: weight is 0..1, temperature above 0"
            )

    @property
    def alone(self) -> bool:
        """Whether weight is 1: the task's loss then has weight 0 and need not be computed."""
        return self.weight == 1

    @contextmanager
    def listening(self, student: PreTrainedModel) -> Generator[Heard]:
        """Within the block, forward passes of the student fill the mapping with hidden states; it stays empty without `hidden`."""
        if self.hidden is None:
            yield {}
            return
        with self.hidden.listening(student) as heard:
            yield heard

    def mixed(
        self,
        task: Tensor | float,
        logits: Tensor,
        inputs: Mapping[str, Any],
        weights: Tensor,
        items: Tensor | int,
        heard: Heard | None = None,
        places: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """(1 - weight) * task + weight * divergence, plus the loss on hidden states if there is one. The divergence is a mean
        over labels (seq2seq), or over frames within an utterance and then over utterances (CTC).

        inputs: the student's augmented inputs; weights: of the places [batch, places]; items: the divisor, the labels or
        the utterances of all batches of the step; heard: the student's states; places: side -> weight of each place of
        the states [batch, places]."""
        with torch.no_grad(), self.family.fitted(self.model, inputs), self.listening(self.model) as own:
            said = self.model(**inputs).logits
        if said.shape != logits.shape:
            raise ConsommeError(
                f"distil: the teacher gives {tuple(said.shape[1:])} [places, vocabulary] where the student gives "
                f"{tuple(logits.shape[1:])}: distil from a model with the same frames and vocabulary"
            )
        found = divergence(logits, said, weights, self.temperature) / items
        mixed = (1 - self.weight) * task + self.weight * found
        if not (self.hidden and heard):
            return mixed
        assert places is not None
        return mixed + self.hidden.loss(heard, own, places)


def check(family: Family, processor: Any, teacher_family: Family, teacher: Path) -> None:
    """ConsommeError unless teacher and student read the same features and write the same vocabulary."""
    if teacher_family.name != family.name:
        raise ConsommeError(f"distil_from: {teacher}: a {teacher_family.name} can't teach a {family.name}")
    ours, theirs = (vocabulary(p) for p in (processor, teacher_family.processor(teacher)))
    if ours != theirs:
        raise ConsommeError(
            f"distil_from: {teacher}: its vocabulary ({len(theirs)} tokens) is not that of the student ({len(ours)}); "
            "train both from one base, or take relabelled text instead"
        )


def vocabulary(processor: Any) -> dict[str, int]:
    """Token -> id of a tokenizer, or of a processor's tokenizer."""
    return getattr(processor, "tokenizer", processor).get_vocab()
