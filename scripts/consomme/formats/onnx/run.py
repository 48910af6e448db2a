"""ONNX Runtime beneath transformers' decoding: recognisers with CTC, whose one graph gives all frames at once, and
encoder-decoders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from consomme.families.windows import without
from consomme.formats.base import Asked, Running
from consomme.formats.onnx.layout import DECODER, ENCODER, FOLDER

if TYPE_CHECKING:
    from torch import Tensor

    from consomme.families.base import Hypothesis
    from consomme.formats.base import Sources

FILE = "model.onnx"


class Ctc(Running):
    """A recogniser whose graph takes what its family's `collate` gives, and makes logits [batch, frames, tokens]."""

    def __init__(self, folder: Path, languages: Sequence[str], threads: int, device: str) -> None:
        super().__init__(folder, languages)
        self.session = _session(folder / FILE, threads, device)

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


class EncoderDecoder(Running):
    """A recogniser or translator that writes a token after the other."""

    long = True

    def __init__(self, folder: Path, languages: Sequence[str], threads: int, device: str) -> None:
        from consomme.families.settings import quiet
        from consomme.formats.onnx.generating import deployed

        quiet()
        super().__init__(folder, languages)
        self.batch = 8 if self.family.task == "asr" else 64
        sessions = (_session(folder / FOLDER / name, threads, device, alike=False) for name in (ENCODER, DECODER))
        self.called = deployed(self.model, *sessions)

    def decode(self, sources: Sources, asked: Asked) -> list[Hypothesis]:
        import torch

        family, processor, languages = self.family, self.processor, asked.languages
        features = [family.whole(processor, source, languages) for source in sources]
        window = self.window(asked.decoding).fitting(features)
        batch = family.collate(processor, features, None, **window)
        if any(map(len, asked.earlier)) and not family.long(processor, max(map(len, features))):
            before = [family.opening(processor, tokens, languages) for tokens in asked.earlier]
            batch["decoder_input_ids"] = torch.tensor(before)
        return family.decode(self.called, processor, batch, languages, without(asked.decoding))


def _session(path: Path, threads: int, device: str, alike: bool = True) -> Any:
    """alike: whether calls are of few sizes, so that a plan of its memory is kept for each."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_mem_pattern = alike
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    wanted = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
    return onnxruntime.InferenceSession(str(path), options, providers=[wanted])


def load(folder: Path, languages: Sequence[str], threads: int, device: str) -> Running:
    """The export in `folder`."""
    kind = EncoderDecoder if (folder / FOLDER).is_dir() else Ctc
    return kind(folder, languages, threads, device)
