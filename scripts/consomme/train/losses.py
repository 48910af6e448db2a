"""The training objectives, computed from logits, so that they don't depend on keys of a checkpoint's config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100


def ctc(logits: Tensor, labels: Tensor, frames: Tensor, blank: int, utterances: int) -> Tensor:
    """CTC's negative log likelihood per label of each transcript, summed over the batch, divided by `utterances`: scalar,
    nats.

    logits [batch, time, vocabulary]; labels [batch, longest], padded with -100; frames [batch]; utterances: number in all
    batches of the step. A transcript longer than its frames counts as 0."""
    counts = (labels != IGNORED).sum(-1)
    log_probabilities = functional.log_softmax(logits.float(), -1).transpose(0, 1)
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN's gradient is not deterministic
        found = functional.ctc_loss(
            log_probabilities,
            labels.clamp_min(0),
            frames.to(counts.device),
            counts,
            blank=blank,
            reduction="none",
            zero_infinity=True,
        )
    return (found / counts.clamp_min(1)).sum() / utterances


def transducer(nll: Tensor, labels: Tensor, utterances: int) -> Tensor:
    """A transducer's negative log likelihood per label of each transcript, summed over the batch, divided by `utterances`:
    scalar, nats.

    nll: of each transcript [batch]; labels [batch, longest], padded with -100; utterances: number in all batches of the
    step."""
    return (nll / (labels != IGNORED).sum(-1).clamp_min(1)).sum() / utterances


def frame_weights(frames: Tensor, longest: int) -> Tensor:
    """The weight of each frame [batch, longest]: 1 / frames of its utterance, 0 for padding."""
    valid = torch.arange(longest, device=frames.device) < frames[:, None]
    return valid / frames[:, None]


def seq2seq(logits: Tensor, labels: Tensor, smoothing: float, items: Tensor | int) -> Tensor:
    """Sum of the cross-entropy with label smoothing, divided by `items`: scalar, nats.

    logits [batch, tokens, vocabulary]; labels [batch, tokens], padded with -100; items: number of labels in all
    batches of the step, so that accumulated gradients are those of one big batch."""
    loss = functional.cross_entropy(
        logits.flatten(0, 1).float(),
        labels.flatten(),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="sum",
    )
    return loss / items
