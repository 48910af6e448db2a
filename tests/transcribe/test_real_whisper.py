"""A recording of minutes through a published Whisper, by its own algorithm and in pieces. CONSOMME_REAL as in
tests/workflow/test_real_whisper.py."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from consomme.evaluate.metrics import metric_named
from consomme.formats import format_named, write
from consomme.transcribe import main

REAL = Path(os.environ.get("CONSOMME_REAL", "../real")).resolve()
CHECKPOINT = REAL / "whisper-tiny.en"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHECKPOINT.is_dir(), reason=f"no whisper-tiny.en in {REAL}")]


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A minute or more of sentences with pauses and half a minute of quiet, and what is said."""
    from consomme.data.audio import decode, resample

    rows = pd.read_csv(REAL / "prompts/en.tsv", sep="\t", quoting=3)
    rows = rows[rows.text.str.split().str.len() > 7].head(8)
    random = np.random.default_rng(0)
    parts = []
    for audio in rows.audio:
        parts += [resample(*decode(REAL / "prompts" / audio), 16000), 0.0003 * random.standard_normal(16000)]
    parts.insert(8, 0.0003 * random.standard_normal(16000 * 30))
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.concatenate(parts), 16000)
    return path, " ".join(rows.text)


@pytest.mark.parametrize("form", ["checkpoint", "ctranslate2"])
def test_minutes_of_speech_become_subtitles(tmp_path, talk, form):
    path, text = talk
    model = CHECKPOINT
    if form != "checkpoint":
        pytest.importorskip("ctranslate2")
        model = tmp_path / "export"
        model.mkdir()
        write(format_named(form), CHECKPOINT, model, {"quantization": "int8"}, tmp_path)
    main([str(model), str(path), "--out", str(tmp_path / "out"), "--format", "srt,json", "--threads", "1"])
    found = json.loads((tmp_path / "out/talk.wav.json").read_text())
    counted = metric_named("wer").of_rows([text], [found["text"]], "basic+numbers", ["en"])
    assert float(metric_named("wer").value(counted.sum(axis=0))) < 15
    times = [(one["start"], one["end"]) for one in found["segments"]]
    assert len(times) >= 8 and all(a <= b for a, b in times) and times == sorted(times)
    assert times[-1][1] <= soundfile.info(path).duration + 0.1
    srt = (tmp_path / "out/talk.wav.srt").read_text()
    assert len(re.findall(r"^\d\d:\d\d:\d\d,\d\d\d --> ", srt, re.MULTILINE)) == len(times)
