"""Decoding against transformers' pipelines, CTranslate2, faster-whisper and ONNX Runtime:
python bench/decoding.py MODEL TABLE [--language en] [--clips 32] [--rounds 3]

MODEL: the folder of a Whisper. TABLE: tab-separated, with the columns audio (paths, from the table's folder) and text. All
decode the same clips of up to 30 s greedily on one thread, from waveforms to text, features included; models are loaded
already. A second table has how many texts are those of the pipeline in float32. The translator has random weights and 20
tokens for every sentence: its outputs are meaningless, its costs are real."""

from __future__ import annotations

import argparse
import csv
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row, Run, compared, interleaved, report

from consomme.data.audio import read, to_int16
from consomme.data.prepared import Rows, Writer
from consomme.families import family_named, family_of, load
from consomme.formats import format_named, start, write

BATCH, RATE, LONGEST = 8, 16000, 30  # of the peers, as ours by default; Hz; seconds
FULL, SHORT, CALLS = 1 / 1.2, 1 / 4, 1.05  # bars: of CTranslate2's time in float32; our calls of CTranslate2 / its own
SENTENCES, WORDS, TOKENS = 64, 12, 20
Texts = Callable[[], Sequence[str]]  # decodes everything


def clips_of(table: Path, count: int, place: Path) -> Rows:
    """The first `count` clips of a table that aren't too long, as a prepared corpus in `place`."""
    from consomme.common.files import write_json

    place.mkdir()
    with table.open(encoding="utf-8", newline="") as stream, Writer(place / "rows.arrow", "asr") as writer:
        for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            wave = to_int16(read(table.parent / row["audio"], RATE))
            if len(wave) > LONGEST * RATE:
                continue
            about = {"id": row["audio"], "speaker": None, "document": None, "recordings": [], "text": row["text"]}
            writer.add({**about, "seconds": len(wave) / RATE, "audio_hash": row["audio"], "audio": wave})
            if writer.rows == count:
                break
    about = {"task": "asr", "name": "clips", "fingerprint": writer.fingerprint(RATE), "rows": writer.rows}
    write_json(place / "prepared.json", {**about, "version": 1, "sampling_rate": RATE, "seconds": writer.seconds})
    return Rows.open([place])


def sentences(place: Path) -> Rows:
    """Sentences of random words, as a prepared corpus in `place`."""
    from consomme.common.files import write_json

    draw = random.Random(1)
    word = lambda: "".join(draw.choices("etaoinshr", k=draw.randint(2, 8)))  # noqa: E731
    place.mkdir()
    with Writer(place / "rows.arrow", "nmt") as writer:
        for n in range(SENTENCES):
            text = " ".join(word() for _ in range(draw.randint(WORDS // 2, 2 * WORDS)))
            writer.add(
                {"id": str(n), "speaker": None, "document": None, "recordings": [], "source": text, "target": text}
            )
    about = {"task": "nmt", "name": "sentences", "fingerprint": writer.fingerprint(), "rows": writer.rows, "version": 1}
    write_json(place / "prepared.json", about)
    return Rows.open([place])


def evaluated(folder: Path, rows: Rows, languages: Sequence[str], **decoding: Any) -> Texts:
    """As evaluations of checkpoints decode."""
    from consomme.evaluate.evaluator import Evaluator

    family, model = family_of(folder), load(folder)
    processor = family.processor(folder, languages)

    def texts() -> Sequence[str]:
        with tempfile.TemporaryDirectory() as cache:
            given = {"languages": languages, "decoding": decoding, "normaliser": "verbatim", "processor_key": ""}
            return (
                Evaluator(family, processor, {"all": rows}, cache=Path(cache), **given).hypotheses(model, "all").texts
            )

    return texts


def deployed(folder: Path, rows: Rows, languages: Sequence[str], **decoding: Any) -> Texts:
    """As evaluations of exports decode."""
    from consomme.evaluate.deployed import Deployed

    running = start(folder, languages)

    def texts() -> Sequence[str]:
        with tempfile.TemporaryDirectory() as cache:
            return Deployed(running, {"all": rows}, languages, decoding, Path(cache)).hypotheses("all").texts

    return texts


def piped(folder: Path, waves: Sequence[np.ndarray], language: str, precision: str) -> Texts:
    """transformers' pipeline."""
    import torch
    from transformers import pipeline

    hears = pipeline("automatic-speech-recognition", model=str(folder), device="cpu", dtype=getattr(torch, precision))
    asked = {"num_beams": 1} | ({"language": language} if hears.model.generation_config.is_multilingual else {})

    def texts() -> Sequence[str]:
        given = [{"raw": wave, "sampling_rate": RATE} for wave in waves]
        return [one["text"].strip() for one in hears(given, batch_size=BATCH, generate_kwargs=asked)]

    return texts


def ctranslate2_alone(export: Path, folder: Path, waves: Sequence[np.ndarray], language: str) -> Texts:
    """CTranslate2's Whisper as its documentation calls it, with the features of transformers."""
    import ctranslate2
    from transformers import WhisperProcessor

    engine, processor = (
        ctranslate2.models.Whisper(str(export), intra_threads=1),
        WhisperProcessor.from_pretrained(folder),
    )
    spoken = [f"<|{language}|>", "<|transcribe|>"] if engine.is_multilingual else []
    prompt = processor.tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", *spoken, "<|notimestamps|>"])

    def texts() -> Sequence[str]:
        said = []
        for some in (waves[i : i + BATCH] for i in range(0, len(waves), BATCH)):
            features = processor(some, sampling_rate=RATE, return_tensors="np").input_features
            found = engine.generate(ctranslate2.StorageView.from_array(features), [prompt] * len(some), beam_size=1)
            ids = [one.sequences_ids[0] for one in found]
            said += [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]
        return said

    return texts


def faster_whisper(export: Path, waves: Sequence[np.ndarray], language: str) -> Texts:
    """faster-whisper, greedy, without its fallbacks."""
    from faster_whisper import WhisperModel

    model = WhisperModel(str(export), device="cpu", cpu_threads=1, compute_type="float32")
    asked: dict[str, Any] = {"beam_size": 1, "best_of": 1, "temperature": 0.0, "without_timestamps": True}
    asked |= {"language": language, "condition_on_previous_text": False, "no_speech_threshold": None}
    asked |= {"log_prob_threshold": None, "compression_ratio_threshold": None}

    def texts() -> Sequence[str]:
        heard = (model.transcribe(wave, **asked)[0] for wave in waves)
        return [" ".join(segment.text.strip() for segment in segments) for segments in heard]

    return texts


def translator_alone(export: Path, folder: Path, rows: Rows) -> Texts:
    """CTranslate2's Translator as its documentation calls it: it makes the batches."""
    import ctranslate2

    engine, tokenizer = ctranslate2.Translator(str(export), intra_threads=1), family_of(folder).processor(folder)

    def texts() -> Sequence[str]:
        tokens = [tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids) for text in rows.sources]
        asked = {"beam_size": 1, "max_decoding_length": TOKENS, "min_decoding_length": TOKENS}
        found = [one.hypotheses[0] for one in engine.translate_batch(tokens, max_batch_size=SENTENCES, **asked)]
        ids = [tokenizer.convert_tokens_to_ids(one) for one in found]
        return [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]

    return texts


def raced(contenders: Mapping[str, Texts], rounds: int) -> tuple[dict[str, list[Run]], dict[str, Sequence[str]]]:
    """The runs and the texts of each contender."""
    said: dict[str, Sequence[str]] = {}

    def once(name: str) -> Run:
        began = time.perf_counter()
        said[name] = contenders[name]()
        return Run(time.perf_counter() - began, 0, 0)

    return interleaved({name: partial(once, name) for name in contenders}, rounds), said


def recognisers(place: Path, folder: Path, table: Path, language: str, clips: int, rounds: int) -> list[Row]:
    """The rows of recognition; prints whose texts are whose."""
    rows = clips_of(table, clips, place / "clips")
    waves = [rows.audio(i) for i in range(len(rows))]
    exports = {name: place / name for name in ("float32", "int8", "onnx")}
    for name, export in exports.items():
        export.mkdir()
        form, settings = (
            ("onnx" if name == "onnx" else "ctranslate2"),
            {"quantization": "int8"} if name == "int8" else {},
        )
        write(format_named(form), folder, export, settings, place / "work")
    ours, engine = partial(evaluated, folder, rows, [language]), partial(deployed, rows=rows, languages=[language])
    contenders = {
        "pipeline, float32": piped(folder, waves, language, "float32"),
        "pipeline, bfloat16": piped(folder, waves, language, "bfloat16"),
        "CTranslate2, float32": ctranslate2_alone(exports["float32"], folder, waves, language),
        "faster-whisper, float32": faster_whisper(exports["float32"], waves, language),
        "full window, float32": ours(window="full"),
        "full window, bfloat16": ours(window="full", precision="bfloat16"),
        "short window, float32": ours(window="short"),
        "short window, bfloat16": ours(window="short", precision="bfloat16"),
        "engine: ctranslate2, float32": engine(exports["float32"], window="full"),
        "engine: ctranslate2, int8": engine(exports["int8"], window="full"),
        "engine: ctranslate2, float32, short window": engine(exports["float32"], window="short"),
        "engine: onnx, float32": engine(exports["onnx"], window="full"),
        "engine: onnx, float32, short window": engine(exports["onnx"], window="short"),
    }
    runs, said = raced(contenders, rounds)
    seconds, plain = sum(map(len, waves)) / RATE, said["pipeline, float32"]
    print(f"\n{len(waves)} clips, {seconds:.0f} s of audio\n")
    print("| | seconds a clip, median | texts of the pipeline in float32 |\n| --- | ---: | ---: |")
    for name, texts in said.items():
        same = sum(a == b for a, b in zip(texts, plain, strict=True))
        each = statistics.median(run.seconds for run in runs[name]) / len(waves)
        print(f"| {name} | {each:.3f} | {same} of {len(plain)} |")
    print()
    pairs: list[tuple[str, str, float | None]] = [
        ("full window, float32", "pipeline, float32", None),
        ("full window, bfloat16", "pipeline, bfloat16", None),
        ("full window, float32", "CTranslate2, float32", None),
        ("full window, bfloat16", "CTranslate2, float32", FULL),
        ("short window, float32", "CTranslate2, float32", None),
        ("short window, bfloat16", "CTranslate2, float32", SHORT),
        ("engine: ctranslate2, float32", "CTranslate2, float32", CALLS),
        ("engine: ctranslate2, float32", "faster-whisper, float32", None),
        ("engine: ctranslate2, int8", "CTranslate2, float32", None),
        ("engine: ctranslate2, float32, short window", "CTranslate2, float32", None),
        ("engine: onnx, float32", "full window, float32", None),
        ("engine: onnx, float32, short window", "short window, float32", None),
    ]
    return [compared(f"{us}; beside {peer}", runs[us], runs[peer], bar) for us, peer, bar in pairs]


def translators(place: Path, rounds: int) -> list[Row]:
    """The rows of translation."""
    family, folder, export = family_named("marian"), place / "marian", place / "marian-ctranslate2"
    rows = sentences(place / "sentences")
    graphs = place / "marian-onnx"
    folder.mkdir(), export.mkdir(), graphs.mkdir()
    sizes = {"encoder_layers": 6, "decoder_layers": 6, "d_model": 512, "encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048}
    family.create(folder, sizes, {"vocab_size": 1000}, lambda: iter(rows.sources), ["en", "fr"], seed=1)
    write(format_named("ctranslate2"), folder, export, {}, place / "work")
    write(format_named("onnx"), folder, graphs, {}, place / "work")
    asked = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS}
    contenders = {
        "engine": deployed(export, rows, ["en", "fr"], **asked),
        "CTranslate2": translator_alone(export, folder, rows),
        "transformers": evaluated(folder, rows, ["en", "fr"], **asked),
        "onnx": deployed(graphs, rows, ["en", "fr"], **asked),
    }
    runs, said = raced(contenders, rounds)
    same = sum(a == b for a, b in zip(said["engine"], said["CTranslate2"], strict=True))
    print(f"{SENTENCES} sentences: {same} texts are the same through our calls of CTranslate2 and by itself\n")
    return [
        compared("translation, engine: ctranslate2; beside CTranslate2", runs["engine"], runs["CTranslate2"], CALLS),
        compared("translation, float32; beside CTranslate2", runs["transformers"], runs["CTranslate2"], None),
        compared("translation, engine: onnx; beside float32", runs["onnx"], runs["transformers"], None),
    ]


def main() -> None:
    """Measure, print the tables, write results/bench/decoding.json."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--language", default="en")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        found = translators(place, given.rounds)
        found += recognisers(place, given.model, given.table, given.language, given.clips, given.rounds)
    report(found, Path("results/bench/decoding.json"))


if __name__ == "__main__":
    main()
