"""Running statistics of batch norms. They can't be averaged: activations of averaged weights differ from each model's.

They are estimated again on training data, as in Izmailov et al. 2018, arXiv 1803.05407. The means of the models' statistics
are too wide or too narrow for the averaged activations (Jordan et al. 2022, arXiv 2211.08403)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consomme.common.errors import ConsommeError
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.tensor_files import SINGLE
from consomme.weights import tensors
from consomme.weights.tensors import Weights

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from consomme.families.base import Family

EXAMPLES, BATCH = 512, 16  # rows
LABEL_PAD = -100
RUNNING = (".running_mean", ".running_var")


class Statistics:
    """Training examples, collated once and used for every candidate model."""

    def __init__(self, job: Job, donor: Path) -> None:
        """donor: the model whose processor reads the rows of the job's inputs `statistics/CORPUS`."""
        from consomme.families import device_named, family_of

        self.device, self.corpora = device_named(job.device), job.labelled("statistics")
        self.family = family = family_of(donor)
        processor = family.processor(donor, job.spec.get("languages") or ())
        features = sorted(self._features(job, family, processor), key=len)
        self.rows = len(features)
        # sorted by length, so that little padding enters the statistics
        self.batches: list[dict[str, Tensor]] = [
            family.collate(processor, features[i : i + BATCH], None) for i in range(0, len(features), BATCH)
        ]

    def _features(self, job: Job, family: Family, processor: Any) -> Iterator[np.ndarray]:
        """Of `EXAMPLES` training examples (or all, if there are fewer), from the corpora in the proportions of an epoch,
        without those that the model can't take."""
        from consomme.data.features import usable
        from consomme.data.prepared import Rows

        found = {name: Rows.open({name: path}) for name, path in self.corpora.items()}
        drawn = {name: job.spec["statistics"][name] * len(rows) for name, rows in found.items()}
        for name, rows in found.items():
            count = min(len(rows), max(1, round(EXAMPLES * drawn[name] / sum(drawn.values()))))
            drawn_rows = np.random.default_rng(0).choice(len(rows), count, replace=False).tolist()
            yield from (
                features for _, features in usable(family, processor, rows, drawn_rows, job.spec.get("languages") or ())
            )

    def renew(self, model: PreTrainedModel) -> PreTrainedModel:
        """Estimate the running statistics of all batch norms again, in place, in a model in evaluation mode. They are means
        over batches of the mean and the variance; meanwhile each norm uses the batch's own. Counters don't change."""
        import torch

        from consomme.families.settings import to_model

        every = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._NormBase)]
        norms: list[Any] = [m for m in every if m.running_mean is not None]
        before = [(m.momentum, m.num_batches_tracked.clone()) for m in norms]
        model.to(self.device)
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain mean over batches
                norm.train()
            with torch.no_grad():
                for batch in self.batches:
                    model(**self._with_decoder(model, to_model(model, batch)))
        finally:
            for norm, (momentum, counter) in zip(norms, before, strict=True):
                norm.eval()
                norm.momentum = momentum
                norm.num_batches_tracked.copy_(counter)
        return model

    def _with_decoder(self, model: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with the least that a decoder reads, where there is one: the norms are in the encoder."""
        import torch

        if self.family.objective == "ctc":
            return batch
        rows = len(next(iter(batch.values())))
        nothing = torch.full((rows, 1), LABEL_PAD, device=model.device)
        return batch | {"decoder_input_ids": self.family.decoder_inputs(model, nothing)}

    def rewrite(self, folder: Path) -> dict[str, Any]:
        """Rewrite the model in `folder` with newly estimated statistics; other tensors keep their bits. Returns the number of
        examples and the corpora used."""
        from consomme.families import load

        state = self.renew(load(folder, self.device)).state_dict()
        with Weights(folder) as weights:
            names = {t for t in weights.slots if t.endswith(RUNNING)}
            unknown = sorted(names - state.keys())
            if unknown:
                raise ConsommeError(f"tensors that the loaded model does not have by that name: {unknown[0]}")

            def pieces(tensor: str) -> Iterator[np.ndarray]:
                if tensor in names:
                    values = state[tensor].double().cpu().numpy().ravel()
                    yield tensors.from_float64(values, weights.slots[tensor].dtype)
                else:
                    yield weights.read(tensor)

            layout = {t: (slot.dtype, slot.shape) for t, slot in weights.slots.items()}
            fresh = folder / f".{SINGLE}"
            with open(fresh, "wb") as stream:
                tensors.write(stream, layout, pieces)
        os.replace(fresh, folder / SINGLE)  # not in place: the file may be a hard link
        say(f"running statistics of {len(names) // 2} batch norms estimated on {self.rows} training examples")
        return {"examples": self.rows, "corpora": list(self.corpora)}


def needed(job: Job, donor: Path) -> bool:
    """Whether models like `donor` have running statistics, and the job has data for them."""
    return bool(job.labelled("statistics")) and running_means(donor)


def running_means(model: Path) -> bool:
    """Whether a model has running statistics. False for an ensemble, which has no weights of its own."""
    if not any(model.glob("*.safetensors")):
        return False
    with Weights(model) as weights:
        return any(tensor.endswith(RUNNING) for tensor in weights.slots)
