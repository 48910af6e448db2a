"""The whole path of real Whisper checkpoints: start, tune, soup, prune, recover, evaluate, export.

CONSOMME_REAL names a folder with `whisper-tiny.en`, `whisper-base` and `prompts/LANGUAGE.tsv` (columns audio, text, fold);
without it the tests skip."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import soundfile
from transformers import AutoTokenizer, pipeline

from consomme.common.files import read_json

REAL = Path(os.environ.get("CONSOMME_REAL", "../real")).resolve()
pytestmark = [pytest.mark.workflow, pytest.mark.slow]

CONFIG = """
.rows: &rows {source: manifest, path: prompts/LANGUAGE.tsv, max_seconds: 6, max_skipped: 1}
corpora:
  train: {<<: *rows, where: {fold: {from: 0, to: 5}}, limit: 24}
  dev:   {<<: *rows, where: {fold: {from: 6, to: 7}}, limit: 8}
  test:  {<<: *rows, where: {fold: {from: 8, to: 9}}, limit: 12}
experiments:
  e:
    task: asr
    languages: [LANGUAGE]
    data: {train: train, dev: {d: dev}, test: {t: test}}
    models:
      base: {from: {folder: FOLDER}}
      tuned:
        train: base
        sweep: {grid: {learning_rate: [1e-5, 2e-5]}}
        max_steps: 3
        per_device_train_batch_size: 4
        window: short
        full_windows: 0
        timestamps: 0.3
        previous_text: 0.3
        choose_on: {d: best}
        metric: loss
      soup: {average: tuned}
      half: {prune: soup, layers: {decoder: {drop: 1/2, by: uniform}}}
      healed: {train: half, distil_from: soup, max_steps: 3, per_device_train_batch_size: 4, window: short, full_windows: 0}
      terse: {prune: soup, vocabulary: {keep: used}}
      small: {export: soup, format: ctranslate2, quantization: int8}
      phone: {export: soup, format: ggml, quantization: q8_0}
      least: {average: [soup, small, phone], method: smallest, size: bytes, choose_on: {d: {lose_at_most: 60, of: soup}}}
    claims:
      - {model: soup, keeps: base, on: t, margin: 20}
      - {model: small, keeps: soup, on: t, margin: 20}
"""


@pytest.mark.parametrize(("checkpoint", "language"), [("whisper-tiny.en", "en"), ("whisper-base", "fr")])
def test_a_published_whisper_goes_the_whole_path(empty, checkpoint, language):
    if not (REAL / checkpoint / "config.json").is_file():
        pytest.skip(f"no {checkpoint} in {REAL}; CONSOMME_REAL names its folder")
    text = CONFIG.replace("LANGUAGE", language).replace("FOLDER", str(REAL / checkpoint))
    empty.write(f"data_root: {REAL}\n{text}")
    empty.run()
    results = empty.folder / "results/e"
    scores = pd.read_csv(results / "scores.tsv", sep="\t", keep_default_na=False)
    words = scores[(scores.split == "test") & (scores.metric == "wer")]
    assert {"base", "tuned/best", "soup", "half", "healed", "terse"} <= set(words.model)
    # it hears the language: another one, digits for words or a cut text would be far off. After so few steps this holds
    # for tuned models in full windows alone
    base, soup = (
        words[words.way == ""].set_index("model").value,
        words[words.way == "full window"].set_index("model").value,
    )
    assert base["base"] < 60 and soup["soup"] < 60
    # CTranslate2's copy in 8 bits says nearly what the soup says
    agreement = read_json(results / "current/small/provenance.json")["agreement"]
    assert agreement["same"] >= agreement["examples"] / 2
    # exports are scored by their own engines as near to it, timed, and the smaller of them is chosen
    own = words[words.way == ""].set_index("model").value
    assert abs(own["small"] - own["soup"]) < 10 and abs(own["phone"] - own["soup"]) < 25
    table = pd.read_csv(results / "costs.tsv", sep="\t")
    # what is tuned on short windows is timed in both, and the base in the one that it has
    assert set(table.model[table.window == "short"]) == set(table.model) - {"base"}
    costs = table[table.window == "full"].set_index("model")
    assert set(costs.index) == set(table.model)
    assert "not comparable" not in (results / "summary.md").read_text()
    assert (costs.loc[["small", "phone"], "speed"] > 0).all()
    assert (costs.loc[["small", "phone"], "bytes"] < 0.8 * costs.bytes["soup"]).all()
    chosen = read_json(results / "current/least/provenance.json")["chosen"]["ingredients"]
    assert chosen == [costs.loc[["small", "phone"], "bytes"].idxmin()]
    ways = [row["how"] for row in read_json(results / "current/phone/provenance.json")["asked_otherwise"]]
    assert "behind a prompt" in ways and "with timestamps, in the full window" in ways
    assert {"small.md", "phone.md"} <= {path.name for path in (results / "cards").iterdir()}
    # and the stock pipeline, told nothing but the folder, says it to the letter. By itself it searches with five beams
    hears = pipeline("automatic-speech-recognition", model=str(results / "current/soup"), device="cpu")
    rows = full_windows(empty.folder, "soup")
    clips = pd.read_csv(REAL / f"prompts/{language}.tsv", sep="\t", quoting=3).set_index("id").audio
    for row in rows[:4]:
        wave, rate = soundfile.read(REAL / "prompts" / clips[row["id"]], dtype="float32")
        heard = hears({"raw": wave, "sampling_rate": rate}, generate_kwargs={"num_beams": 1})
        assert heard["text"].strip() == row["hypothesis"]
    # with fewer tokens it says the same wherever those are left that it says it with, after a space or without one
    stay = set(AutoTokenizer.from_pretrained(results / "current/terse").get_vocab())
    tokens = AutoTokenizer.from_pretrained(results / "current/soup").tokenize
    said, less = ([row["hypothesis"] for row in found] for found in (rows, full_windows(empty.folder, "terse")))
    able = [n for n, text in enumerate(said) if stay.issuperset([*tokens(text), *tokens(f" {text}")])]
    assert able and [said[n] for n in able] == [less[n] for n in able]


def full_windows(folder, model):
    """The test rows of a tuned model, decoded in full windows."""
    (index,) = (folder / "results/e/hypotheses").glob(f"{model}-*/*.json")
    path = next(e["path"] for e in read_json(index)["sets"] if e["split"] == "test" and e.get("way") == "full window")
    return [json.loads(line) for line in (folder / path).read_text(encoding="utf-8").splitlines()]
