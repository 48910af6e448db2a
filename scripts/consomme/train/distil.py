"""Distillation of logits from a frozen teacher (Hinton, Vinyals, Dean 2015): loss = (1 - w) task + w T² KL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def divergence(student: Tensor, teacher: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """T² times the Kullback-Leibler divergence from teacher to student, the weighted sum over places: scalar, nats.

    student, teacher: logits [batch, places, vocabulary]; weights: of each place [batch, places], 0 where there is nothing.
    With T² the gradient keeps its size whatever the temperature."""
    valid = weights > 0
    student = functional.log_softmax(student[valid].float() / temperature, -1)
    teacher = functional.log_softmax(teacher[valid].float() / temperature, -1)
    found = functional.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
    return temperature**2 * (found * weights[valid]).sum()


class Teacher:
    """A frozen model that says what it thinks of a batch. weight: 0..1 of the divergence; temperature > 0."""

    def __init__(self, model: PreTrainedModel, family: Family, settings: Mapping[str, Any]) -> None:
        self.family = family
        self.model = model.eval().requires_grad_(False)
        self.weight, self.temperature = float(settings["weight"]), float(settings["temperature"])
        if not 0 <= self.weight <= 1 or self.temperature <= 0:
            raise ConsommeError(
                f"distil: weight {self.weight}, temperature {self.temperature}: weight is 0..1, temperature above 0"
            )

    def mixed(
        self, task: Tensor, logits: Tensor, inputs: Mapping[str, Any], weights: Tensor, items: Tensor | int
    ) -> Tensor:
        """(1 - weight) * task + weight * the divergence a label (seq2seq), or a frame, meaned by utterance (CTC).

        inputs: what the student was given, augmented as it was; weights: of the places [batch, places]; items: what to
        divide by, the labels or the utterances of all batches of the step."""
        with torch.no_grad(), self.family.fitted(self.model, inputs):
            said = self.model(**inputs).logits
        if said.shape != logits.shape:
            raise ConsommeError(
                f"distil: the teacher gives {tuple(said.shape[1:])} [places, vocabulary] where the student gives "
                f"{tuple(logits.shape[1:])}: distil from a model with the same frames and vocabulary"
            )
        found = divergence(logits, said, weights, self.temperature) / items
        return (1 - self.weight) * task + self.weight * found


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
