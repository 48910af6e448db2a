"""Corpora whose paths hold what Snakemake takes for wildcards: they are planned, prepared, and kept fresh like others."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import soundfile

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

CONFIG = """
data_root: "my data {x}"
corpora:
  pairs:  {source: parallel, path: "p {corpus}"}
  chosen: {source: generated, generator: dosage, domain: general, size: 2}
  table:  {source: manifest, path: "{a}/m.tsv", max_skipped: 0.5}
  voices: {source: common_voice, path: "{}", split: dev, max_skipped: 0.5}
experiments:
  translate:
    task: nmt
    languages: [en, fr]
    data: {train: pairs, dev: {d: chosen}}
    models: {m: {from: {scratch: {family: marian, d_model: 16, encoder_layers: 1, decoder_layers: 1}}}}
  speak:
    task: asr
    languages: [en]
    data: {train: table, dev: {d: voices}}
    models: {m: {from: {scratch: {family: ctc, num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2}}}}
"""


@pytest.fixture
def place(empty, monkeypatch):
    """A place with that configuration and its data; of each table of two recordings one is there."""
    monkeypatch.setenv("CONSOMME_PRELOAD", "")
    root = empty.folder / "my data {x}"
    for name, folder, header in (("m", "{a}", "audio\ttext"), ("dev", "{}", "client_id\tpath\tsentence")):
        (root / folder / "clips").mkdir(parents=True)
        rows = [f"a\t{n}.wav\tone" if name == "dev" else f"clips/{n}.wav\tone" for n in (0, 1)]
        (root / folder / f"{name}.tsv").write_text("\n".join([header, *rows]) + "\n")
        record(root / folder / "clips/0.wav", 0)
    for language in ("en", "fr"):
        (root / f"p {{corpus}}.{language}").write_text("one\n")
    empty.write(CONFIG)
    return empty


def record(path, seed):
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 8000), 16000)


def test_braces_in_paths_and_recordings_unpacked_later(place):
    each = Counter(["prepare pairs", "prepare table", "prepare voices"])
    assert place.run("--", "corpora").jobs == each + Counter(["prepare chosen"])
    assert place.run("--", "corpora", dry=True).jobs == Counter()
    root = place.folder / "my data {x}"
    record(root / "{}/clips/1.wav", 1)
    record(root / "{a}/clips/0.wav", 2)
    (root / "p {corpus}.fr").write_text("un\n")
    assert place.run("--", "corpora", dry=True).jobs == each
