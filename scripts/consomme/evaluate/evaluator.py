"""The evaluator: weights, a set, a decoding -> statistics per utterance, cached by content.

Best runs, soups, paths between two models, pruning searches, early stopping and the tables all use it. A result that any
of them has computed before costs only a hash of the weights, and one that another job is computing is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError, Unusable, naming, nearest
from consomme.common.files import read_json, whole_file, write_json
from consomme.common.log import say
from consomme.common.once import made_once
from consomme.evaluate import losses
from consomme.evaluate.batches import batches
from consomme.evaluate.evaluation_mode import evaluating
from consomme.evaluate.identity import hash_model, processor_key, stable
from consomme.evaluate.inputs import Inputs
from consomme.evaluate.left_out import share
from consomme.evaluate.metrics import metric_named
from consomme.families import device_named, family_of
from consomme.families.base import Hypothesis
from consomme.families.precision import at_precision
from consomme.families.windows import Window, without

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from consomme.common.job import Job
    from consomme.data.prepared import Rows
    from consomme.families.base import Family

Around = Callable[
    [str, Sequence[int]], AbstractContextManager[Any]
]  # a set and the rows of one batch -> the context of the forward pass
VERSION = 4  # of the cache; raised, like the versions in plan/stages.py, when the same inputs give a different result
DIGITS = 24
# Rows per batch on a CPU, for what its caches hold: of a single forward pass, and of a decoder that reads the states of some
# hundred audio frames again at each token
ONCE, HEARD = 16, 8


class Said(NamedTuple):
    """What a model says to a set. cut: the rows whose hypothesis had no end token at the most tokens that were allowed;
    segments: [start, end, text] of each row, where timestamps were asked for."""

    texts: list[str]
    cut: list[int]
    segments: Sequence[Sequence[Sequence[Any]]] = ()


class Label(NamedTuple):
    """What a model says to a row, how sure it is (0 to 1), and whether the text was cut as in `Said`."""

    text: str
    confidence: float
    cut: bool = False


class Evaluator:
    """Evaluates models of one family on named sets.

    sets: name -> Rows. languages: of rows that name none. decoding: as in `Family.generate`, `window`, and `previous_text`:
    each row is decoded behind earlier text, that of the corpora's own transcripts. normaliser: for the error
    rates. cache: the folder of `evaluations/` and `features/`. device: auto, cpu, cuda, ... batch_size: the most utterances
    in a batch; affects only speed. processor_key: identity of the processor (`identity.processor_key`).

    A row that the model can't take stays in its set: its hypothesis is empty, so that all its words are errors. It has no
    part in the loss, and neither has a row whose target is longer than the decoder, nor one whose audio is longer than the
    model's window, which is decoded in several: their sums are 0 nats of 0 labels.

    A model is moved to the device and stays there; its training mode is not changed."""

    def __init__(
        self,
        family: Family,
        processor: Any,
        sets: Mapping[str, Rows],
        *,
        languages: Sequence[str],
        decoding: Mapping[str, Any],
        normaliser: str,
        cache: Path,
        device: str = "cpu",
        batch_size: int = 64,
        processor_key: str,
    ) -> None:
        self.family, self.processor, self.sets = family, processor, dict(sets)
        self.languages, self.normaliser = list(languages), normaliser
        self.decoding = {k: v for k, v in decoding.items() if k != "engine"}  # another one makes other hypotheses
        self.cache, self.batch_size, self.processor_key = Path(cache), batch_size, processor_key
        self.device = device_named(device)
        self._inputs: dict[str, Inputs] = {}
        self._counted: dict[tuple[str, str], np.ndarray] = {}

    @classmethod
    def open(
        cls, job: Job, sets: Mapping[str, Rows | Sequence[str]], model_folder: Path, batch_size: int = 64
    ) -> Evaluator:
        """The evaluator of a job: its spec's languages, decoding and normaliser, the processor of `model_folder`.

        A set is given as Rows or as the names of corpora among the job's inputs."""
        from consomme.data.prepared import Rows

        family = family_of(Path(model_folder))
        languages = job.spec["languages"]
        with naming(Path(model_folder), Path(model_folder)):
            processor = family.processor(Path(model_folder), languages)
        return cls(
            family,
            processor,
            {name: rows if isinstance(rows, Rows) else rows_of(job, rows) for name, rows in sets.items()},
            languages=languages,
            # a job that needs only the loss has neither in its spec, so that they can't change its result
            decoding=job.spec.get("decoding", {}),
            normaliser=job.spec.get("normaliser", "verbatim"),
            cache=job.cache,
            device=job.device,
            batch_size=batch_size,
            processor_key=processor_key(model_folder),
        )

    def value(self, model: PreTrainedModel, set_name: str, metric: str, around: Around | None = None) -> float:
        """The metric on the whole set; rates are times 100. around: as in `statistics`."""
        return float(metric_named(metric).value(self.statistics(model, set_name, metric, around).sum(axis=0)))

    def statistics(
        self, model: PreTrainedModel, set_name: str, metric: str, around: Around | None = None
    ) -> np.ndarray:
        """The metric's statistics of each utterance, float64 [n, k], in the order of the rows.

        around: makes the context of each forward pass, if any is needed. It may save work but must not change the result,
        which is cached under the hash of `model`."""
        wanted, rows = metric_named(metric), self._rows(set_name)
        began = time.monotonic()
        if wanted.needs == "loss":
            counted, fresh = self._loss(model, set_name, around)
        else:
            key = self._key(model, set_name, wanted.needs)
            said, fresh = self._said(model, set_name, key, around)
            if (key, metric) not in self._counted:
                written = rows.written(self.languages)
                self._counted[key, metric] = wanted.of_rows(rows.targets, said.texts, self.normaliser, written)
            counted = self._counted[key, metric]
        if fresh:
            value = float(wanted.value(counted.sum(axis=0)))
            digits = 4 if wanted.needs == "loss" else 2
            seconds = time.monotonic() - began
            say(f"{set_name}: {metric} {value:.{digits}f} ({len(rows)} utterances, {seconds:.1f} s)")
        return counted

    def hypotheses(self, model: PreTrainedModel, set_name: str) -> Said:
        """The model's hypothesis for each row, raw text, in the order of the rows."""
        began = time.monotonic()
        said, fresh = self._said(model, set_name, self._key(model, set_name, "hypotheses"))
        if fresh:
            say(f"{set_name}: {len(said.texts)} hypotheses ({time.monotonic() - began:.1f} s)")
        return said

    def labels(self, model: PreTrainedModel, set_name: str) -> list[Label]:
        """The model's hypothesis for each row, raw text, and its confidence, in the order of the rows.

        The confidence is exp(-nll / tokens) of the hypothesis, 0..1: the geometric mean of its token probabilities.
        Tokens are those of the training loss, so an end token counts if the model has one; with CTC all alignments of
        the text count. It is 0 for an empty hypothesis, for one that is too long to be a training target, and for audio
        longer than the model's window."""
        path = self.cache / "evaluations" / f"{self._key(model, set_name, 'labels')}.json"

        def make() -> None:
            unheard = self.inputs(set_name).unheard(model)
            write_json(path, self._in_row_order(model, set_name, self._label, unheard, Label("", 0.0)))

        self._once(path, make, set_name)
        return [Label(*label) for label in read_json(path)]

    # -- cached results ----------------------------------------------------------------------------------------------
    def _key(self, model: PreTrainedModel, set_name: str, kind: str) -> str:
        content: dict[str, Any] = {
            "version": VERSION,
            "kind": kind,
            "family": self.family.name,
            "weights": hash_model(model),
            "rows": self._rows(set_name).fingerprint,
            "languages": digest(self.inputs(set_name).languages, DIGITS),
            "processor": self.processor_key,
        }
        if self.family.windows:
            content["short"] = Window.of(self.family, model.config, self.decoding).short
        if kind != "loss":
            content["decoding"] = {k: v for k, v in self.decoding.items() if v is not None}
            content["generation"] = stable(getattr(model, "generation_config", None))
            if self.decoding.get("previous_text"):  # is drawn by the ids, in which the names of several corpora stand
                content["ids"] = digest(self._rows(set_name).ids, DIGITS)
        return digest(content, DIGITS)

    def _said(self, model: PreTrainedModel, set_name: str, key: str, around: Around | None = None) -> tuple[Said, bool]:
        """The hypotheses, and whether they were computed now (not cached)."""
        path = self.cache / "evaluations" / f"{key}.json"

        def make() -> None:
            unheard = self.inputs(set_name).unheard(model)
            found = self._in_row_order(model, set_name, self._generate, unheard, Hypothesis(""), around)
            timed = [one.segments for one in found] if self.decoding.get("timestamps") else ()
            said = Said([one.text for one in found], [i for i, one in enumerate(found) if one.cut], timed)
            if said.cut:
                most = self._most(set_name)
                within = f"{most} tokens or the model's positions" if most else "the model's positions"
                told = share(len(said.cut), len(found))
                say(f"{set_name}: {told} of the hypotheses were cut: no end came within {within}")
            write_json(path, {key: value for key, value in said._asdict().items() if value or key != "segments"})

        fresh = self._once(path, make, set_name)
        return Said(**read_json(path)), fresh

    def _most(self, set_name: str) -> int | None:
        """The most tokens of a hypothesis; None: as many as the model has positions for."""
        if self.family.objective != "seq2seq":  # the audio's length says when it ends
            return None
        return self.decoding.get("max_new_tokens") or self.inputs(set_name).longest

    def _loss(self, model: PreTrainedModel, set_name: str, around: Around | None = None) -> tuple[np.ndarray, bool]:
        """[nll, tokens] of each row, and whether they were computed now (not cached)."""
        path = self.cache / "evaluations" / f"{self._key(model, set_name, 'loss')}.npy"

        def make() -> None:
            left_out = self.inputs(set_name).unmeasured(model)
            if left_out and len(left_out) == len(self._rows(set_name)):
                raise ConsommeError(f"{set_name}: none of its {len(left_out)} rows has a loss, so none is the least")
            found = self._in_row_order(model, set_name, self._nll, left_out, (0.0, 0), around)
            with whole_file(path, "wb") as stream:
                np.save(stream, np.array(found, dtype=np.float64).reshape(-1, 2), allow_pickle=False)

        fresh = self._once(path, make, set_name)
        return np.load(path, allow_pickle=False), fresh

    def _once(self, path: Path, make: Callable[[], None], set_name: str) -> bool:
        return made_once(path, make, f"{set_name}: another job is computing the same, waiting for it")

    # -- running the model --------------------------------------------------------------------------------------------
    def _in_row_order(
        self,
        model: PreTrainedModel,
        set_name: str,
        ask: Callable[..., Sequence[Any]],
        left_out: Mapping[int, str],
        nothing: Any,
        around: Around | None = None,
    ) -> list[Any]:
        """`ask(model, set_name, which)` of all rows, in batches. What `generate` answers is asked for one language after the
        other. Rows left out have `nothing` instead."""
        import torch

        rows, inputs = self._rows(set_name), self.inputs(set_name)
        spoken = inputs.languages if self._one_language(ask) else [()] * len(rows)
        told = ask == self._generate and self.decoding.get("previous_text")
        before = [len(ids) for ids in inputs.earlier] if told else [0] * len(rows)
        alike = Window.of(self.family, model.config, self.decoding).alike(model.config)
        results: list[Any] = [nothing] * len(rows)
        # no_grad, not inference_mode: tensors that a model caches (positions) must be usable in later training
        with evaluating(model, self.device), torch.no_grad():
            for batch in batches(inputs, alike, self._together(ask), left_out, spoken, before):
                with around(set_name, batch) if around else nullcontext():
                    try:
                        answers = ask(model, set_name, batch)
                    except Exception as error:
                        error.add_note(
                            f"This was in '{set_name}', rows {', '.join(rows.ids[i] for i in sorted(batch))}."
                        )
                        raise
                for i, answer in zip(batch, answers, strict=True):
                    results[i] = answer
        return results

    def _together(self, ask: Callable[..., Sequence[Any]]) -> int:
        """The batch size. Autoregressive generation is faster in large batches. On a CPU, a single forward pass is faster by
        a quarter to a third in small ones, whose activations fit into the caches, and a recogniser's decoder by a fifth
        to a third."""
        if self.device != "cpu":
            return self.batch_size
        if ask == self._nll or self.family.objective == "ctc":
            return min(self.batch_size, ONCE)
        hears = self.family.task == "asr" and self.family.objective == "seq2seq"
        return min(self.batch_size, HEARD) if hears else self.batch_size

    def _one_language(self, ask: Callable[..., Sequence[Any]]) -> bool:
        """Whether the rows of a batch must be in one language: a decoder is told it before its first token."""
        return ask != self._nll and self.family.objective == "seq2seq"

    def _generate(self, model: PreTrainedModel, set_name: str, which: Sequence[int]) -> list[Hypothesis]:
        import torch

        inputs, decoding = self.inputs(set_name), without({**self.decoding, "max_new_tokens": self._most(set_name)})
        languages = inputs.languages[which[0]]
        with at_precision(model, self.decoding.get("precision")):
            batch = self._collate(model, set_name, which, None)
            if self.decoding.get("previous_text") and not inputs.long[which[0]]:
                told = [self.family.opening(self.processor, inputs.earlier[i], languages) for i in which]
                batch["decoder_input_ids"] = torch.tensor(told, device=self.device)
            return self.family.decode(model, self.processor, batch, languages, decoding)

    def _nll(self, model: PreTrainedModel, set_name: str, which: Sequence[int]) -> list[tuple[float, int]]:
        nll, tokens = self.nll(model, set_name, which)
        return list(zip(nll.tolist(), tokens.tolist(), strict=True))

    def _label(self, model: PreTrainedModel, set_name: str, which: Sequence[int]) -> list[Label]:
        said, inputs = self._generate(model, set_name, which), self.inputs(set_name)
        heard = [] if inputs.long[which[0]] else zip(which, said, strict=True)
        labels = {i: ids for i, one in heard if (ids := self._ids(one.text, inputs.languages[i]))}
        sure = dict.fromkeys(which, 0.0)
        if labels:
            batch = self._collate(model, set_name, list(labels), list(labels.values()))
            nll, tokens = (t.double().cpu().numpy() for t in self._measure(model, batch))
            sure |= dict(zip(labels, np.exp(-nll / tokens).tolist(), strict=True))
        return [Label(one.text, sure[i], one.cut) for i, one in zip(which, said, strict=True)]

    def _ids(self, text: str, languages: Sequence[str]) -> list[int]:
        """The labels of a text; empty if the text is empty or too long for the model."""
        try:
            return list(self.family.labels(self.processor, text, languages)) if text else []
        except Unusable:
            return []

    def nll(self, model: PreTrainedModel, set_name: str, which: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed negative log likelihood of some rows [b], nats, and their label counts [b], on the device, with
        gradients if the caller enabled them. The model must be on the device already, and the rows `usable`."""
        labels = self.inputs(set_name).labels
        return self._measure(model, self._collate(model, set_name, which, [labels[i] for i in which]))

    def _measure(self, model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return losses.nll(self.family, model, batch)

    def _collate(
        self, model: PreTrainedModel, set_name: str, which: Sequence[int], labels: list[list[int]] | None
    ) -> dict[str, torch.Tensor]:
        features = [self.inputs(set_name).features[int(i)] for i in which]
        window = Window.of(self.family, model.config, self.decoding)
        batch = self.family.collate(self.processor, features, labels, **window.fitting(features))
        return {
            name: tensor.to(self.device, model.dtype if tensor.is_floating_point() else None)
            for name, tensor in batch.items()
        }

    def inputs(self, set_name: str) -> Inputs:
        """The set as this family's models take it."""
        if set_name not in self._inputs:
            rows = self._rows(set_name)
            self._inputs[set_name] = Inputs(
                set_name, rows, self.family, self.processor, self.languages, self.cache, self.processor_key
            )
        return self._inputs[set_name]

    def _rows(self, set_name: str) -> Rows:
        if set_name not in self.sets:
            raise ConsommeError(f"no set '{set_name}'; there are {sorted(self.sets)}{nearest(set_name, self.sets)}")
        return self.sets[set_name]


def rows_of(job: Job, corpora: Sequence[str]) -> Rows:
    """The rows of some of the job's prepared corpora, as one."""
    from consomme.data.prepared import Rows

    return Rows.open({name: job.inputs[f"corpus/{name}"] for name in corpora})
