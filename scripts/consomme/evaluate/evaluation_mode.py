"""A context with a model on its device, in evaluation mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class evaluating:
    """A context in which a model is on a device and in evaluation mode; its training mode is restored afterwards."""

    def __init__(self, model: PreTrainedModel, device: str) -> None:
        self.model, self.training = model, {}
        # model.to visits every module, even if nothing has to move
        if next((p.device.type for p in model.parameters()), None) != device:
            model.to(device)

    def __enter__(self) -> None:
        # module by module: a frozen part of a model may be in evaluation mode while the rest is being trained
        self.training = {module: module.training for module in self.model.modules()}
        self.model.eval()

    def __exit__(self, *exception: object) -> None:
        for module, training in self.training.items():
            module.training = training
