"""Further ways of decoding: behind previous text, with timestamps; and what of the times can be right."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from consomme.common.digest import digest
from consomme.common.files import write_json
from consomme.common.job import Job
from consomme.data.prepared import Rows, Writer
from consomme.evaluate.evaluator import Evaluator
from consomme.evaluate.stage import run
from consomme.evaluate.ways import sane, ways
from consomme.families import family_named, load
from consomme.families.base import Segment
from consomme.report.findings.means import by_decoding

WHISPER = family_named("whisper")
TEXTS = ["the cat", "sat on", "a mat", "hello", "how are you", "world"]


@pytest.fixture(scope="module")
def whisper(folders, tmp_path_factory):
    """A Whisper with tokens for timestamps, which random weights write at random."""
    folder, plain = tmp_path_factory.mktemp("timed") / "model", folders("whisper")
    model = load(plain)
    torch.manual_seed(0)
    model.resize_token_embeddings(model.config.vocab_size + 101, mean_resizing=False)
    model.config.trained_window = "full"
    model.save_pretrained(folder)
    WHISPER.processor(plain).save_pretrained(folder)
    return folder


def noise(folder, seed):
    """A prepared corpus of six rows of noise, the first three of one document."""
    folder.mkdir()
    with Writer(folder / "rows.arrow", "asr") as writer:
        for n, text in enumerate(TEXTS):
            audio = (3000 * np.random.default_rng(seed + n).standard_normal(8000 + 1600 * n)).astype(np.int16)
            origin = {"id": f"r{n}", "speaker": None, "document": "talk" if n < 3 else None, "recordings": []}
            said = {"seconds": len(audio) / 16000, "text": text, "audio_hash": str(seed + n), "audio": audio}
            writer.add({**origin, **said})
    about = {"task": "asr", "name": folder.name, "sampling_rate": 16000, "fingerprint": writer.fingerprint(16000)}
    write_json(folder / "prepared.json", about)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return noise(tmp_path_factory.mktemp("corpus") / "c", 0)


def evaluator_of(whisper, corpus, cache, batch_size=64, **decoding):
    return Evaluator(
        *(WHISPER, WHISPER.processor(whisper), {"t": Rows.open([corpus])}),
        languages=["en"],
        decoding={"max_new_tokens": 5, **decoding},
        normaliser="basic",
        cache=cache,
        batch_size=batch_size,
        processor_key="w",
    )


def test_each_row_is_decoded_behind_its_own_earlier_text(whisper, corpus, tmp_path):
    """Against the plain argmax, token by token."""
    evaluator = evaluator_of(whisper, corpus, tmp_path, previous_text=True)
    model, processor = load(whisper), WHISPER.processor(whisper)
    found = evaluator.hypotheses(model, "t").texts
    prompts = evaluator.inputs("t").earlier
    assert processor.decode(prompts[2][1:]).strip() == "the cat sat on"
    assert all(prompts) and len({len(ids) for ids in prompts}) > 1
    for i, prompt in enumerate(prompts):
        feature = WHISPER.features(processor, evaluator.sets["t"].audio(i))
        inputs = WHISPER.collate(processor, [feature], None)
        ids = [*prompt, *processor.tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|en|>"])]
        ids += processor.tokenizer.convert_tokens_to_ids(["<|transcribe|>", "<|notimestamps|>"])
        said = []
        while len(said) < 5 and model.config.eos_token_id not in said:
            with torch.no_grad():
                said.append(int(model(**inputs, decoder_input_ids=torch.tensor([ids + said])).logits[0, -1].argmax()))
        said = [token for token in said if token < processor.tokenizer.timestamps.start]
        assert found[i] == processor.decode(said, skip_special_tokens=True).strip()
    plain = evaluator_of(whisper, corpus, tmp_path).hypotheses(model, "t").texts
    assert plain != found
    assert evaluator_of(whisper, corpus, tmp_path / "b", 1, previous_text=True).hypotheses(model, "t").texts == found


def test_timestamps_come_with_their_segments(whisper, corpus, tmp_path):
    said = evaluator_of(whisper, corpus, tmp_path, timestamps=True).hypotheses(load(whisper), "t")
    assert len(said.segments) == len(TEXTS)
    for text, segments in zip(said.texts, said.segments, strict=True):
        assert text == " ".join(words for _, _, words in segments if words)
        assert all(0 <= start <= 2 and (end is None or start <= end) for start, end, _ in segments)
    again = evaluator_of(whisper, corpus, tmp_path, timestamps=True).hypotheses(load(whisper), "t")
    assert json.dumps(again) == json.dumps(said)  # from the cache


def timed(*times):
    return [Segment(start, end, "x") for start, end in times]


@pytest.mark.parametrize(
    ("times", "right"),
    [
        ([(0, 4)], True),
        ([(0.5, 2.0), (2.0, 3.9)], True),
        ([(0, 4.4)], True),  # audio ends within a segment
        ([(0, 4.6)], False),  # far behind the audio
        ([(0, 1.9)], False),  # covers less than half
        ([(0, 2.5), (2.0, 4.0)], False),  # backwards
        ([(3.0, 1.0)], False),
        ([(0, None)], False),
        ([], False),
    ],
)
def test_sane_timestamps(times, right):
    assert sane(timed(*times), 4.0) is right


def test_the_stage_tries_the_test_sets_in_each_way(whisper, corpus, tmp_path, folders, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = {
        "stage": "evaluate",
        "version": 1,
        "task": "asr",
        "languages": ["en"],
        "normaliser": "basic",
        "decoding": {"num_beams": 1, "max_new_tokens": 6, "window": None},
        "decoding_digest": "main",
        "besides": ["timestamps", "previous_text"],
        "sets": {"dev": {"d": ["other"]}, "test": {"t": ["c"]}},
    }
    inputs = {"model/m": whisper, "corpus/c": corpus, "corpus/other": noise(tmp_path / "other", 10)}
    job = Job(spec, inputs, tmp_path / "i.json", tmp_path, tmp_path, 1, "cpu")
    run(job)
    sets = json.loads(job.out.read_text())["sets"]
    assert [(e["split"], e.get("way")) for e in sets] == [
        ("dev", None),
        ("test", None),
        ("test", "previous text"),
        ("test", "timestamps"),
    ]
    lines = [json.loads(line) for line in Path(sets[3]["path"]).read_text(encoding="utf-8").splitlines()]
    seconds = Rows.open([corpus]).seconds
    right = [sane([Segment(*s) for s in line["segments"]], n) for line, n in zip(lines, seconds, strict=True)]
    assert sets[3]["sane"] == sum(right) and sets[3]["decoding"] == digest(
        {"num_beams": 1, "max_new_tokens": 6, "timestamps": True}, 8
    )
    before = job.out.read_bytes()
    run(job)  # nothing is decoded again
    assert job.out.read_bytes() == before
    alone = replace(job, spec={**spec, "ways": False}, out=tmp_path / "run.json")  # one of a sweep's runs
    run(alone)
    assert [(e["split"], e.get("way")) for e in json.loads(alone.out.read_text())["sets"]] == [
        ("dev", None),
        ("test", None),
    ]
    assert ways({}, ["timestamps", "previous_text"], folders("ctc")) == {}
    short = ways({}, ["timestamps", "previous_text"], folders("whisper"))
    assert list(short) == ["full window", "previous text"]  # it has no tokens for timestamps


def test_hypotheses_are_made_at_the_precision_and_losses_at_the_weights_own(whisper, corpus, tmp_path, monkeypatch):
    model, seen = load(whisper), []
    decode, measure = type(WHISPER).decode, Evaluator._measure
    monkeypatch.setattr(type(WHISPER), "decode", lambda self, m, *more: seen.append(m.dtype) or decode(self, m, *more))
    monkeypatch.setattr(Evaluator, "_measure", lambda self, m, batch: seen.append(m.dtype) or measure(self, m, batch))
    evaluator = evaluator_of(whisper, corpus, tmp_path, precision="bfloat16")
    evaluator.hypotheses(model, "t")
    assert set(seen) == {torch.bfloat16}
    seen.clear()
    evaluator.labels(model, "t")
    assert set(seen) == {torch.bfloat16, torch.float32}
    seen.clear()
    evaluator.value(model, "t", "loss")
    assert set(seen) == {torch.float32} and model.dtype == torch.float32


# -- recordings longer than the window (2 s) -----------------------------------------------------------------------
@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Noise of 5, 1, 3.5 and 2 s."""
    folder = tmp_path_factory.mktemp("recordings") / "r"
    folder.mkdir()
    with Writer(folder / "rows.arrow", "asr") as writer:
        for n, seconds in enumerate((5, 1, 3.5, 2)):
            audio = (3000 * np.random.default_rng(n).standard_normal(int(16000 * seconds))).astype(np.int16)
            origin = {"id": f"r{n}", "speaker": None, "document": None, "recordings": []}
            writer.add({**origin, "seconds": seconds, "text": TEXTS[n], "audio_hash": str(n), "audio": audio})
    about = {"task": "asr", "name": "r", "sampling_rate": 16000, "fingerprint": writer.fingerprint(16000)}
    write_json(folder / "prepared.json", about)
    return folder


def test_long_recordings_are_decoded_as_transformers_does_it(whisper, recordings, tmp_path):
    model, processor = load(whisper), WHISPER.processor(whisper)
    evaluator = evaluator_of(whisper, recordings, tmp_path)
    said = evaluator.hypotheses(model, "t").texts
    for row in (0, 2):
        stock = processor(
            audio=evaluator.sets["t"].audio(row),
            sampling_rate=16000,
            return_tensors="pt",
            truncation=False,
            padding="longest",
        )
        features = WHISPER.whole(processor, evaluator.sets["t"].audio(row))
        np.testing.assert_allclose(features.T, stock.input_features[0], atol=1e-5)
        found = model.generate(
            **stock, language="en", task="transcribe", return_timestamps=True, return_segments=True, max_new_tokens=5
        )
        words = [processor.decode(s["tokens"], skip_special_tokens=True).strip() for s in found["segments"][0]]
        assert said[row] == " ".join(filter(None, words)) != ""
    one_by_one = evaluator_of(whisper, recordings, tmp_path / "b", 1).hypotheses(model, "t").texts
    plain = Evaluator.hypotheses(
        evaluator_of(whisper, recordings, tmp_path / "c", previous_text=True), model, "t"
    ).texts
    assert one_by_one == said and [plain[0], plain[2]] == [said[0], said[2]]


def test_long_recordings_have_no_loss_and_are_left_out_of_training(whisper, recordings, tmp_path):
    from consomme.train.examples import left_out, open_corpus

    model, processor = load(whisper), WHISPER.processor(whisper)
    evaluator = evaluator_of(whisper, recordings, tmp_path)
    reason = "audio longer than the model's window"
    assert (
        evaluator.inputs("t").unmeasured(model) == {0: reason, 2: reason} and evaluator.inputs("t").unheard(model) == {}
    )
    loss = evaluator.statistics(model, "t", "loss")
    assert [tokens > 0 for _, tokens in loss] == [False, True, False, True] and evaluator.inputs("t").usable() == [1, 3]
    assert [label.confidence > 0 for label in evaluator.labels(model, "t")][::2] == [False, False]
    corpus = open_corpus(
        *(WHISPER, processor, model, Rows.open({"c": recordings})),
        share=1.0,
        share_seed=0,
        languages=["en"],
        cache=tmp_path,
        processor_key="w",
        labels_key="w",
    )
    assert corpus.usable.tolist() == [1, 3]
    assert left_out({"c": corpus}) == {"c": {reason: {"rows": 2, "first": ["r0", "r2"]}}}


def test_each_way_is_a_column_of_its_own():
    table = pd.DataFrame(
        {
            "split": ["dev", "test", "test", "test"],
            "way": ["", "", "full window", "timestamps"],
            "value": [1.0, 2.0, 3.0, 4.0],
            "sane_timestamps": [np.nan, np.nan, np.nan, 75.0],
        }
    ).assign(mean_low=0.0, mean_high=9.0)
    found = by_decoding(table)
    assert dict(zip(found["split"], found["value"], strict=True)) == {
        "dev": 1.0,
        "test": 2.0,
        "full window": 3.0,
        "timestamps": 4.0,
        "sane timestamps, %": 75.0,
    }
