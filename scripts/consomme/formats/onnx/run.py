"""ONNX Runtime: recognisers with CTC, whose one graph gives all frames at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from consomme.families.windows import without
from consomme.formats.base import Asked, Running

if TYPE_CHECKING:
    from torch import Tensor

    from consomme.families.base import Hypothesis
    from consomme.formats.base import Sources

FILE = "model.onnx"


class Ctc(Running):
    """A recogniser whose graph takes what its family's `collate` gives, and makes logits [batch, frames, tokens]."""

    def __init__(self, folder: Path, languages: Sequence[str], threads: int, device: str) -> None:
        import onnxruntime

        super().__init__(folder, languages)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        wanted = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
        self.session: Any = onnxruntime.InferenceSession(str(folder / FILE), options, providers=[wanted])

    def decode(self, sources: Sources, asked: Asked) -> list[Hypothesis]:
        features = self.features(sources, asked.languages)
        alone = self.family.padding_matters(self.model.config)
        batches = [[one] for one in features] if alone else [features]
        found = []
        for batch in batches:
            inputs = self.family.collate(self.processor, batch, None)
            called: Any = _Called(self.session, self.model)
            found += self.family.decode(called, self.processor, inputs, asked.languages, without(asked.decoding))
        return found


class _Called:
    """A session in the place of a model of transformers: what it can't compute it has from the model's shape."""

    def __init__(self, session: Any, model: Any) -> None:
        import torch

        self.session, self.shape = session, model
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shape, name)

    def __call__(self, **batch: Tensor) -> Any:
        import torch

        names = [one.name for one in self.session.get_inputs()]
        (logits,) = self.session.run(["logits"], {name: batch[name].numpy() for name in names})
        return SimpleNamespace(logits=torch.from_numpy(logits))


def load(folder: Path, languages: Sequence[str], threads: int, device: str) -> Running:
    """The export in `folder`."""
    return Ctc(folder, languages, threads, device)
