"""Rows, families and models small enough to reckon with by hand."""

import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest

from consomme.common.errors import Unusable
from consomme.evaluate.evaluator import Evaluator
from consomme.families.base import Family


class Rows:
    """A set in memory, with what the evaluator asks of one."""

    task = "nmt"

    def __init__(self, sources, targets, fingerprint="rows", units=None, languages=None):
        self.sources, self.targets, self.fingerprint = list(sources), list(targets), fingerprint
        self.ids = [f"row{i}" for i in range(len(self.sources))]
        self.corpora = ["corpus"] * len(self.sources)
        self.lengths = np.array([len(s) for s in self.sources], dtype=float)
        self.units = np.arange(len(self.sources)) if units is None else np.array(units)
        self.own = languages
        self.reported_by = []

    def written(self, default):
        return [spoken[-1] for spoken in self.languages(default)]

    def languages(self, default):
        return self.own or [tuple(default)] * len(self.sources)

    def __len__(self):
        return len(self.sources)


class Inputs(list):
    """Features of a set, computed on the spot, as `features_of` gives them."""

    def __init__(self, family, processor, rows):
        super().__init__()
        self.problems = {}
        for i, source in enumerate(rows.sources):
            try:
                self.append(family.features(processor, source))
            except Unusable as error:
                self.problems[i] = error.reason, str(error)
                self.append(np.zeros(0, np.int64))

    @property
    def lengths(self):
        return np.array([len(value) for value in self])


MOST = 12  # tokens


@dataclass(frozen=True)
class Digits(Family):
    """Token ids are written as text: "5 3" is [5, 3]. There are positions for MOST on each side."""

    def features(self, processor, source, languages=()):
        if len(source.split()) > MOST:
            raise Unusable("source too long", source)
        if self.objective == "seq2seq":
            return np.array([int(t) for t in source.split()] + [0], dtype=np.int64)
        rng = np.random.default_rng([ord(c) for c in source])
        return rng.standard_normal((max(2, len(source)), 16)).astype(np.float32)

    def labels(self, processor, text, languages):
        if len(text.split()) > MOST:
            raise Unusable("labels too long", text)
        return [int(t) if t.isdigit() else 11 for t in text.split()] + ([0] if self.objective == "seq2seq" else [])

    def collate(self, processor, features, labels):
        import torch

        longest = max(len(f) for f in features)
        mask = torch.tensor([[1] * len(f) + [0] * (longest - len(f)) for f in features])
        pad = torch.zeros if self.objective == "ctc" else torch.ones
        inputs = pad((len(features), longest, *features[0].shape[1:]), dtype=torch.from_numpy(features[0]).dtype)
        for i, f in enumerate(features):
            inputs[i, : len(f)] = torch.from_numpy(f)
        name = "input_ids" if self.objective == "seq2seq" else "input_features"
        batch = {name: inputs, "attention_mask": mask}
        if labels is not None:
            wide = max(map(len, labels))
            batch["labels"] = torch.tensor([[*x, *[-100] * (wide - len(x))] for x in labels], dtype=torch.int64)
        return batch

    def frames(self, model, batch):
        return batch["attention_mask"].sum(-1)

    def generate(self, model, processor, batch, languages, decoding):
        """Says the largest weight and the source, so that a hypothesis tells its model and its row."""
        self.calls.append(len(batch["input_ids"]))
        self.decodings.append(decoding)
        loud = next(model.parameters()).abs().max().item()
        return [
            f"{loud:.3f} " + " ".join(map(str, x[m.bool()].tolist()))
            for x, m in zip(batch["input_ids"], batch["attention_mask"], strict=True)
        ]


def family(objective):
    record = Digits(
        name="digits",
        task="nmt" if objective == "seq2seq" else "asr",
        objective=objective,
        model_type="digits",
        architecture="",
        config="",
        stacks={},
    )
    object.__setattr__(record, "calls", [])
    object.__setattr__(record, "decodings", [])
    return record


def marian(seed=0):
    import torch
    from transformers import MarianConfig, MarianMTModel

    torch.manual_seed(seed)
    return MarianMTModel(
        MarianConfig(
            vocab_size=12, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=32,
            pad_token_id=1, eos_token_id=0, bos_token_id=0, decoder_start_token_id=1, forced_eos_token_id=None,
            dropout=0.3, init_std=0.5,
        )
    )  # fmt: skip


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Builds evaluators whose features are computed on the spot."""
    fake = types.ModuleType("consomme.data.features")
    fake.features_of = lambda family, processor, rows, *others: Inputs(family, processor, rows)
    monkeypatch.setitem(sys.modules, "consomme.data.features", fake)

    def build(sets, objective="seq2seq", record=None, **given):
        settings = {
            "languages": ["en", "fr"], "decoding": {"num_beams": 1}, "normaliser": "verbatim",
            "cache": tmp_path / "cache", "processor_key": "p", **given,
        }  # fmt: skip
        return Evaluator(record or family(objective), None, sets, **settings)

    build.Rows, build.family, build.marian = Rows, family, marian
    return build
