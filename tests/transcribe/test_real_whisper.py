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
    main([str(model), str(path), "--out", str(tmp_path / "out"), "--format", "srt,json", "--words", "--threads", "1"])
    found = json.loads((tmp_path / "out/talk.wav.json").read_text())
    counted = metric_named("wer").of_rows([text], [found["text"]], "basic+numbers", ["en"])
    assert float(metric_named("wer").value(counted.sum(axis=0))) < 15
    times = [(one["start"], one["end"]) for one in found["segments"]]
    assert len(times) >= 8 and all(a <= b for a, b in times) and times == sorted(times)
    assert times[-1][1] <= soundfile.info(path).duration + 0.1
    for one in found["segments"]:
        assert " ".join(word["text"] for word in one["words"]) == one["text"]
        ends = [one["start"], *(word[key] for word in one["words"] for key in ("start", "end")), one["end"]]
        assert ends == sorted(ends)
    srt = (tmp_path / "out/talk.wav.srt").read_text()
    words = sum(len(one["words"]) for one in found["segments"])
    assert len(re.findall(r"^\d\d:\d\d:\d\d,\d\d\d --> ", srt, re.MULTILINE)) == words


def test_words_are_laid_as_ctranslate2_lays_them(tmp_path):
    """An independent reference: its own alignment, in C++."""
    pytest.importorskip("ctranslate2")
    export = tmp_path / "export"
    export.mkdir()
    write(format_named("ctranslate2"), CHECKPOINT, export, {}, tmp_path)
    rows = pd.read_csv(REAL / "prompts/en.tsv", sep="\t", quoting=3)
    clips = [str(REAL / "prompts" / audio) for audio in rows.audio[rows.text.str.split().str.len() > 8].head(6)]
    starts = []
    for model in (CHECKPOINT, export):
        out = tmp_path / "said" / model.name
        main([str(model), *clips, "--out", str(out), "--format", "json", "--words", "--threads", "1"])
        starts.append({})
        for path in sorted(out.iterdir()):
            words = [word for one in json.loads(path.read_text())["segments"] for word in one["words"]]
            starts[-1] |= {(path.name, place, word["text"]): word["start"] for place, word in enumerate(words)}
    ours, theirs = starts
    apart = [abs(ours[key] - theirs[key]) for key in ours.keys() & theirs.keys()]
    assert len(apart) > 0.9 * len(ours) and np.median(apart) <= 0.02 and np.mean(np.array(apart) <= 0.1) > 0.9
