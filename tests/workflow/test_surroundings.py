"""A run where paths hold anything, temporary files lie on another disk, nobody is at home, and clocks can't be trusted."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from .conftest import Place

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

NAME = 'it\'s "the" $(touch injected) `touch injected`; & {y} %s \\ é 日本 😀'
CONFIG = """
data_root: "data; {NAME} ü"
corpora:
  train: {source: parallel, path: "p's \\" $(touch injected) ß", max_skipped: 0.5}
  dev: {source: parallel, path: "häkchen 'n'"}
experiments:
  e:
    task: nmt
    languages: [en, fr]
    metric: chrf
    data: {train: train, dev: {d: dev}}
    decoding: {max_new_tokens: 4}
    models:
      untrained:
        from:
          scratch: {family: marian, d_model: 16, encoder_layers: 1, decoder_layers: 1, encoder_ffn_dim: 16, decoder_ffn_dim: 16}
          tokenizer: {vocab_size: 60}
      base: {train: untrained, max_steps: 1, per_device_train_batch_size: 2}
"""


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Temporary files lie on another file system, if there is one, in a folder with a blank in its name; HOME is unset."""
    shared = Path("/dev/shm")
    root = shared if shared.is_dir() and os.access(shared, os.W_OK) else tmp_path
    place = root / f"temporary files {os.getpid()}"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.delenv("HOME", raising=False)
    yield place
    shutil.rmtree(place, ignore_errors=True)


def test_a_run_under_odd_names_with_umask_077_and_without_a_home_and_its_copy(elsewhere, tmp_path):
    place = Place(tmp_path / NAME, umask=0o077)
    data = place.folder / "data; {NAME} ü"
    data.mkdir(parents=True)
    for name in ("p's \" $(touch injected) ß", "häkchen 'n'"):
        for language, line in (("en", "the cat sat on {a} mat"), ("fr", "le chat 日本")):
            (data / f"{name}.{language}").write_text("".join(f"{line} {i}\n" for i in range(6)))
    place.write(CONFIG)
    made = place.run()
    assert made.jobs["train base"] == made.jobs["report e"] == 1
    assert not list(tmp_path.rglob("injected"))
    results = [p for p in (place.folder / "results").rglob("*") if not p.is_symlink()]
    assert [p for p in results if p.stat().st_mode & 0o077] == []
    assert place.run(dry=True).jobs == Counter()
    # copied without its times, as by `cp -r`, where clocks say that the data is younger than all that was made of it
    copy = Place(tmp_path / "moved to", umask=0o022)
    shutil.copytree(place.folder, copy.folder, symlinks=True, copy_function=shutil.copyfile)
    for path in copy.folder.rglob("*"):
        if path.is_file():
            os.utime(path, (2e9, 2e9) if "results" not in path.parts else (3e8, 3e8))
    assert copy.run(dry=True).jobs == Counter()
