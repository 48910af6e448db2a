"""Waveforms kept as samples, as FLAC or in place are the same waveforms."""

import shutil

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import soundfile

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.data import remote

PATTERN = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{index}.wav"}
WAYS = ("samples", "flac", "in_place")


@pytest.fixture
def clips(wav):
    """Four recordings, one of them at another rate and in stereo."""
    for k in range(3):
        wav(f"clips/w{k}_a_{k}.wav", k, seconds=0.3 + 0.1 * k)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, [9000, 2])
    wav("clips/noise_b_3.wav", samples=noise, rate=22050)


def same(rows, others):
    assert rows.fingerprint == others.fingerprint and rows.ids == others.ids
    for i in range(len(rows)):
        assert np.array_equal(rows.audio(i), others.audio(i))


@pytest.mark.parametrize("way", ["flac", "in_place"])
def test_the_samples_are_the_same(way, clips, prepare):
    same(prepare(PATTERN), prepare({**PATTERN, "keep_audio": way}, name=way))


def test_nothing_but_the_audio_differs(clips, prepare, out):
    for way in WAYS:
        prepare({**PATTERN, "keep_audio": way}, name=way)
    first, *others = (read_json(out(way) / "prepared.json") | {"name": ""} for way in WAYS)
    assert others == [first, first]
    first, *others = ((out(way) / "skipped.tsv").read_bytes() for way in WAYS)
    assert others == [first, first]


def test_sizes(wav, prepare, out):
    wav("clips/long_a_0.wav", seconds=20)
    sizes = {}
    for way in WAYS:
        prepare({**PATTERN, "keep_audio": way}, name=way)
        sizes[way] = (out(way) / "rows.arrow").stat().st_size
    assert sizes["samples"] > 320_000 > sizes["flac"] > 10 * sizes["in_place"]


@pytest.mark.parametrize("way", ["flac", "in_place"])
def test_a_limit_and_several_processes(way, wav, prepare):
    for k in range(220):
        wav(f"clips/w{k}_a_{k}.wav", k, seconds=0.05)
    corpus = {**PATTERN, "limit": 9}
    same(prepare(corpus), prepare({**corpus, "keep_audio": way}, name=way, threads=2))


@pytest.mark.parametrize("way", ["flac", "in_place"])
def test_segments_of_a_recording(way, wav, prepare, tmp_path):
    wav("long.wav", samples=np.random.default_rng(0).uniform(-0.5, 0.5, 40000))
    lines = ["audio\ttext\tstart\tend", "long.wav\tone\t0.5\t1.25", "long.wav\ttwo\t2\t", "long.wav\tthree\t\t"]
    (tmp_path / "table.tsv").write_text("\n".join(lines) + "\n")
    corpus = {"source": "manifest", "path": "table.tsv"}
    rows = prepare({**corpus, "keep_audio": way}, name=way)
    same(prepare(corpus), rows)
    assert rows.seconds.tolist() == [0.75, 3, 5]


def test_joined_recordings_as_flac(clips, prepare):
    corpus = {**PATTERN, "join": {"length": [2, 2], "gap": [0, 0.1], "edge": [0, 0], "seed": 1, "uses": 1}}
    same(prepare(corpus), prepare({**corpus, "keep_audio": "flac"}, name="flac"))


def test_the_way_changes_no_row_of_the_folder_but_is_made_anew(clips, prepare, out):
    prepare(PATTERN)
    prepare({**PATTERN, "keep_audio": "flac"})
    assert "flac" in pa.ipc.open_file(out() / "rows.arrow").schema.names


@pytest.mark.parametrize("change", ["gone", "other", "cut short"])
def test_a_file_in_place_that_changes_is_an_error_with_its_name(change, clips, prepare, tmp_path, wav):
    rows = prepare({**PATTERN, "keep_audio": "in_place"})
    file = tmp_path / "clips" / "w1_a_1.wav"
    if change == "gone":
        file.unlink()
    elif change == "other":
        wav("clips/w1_a_1.wav", k=9, seconds=0.4)
    else:
        file.write_bytes(file.read_bytes()[:900])
    place = rows.ids.index("w1_a_1")
    with pytest.raises(
        ConsommeError, match=r"row 'w1_a_1': .*w1_a_1\.wav isn't what it was when its corpus was prepared"
    ):
        rows.audio(place)
    assert len(rows.audio(rows.ids.index("w2_a_2")))


def test_a_touched_or_recoded_file_of_the_same_sound_is_the_same(clips, prepare, tmp_path):
    rows = prepare({**PATTERN, "keep_audio": "in_place"})
    before = rows.audio(0)
    samples, rate = soundfile.read(tmp_path / "clips" / f"{rows.ids[0]}.wav", dtype="int16")
    soundfile.write(tmp_path / "clips" / f"{rows.ids[0]}.wav", samples, rate, format="FLAC")
    assert np.array_equal(rows.audio(0), before)


# -- in a store ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def memory(tmp_path, monkeypatch):
    """The address of a store that `clips` are moved to, and the folder of its copies."""
    monkeypatch.setenv("CONSOMME_CACHE", str(tmp_path / "copies"))
    remote.forget()
    store = fsspec.filesystem("memory")
    root = f"/{tmp_path.name}"

    def move():
        for path in (tmp_path / "clips").iterdir():
            store.pipe(f"{root}/clips/{path.name}", path.read_bytes())
        shutil.rmtree(tmp_path / "clips")
        return f"memory:/{root}/clips"

    yield move, store, root, tmp_path / "copies"
    store.rm(root, recursive=True)
    remote.forget()


def test_recordings_of_a_store_leave_no_copy(clips, prepare, memory):
    move, store, root, copies = memory
    expected = prepare(PATTERN)
    address = move()
    rows = prepare({**PATTERN, "path": address, "keep_audio": "in_place"}, name="stored")
    same(expected, rows)
    assert not [path for path in (copies / "objects").rglob("*") if path.is_file()]
    store.rm(f"{root}/clips/w1_a_1.wav")
    with pytest.raises(ConsommeError, match=r"row 'w1_a_1': memory://.*/clips/w1_a_1\.wav isn't what it was .*no more"):
        rows.audio(rows.ids.index("w1_a_1"))
