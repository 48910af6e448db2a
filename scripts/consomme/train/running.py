"""The interface of a running training for its callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Running(Protocol):
    """A running training."""

    model: PreTrainedModel  # with the weights after the latest step
    # counts of each step since the last log line: utterances, seconds, tokens, and the frames or tokens of the source
    # without (filled) and with (room) padding
    counted: list[dict[str, float]]

    @property
    def whole(self) -> PreTrainedModel:
        """The model in one piece, where its weights are dealt out; else `model`."""

    @property
    def loss_scale(self) -> float | None:
        """The factor of the loss with precision float16; None with others."""

    def require_finite(self) -> None:
        """Raise ConsommeError if the loss of any step so far was not finite or above max_loss."""
