"""What callbacks see of the training that calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Running(Protocol):
    """A training under way.

    model: as the optimizer left it; counted: what the batches held since these were last looked at, one mapping a batch:
    utterances, seconds, tokens, and the frames or tokens of the source without (filled) and with (room) padding."""

    model: PreTrainedModel
    counted: list[dict[str, float]]

    def require_finite(self) -> None:
        """Raise ConsommeError if a loss so far was no finite number, or beyond what is allowed."""
