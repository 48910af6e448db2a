"""Whatever a corpus of speech holds: sound files are kept with their own texts, others are kept or listed, and none takes the memory.
`pytest -s` prints the counts."""

from __future__ import annotations

import collections
import functools
import io
import json
import tempfile
import tracemalloc
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ..thorough import THOROUGH, cases
from .any_corpus import Prepared, marked, marks, prepared

RATE = 8000
USUAL = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
WRITTEN = [  # format, subtype, channels at most
    ("WAV", "PCM_16", 6), ("WAV", "PCM_U8", 2), ("WAV", "PCM_24", 2), ("WAV", "PCM_32", 2), ("WAV", "FLOAT", 6), ("WAV", "DOUBLE", 2),
    ("WAV", "ULAW", 1), ("WAV", "ALAW", 2), ("WAV", "IMA_ADPCM", 1), ("WAVEX", "PCM_16", 6), ("RF64", "PCM_16", 2), ("W64", "PCM_16", 2),
    ("AIFF", "PCM_16", 2), ("AU", "PCM_16", 2), ("CAF", "PCM_16", 2), ("FLAC", "PCM_16", 6), ("FLAC", "PCM_24", 2), ("OGG", "VORBIS", 2),
    ("OGG", "OPUS", 2), ("MP3", "MPEG_LAYER_III", 2),
]  # fmt: skip
SUFFIXES = {"WAVEX": "wav", "RF64": "wav"}
BEYOND = ("nan", "infinite", "loud", "whole numbers")  # what floats alone can hold
STRANGE = (
    "silence",
    "nan",
    "infinite",
    "loud",
    "faint",
    "constant",
    "cancelling",
    "empty",
    "one sample",
    "whole numbers",
)


@pytest.fixture(scope="module")
def counts() -> Iterator[collections.Counter[str]]:
    found = collections.Counter[str]()
    yield found
    print(", ".join(f"{n} {what}" for what, n in sorted(found.items())))


def hertz(number: int) -> int:
    """The pitch of a row, by which it is known."""
    return 300 + 100 * number


def tone(number: int, rate: int, seconds: float) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * hertz(number) * np.arange(round(seconds * rate)) / rate)


def samples(number: int, content: str, rate: int, channels: int, seconds: float) -> np.ndarray:
    """float64 [samples, channels]"""
    one = tone(number, rate, seconds)
    many = np.repeat(one[:, None], channels, axis=1)
    change = {
        "silence": lambda: 0 * many,
        "nan": lambda: np.where(np.arange(len(many))[:, None] % 97 == 5, np.nan, many),
        "infinite": lambda: np.where(np.arange(len(many))[:, None] % 97 == 5, np.inf, many),
        "loud": lambda: 1e6 * many,
        "faint": lambda: 1e-6 * many,
        "constant": lambda: 0 * many + 0.3,
        "cancelling": lambda: many * np.where(np.arange(channels) % 2, -1, 1),
        "empty": lambda: many[:0],
        "one sample": lambda: many[1:2],
        "whole numbers": lambda: np.rint(32768 * many),
    }
    return change.get(content, lambda: many)()


@functools.lru_cache(maxsize=4096)
def file_of(number: int, content: str, kind: tuple[str, str, int], rate: int, channels: int, seconds: float) -> bytes:
    """A file's bytes; of floats in WAV where the format doesn't take such samples, that rate or number of channels."""
    stream = io.BytesIO()
    made = samples(number, content, rate, min(channels, kind[2]), seconds)
    try:
        if content in BEYOND or (
            kind[0] in ("OGG", "MP3") and (content not in ("tone", "silence", "constant") or rate not in USUAL[:-1])
        ):
            raise ValueError("encoders die of it")
        soundfile.write(stream, made, rate, kind[1], format=kind[0])
    except (soundfile.LibsndfileError, ValueError):
        stream = io.BytesIO()
        soundfile.write(stream, made, rate, "FLOAT", format="WAV")
    return stream.getvalue()


def pitch(heard: np.ndarray) -> float:
    """The strongest frequency of samples at RATE, in Hz."""
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), 8 * len(heard)))
    return float(spectrum.argmax()) * RATE / (8 * len(heard))


KINDS = st.sampled_from(WRITTEN)
SOUND = st.tuples(st.just("tone"), KINDS, st.sampled_from(USUAL), st.integers(1, 3), st.sampled_from([0.3, 0.5, 1.0]))
ODD = st.tuples(
    st.sampled_from(STRANGE),
    KINDS,
    st.sampled_from([*USUAL, 1000, 7999, 44_101, 192_000, 767_999]),
    st.integers(1, 6),
    st.sampled_from([0.01, 0.3, 1.0]),
)
EDGES = [0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
LIES = st.tuples(
    st.sampled_from(
        [4, 16, 20, 22, 24, 28, 32, 34, 36, 40]
    ),  # where a wav file's header says its sizes, format, channels, rate, bits
    st.one_of(st.sampled_from(EDGES), st.integers(0, 2**32 - 1)),
    st.sampled_from([2, 4]),
)
DAMAGE = st.one_of(
    st.tuples(st.just("lie"), st.lists(LIES, min_size=1, max_size=3)),
    st.tuples(st.just("flip"), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=8)),
    st.tuples(st.just("cut"), st.integers(0, 4000)),
    st.tuples(st.just("behind"), st.binary(max_size=300)),
    st.tuples(st.just("before"), st.binary(max_size=300)),
    st.tuples(st.just("instead"), st.binary(max_size=300)),
)


def damaged(content: bytes, how: tuple[str, Any]) -> bytes:
    changed = bytearray(content)
    match how:
        case "lie", fields:
            for at, value, size in fields:
                changed[at : at + size] = (value % 256**size).to_bytes(size, "little")
        case "flip", places:
            for at, value in places:
                changed[at : at + 1] = bytes([value])
        case "cut", at:
            del changed[at:]
        case "behind", more:
            changed += more
        case "before", more:
            changed[:0] = more
        case "instead", more:
            changed[:] = more
    return bytes(changed)


def laid_out(source: str, clips: list[tuple[str, bytes]], texts: list[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A corpus of clips, (suffix, bytes), and their texts, as settings and files."""
    names = [f"{n}.{suffix}" for n, (suffix, _) in enumerate(clips)]
    files = {f"clips/{name}": content for name, (_, content) in zip(names, clips, strict=True)}
    pairs = list(zip(names, texts, strict=True))
    if source == "manifest":
        files["t.jsonl"] = "".join(
            json.dumps({"audio": f"clips/{name}", "text": text}) + "\n" for name, text in pairs
        ).encode()
        return {"source": source, "path": "t.jsonl"}, files
    pairs = [(name, " ".join(text.translate({0: None, 34: None}).split())) for name, text in pairs]
    if source == "folder":
        files |= {f"clips/{name.partition('.')[0]}.txt": text.encode() for name, text in pairs}
        return {
            "source": source,
            "path": "clips",
            "pattern": "{number}.{kind}",
            "where": {"kind": sorted({s for s, _ in clips})},
        }, files
    if source == "kaldi":
        files["k/wav.scp"] = "".join(f"u{n} clips/{name}\n" for n, name in enumerate(names)).encode()
        files["k/text"] = "".join(f"u{n} {text}\n" for n, (_, text) in enumerate(pairs)).encode()
        return {"source": source, "path": "k"}, files
    rows = "".join(f"s\t{name}\t{text}\n" for name, text in pairs)
    files["dev.tsv"] = f"client_id\tpath\tsentence\n{rows}".encode()
    return {"source": source, "path": ".", "split": "dev"}, files


def rows_of(
    counts: collections.Counter[str], corpus: dict[str, Any], files: Mapping[str, bytes]
) -> dict[int, np.ndarray]:
    """Prepare a corpus of these files: the waveforms of the rows that are kept, by the marks of their texts."""
    with tempfile.TemporaryDirectory() as place:
        for name, content in files.items():
            (Path(place) / name).parent.mkdir(exist_ok=True)
            (Path(place) / name).write_bytes(content)
        found = prepared(Path(place), {"sampling_rate": RATE, **corpus}, "asr")
        counts["corpora"] += 1
        counts["files"] += len(files)
        if isinstance(found, str):
            counts["of them refused"] += 1
            assert "none is left" in found or "no rows in it" in found, found
            return {}
        counts["rows kept"] += len(found.rows)
        counts["rows listed"] += len(found.skipped)
        return {min(marks(text), default=-1): found.rows.audio(i) for i, text in enumerate(found.rows.targets)}


def are_themselves(heard: Mapping[int, np.ndarray], numbers: set[int]) -> None:
    """The rows of these numbers are there, each with its own pitch."""
    assert numbers <= heard.keys()
    for number in numbers:
        assert abs(pitch(heard[number]) - hertz(number)) < 40, (number, pitch(heard[number]))


# -- files -------------------------------------------------------------------------------------------------------------------------
SOURCES = st.sampled_from(["manifest", "manifest", "folder", "kaldi", "common_voice"])
SAID = st.one_of(
    st.just(""), st.sampled_from(["=1", "\0", "\u202e", "e\u0301", "\ufeff", "'\"", "x" * 1000]), st.text(max_size=6)
)
WRONG = st.sampled_from(["wav", "mp3", "flac", "raw", "RAW", "txt2", "ogg", "vtt", "sd2", "mpc"])


@cases(40, 4000)
@given(
    SOURCES,
    st.lists(st.tuples(SAID, SAID, st.one_of(SOUND, SOUND, ODD), st.none() | DAMAGE, WRONG), min_size=1, max_size=6),
)
def test_files_of_every_kind(counts, source, rows):
    clips, texts, sound = [], [], set()
    for number, (before, after, (content, kind, rate, channels, seconds), damage, wrong) in enumerate(rows):
        made = file_of(number, content, kind, rate, channels, seconds)
        suffix = SUFFIXES.get(kind[0], kind[0].lower())
        if damage is not None:
            made, suffix = damaged(made, damage), wrong
        elif content == "tone":
            sound.add(number)
        clips.append((suffix if source != "common_voice" else "wav", made))
        texts.append(marked(number, before, after))
    are_themselves(rows_of(counts, *laid_out(source, clips, texts)), sound)


# -- tables ------------------------------------------------------------------------------------------------------------------------
ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 9),
    st.floats(),
    st.integers(10**300, 10**310),
    st.text(max_size=5),
    st.just("\ud800"),
)
ARRAYS = st.recursive(ANY, lambda below: st.lists(below, max_size=4), max_leaves=8)
CELLS = st.one_of(
    ANY,
    st.lists(ANY, max_size=2),
    st.fixed_dictionaries(
        {},
        optional={
            "path": ANY,
            "array": ARRAYS,
            "sampling_rate": st.one_of(st.just(RATE), ANY, st.lists(ANY, max_size=1)),
        },
    ),
    st.sampled_from(
        ["clips", "clips/0.wav", "clips/0.wav/x", "/dev/zero", "/", "..", "clips/\0", "x" * 300, "t.jsonl"]
    ),
)
TIMES = st.sampled_from(
    [
        None,
        "",
        -1,
        0,
        0.1,
        "0.1",
        0.5,
        5e-324,
        2.9,
        3.005,
        9.0,
        1e9,
        1e300,
        1e308,
        -1e308,
        10**400,
        "nan",
        "inf",
        "1:30",
        "1e5000",
        True,
        [1],
        {"a": 1},
    ]
)
ROLES = {"audio": CELLS, "text": ANY, "speaker": ANY, "document": ANY, "recording": ANY, "id": ANY, "language": ANY}


@cases(40, 2500)
@given(
    st.lists(
        st.fixed_dictionaries({}, optional={**ROLES, **dict.fromkeys(("start", "end", "duration", "offset"), TIMES)}),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_cells_of_every_kind(counts, rows, by_language):
    made = file_of(0, "tone", WRITTEN[0], RATE, 1, 3.0)
    lines = [
        {"audio": "clips/0.wav", "text": marked(0)},
        *({"audio": "clips/0.wav", "text": "a"} | row for row in rows),
    ]
    more = {"columns": {"language": "language"}} if by_language else {}
    files = {
        "clips/0.wav": made,
        "t.jsonl": "".join(
            json.dumps(line | {"language": line.get("language", "en")}) + "\n" for line in lines
        ).encode(),
    }
    heard = rows_of(counts, {"source": "manifest", "path": "t.jsonl", **more}, files)
    assert 0 in heard and len(heard[0]) == 3 * RATE


@cases(30, 1000)
@given(st.permutations(range(6)), st.lists(st.tuples(TIMES, TIMES, TIMES), max_size=6), st.booleans())
def test_segments_of_every_kind(counts, order, odd, durations):
    """A recording in which each half of a second has another pitch."""
    whole = np.concatenate([tone(number, RATE, 0.5) for number in range(6)])
    stream = io.BytesIO()
    soundfile.write(stream, whole, RATE, format="WAV")
    rows = [
        {"start": n / 2, **({"duration": 0.5} if durations else {"end": n / 2 + 0.5}), "text": marked(n)} for n in order
    ]
    for n, (start, end, duration) in enumerate(odd):
        rows.insert(2 * n, {"start": start, "end": end, "duration": duration, "text": "a"})
    files = {
        "a.wav": stream.getvalue(),
        "t.jsonl": "".join(json.dumps({"audio": "a.wav", **row}) + "\n" for row in rows).encode(),
    }
    heard = rows_of(counts, {"source": "manifest", "path": "t.jsonl"}, files)
    are_themselves(heard, set(range(6)))
    assert all(len(heard[n]) == RATE / 2 for n in range(6))


# -- memory --------------------------------------------------------------------------------------------------------------------------
HOURS = 3


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Three hours in which each hour ends with a second of a pitch of its own, as a file with holes."""
    frames, header = HOURS * 3600 * RATE, io.BytesIO()
    with wave.open(header, "wb") as stream:
        stream.setparams((1, 2, RATE, 0, "NONE", ""))
    start = bytearray(header.getvalue())
    start[4:8], start[40:44] = (2 * frames + 36).to_bytes(4, "little"), (2 * frames).to_bytes(4, "little")
    with open(tmp_path / "long.wav", "wb") as file:
        file.write(start)
        file.truncate(len(start) + 2 * frames)
        for hour in range(HOURS):
            file.seek(len(start) + 2 * RATE * (3600 * (hour + 1) - 1))
            file.write((tone(hour, RATE, 1.0) * 32768).astype("<i2").tobytes())
    return tmp_path / "long.wav"


def taken(folder: Path, corpus: dict[str, Any], rows: list[dict[str, Any]]) -> tuple[Prepared | str, int]:
    """A corpus of these rows, and the most bytes that it took at once."""
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tracemalloc.start()
    try:
        return prepared(
            folder, {"source": "manifest", "path": "t.jsonl", "sampling_rate": RATE, **corpus}, "asr"
        ), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_of_three_hours_no_more_than_the_segments_are_in_memory(long):
    rows = [{"audio": long.name, "text": "all of it"}]
    rows += [{"audio": long.name, "text": marked(n), "start": 3600 * (n + 1) - 1, "duration": 1} for n in range(HOURS)]
    found, most = taken(long.parent, {}, rows)
    assert isinstance(found, Prepared) and found.skipped == ["too long"]
    are_themselves(
        {min(marks(text)): found.rows.audio(i) for i, text in enumerate(found.rows.targets)}, set(range(HOURS))
    )
    assert most < 2**25


@pytest.mark.skipif(not THOROUGH, reason="a minute, and a gigabyte; CONSOMME_THOROUGH=1")
def test_three_hours_that_are_asked_for_take_a_few_bytes_a_sample(long):
    found, most = taken(long.parent, {"max_seconds": 4 * 3600}, [{"audio": long.name, "text": "all of it"}])
    assert isinstance(found, Prepared) and found.rows.seconds.tolist() == [HOURS * 3600]
    assert most < 20 * HOURS * 3600 * RATE
