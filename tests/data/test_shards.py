"""Tar files of examples, on this disk and in stores."""

import io
import json
import tarfile

import fsspec
import numpy as np
import pytest
import soundfile

from consomme.common.errors import ConsommeError
from consomme.data import remote
from consomme.data.sources import source_named

TEXTS = ["one", "deux", "drei", "quattro", "five"]


def sound(k, kind="flac"):
    stream = io.BytesIO()
    samples = np.random.default_rng(k).integers(-9000, 9000, 4000 + 100 * k).astype(np.int16)
    soundfile.write(stream, samples, 8000, format=kind.upper())
    return stream.getvalue()


def files_of(k, more=()):
    return [(f"clips/utt{k}.flac", sound(k)), (f"clips/utt{k}.txt", TEXTS[k].encode()), *more]


def write(path, files, compressed=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, f"w{compressed}") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def shards(tmp_path):
    """Two shards of five examples."""
    write(tmp_path / "shards" / "train-000.tar", [f for k in (0, 1, 2) for f in files_of(k)])
    write(tmp_path / "shards" / "train-001.tar", [f for k in (3, 4) for f in files_of(k)])
    return tmp_path / "shards"


def corpus(path="shards", **more):
    return {"source": "shards", "path": path, **more}


def heard(rows):
    return [(row, rows.target(i), len(rows.audio(i))) for i, row in enumerate(rows.ids)]


EXPECTED = [(f"train-{k // 3:03d}/clips/utt{k}", TEXTS[k], 4000 + 100 * k) for k in range(5)]


@pytest.mark.parametrize("way", ["samples", "flac", "in_place"])
@pytest.mark.parametrize("path", ["shards", "shards/train-{000..001}.tar", "shards/{train}-{000..001}.tar"])
def test_files_of_one_name_are_an_example(way, path, shards, prepare):
    if "{train}" in path:  # a name with braces that are no range is a name
        for name in ("000", "001"):
            (shards / f"train-{name}.tar").rename(shards / f"{{train}}-{name}.tar")
    rows = prepare(corpus(path, keep_audio=way))
    assert [(i.replace("{train}", "train"), *more) for i, *more in heard(rows)] == EXPECTED
    expected = soundfile.read(io.BytesIO(sound(3)), dtype="float32")[0]
    assert np.array_equal(rows.audio(3), expected)


def test_one_shard_alone(shards, prepare):
    assert heard(prepare(corpus("shards/train-001.tar"))) == EXPECTED[3:]


def test_a_record_gives_columns_and_fields(tmp_path, prepare, reasons):
    records = [{"transcript": f"text {k}", "who": "anna" if k < 2 else "ben", "set": k} for k in range(4)]
    files = [
        f for k, r in enumerate(records) for f in [(f"{k}.wav", sound(k, "wav")), (f"{k}.json", json.dumps(r).encode())]
    ]
    write(tmp_path / "one.tar", files)
    rows = prepare(
        corpus("one.tar", columns={"text": "transcript", "speaker": "who"}, where={"set": {"from": 1, "to": 3}})
    )
    assert [(rows.target(i), rows.speakers[i]) for i in range(3)] == [
        ("text 1", "anna"),
        ("text 2", "ben"),
        ("text 3", "ben"),
    ]
    assert reasons() == {"one/0": "where"}


def test_a_record_may_cut_recordings_and_name_rows(tmp_path, prepare):
    record = {"text": "a piece", "start": 0.25, "end": 0.5, "name": "mine"}
    write(tmp_path / "one.tar", [("a.flac", sound(0)), ("a.json", json.dumps(record).encode())])
    for way in ("samples", "in_place"):
        rows = prepare(corpus("one.tar", columns={"id": "name"}, keep_audio=way), name=way)
        assert heard(rows) == [("mine", "a piece", 2000)]


def test_sentence_pairs(tmp_path, prepare):
    records = [{"source": f"hello {k}", "target": f"bonjour {k}"} for k in range(3)]
    write(tmp_path / "one.tar", [(f"{k}.json", json.dumps(r).encode()) for k, r in enumerate(records)])
    rows = prepare(corpus("one.tar"), "nmt")
    assert (rows.sources, rows.targets) == ([f"hello {k}" for k in range(3)], [f"bonjour {k}" for k in range(3)])


def test_keys_that_recur_in_other_shards_are_others(tmp_path, prepare):
    for name in "ab":
        write(tmp_path / "shards" / f"{name}.tar", [("0.wav", sound(ord(name), "wav")), ("0.txt", name.encode())])
    rows = prepare(corpus())
    assert rows.ids == ["a/0", "b/0"] and len(set(rows.units)) == 2


def test_keys_that_recur_in_a_shard_are_numbered(tmp_path, prepare):
    files = [f for k in range(2) for f in ((f"{k}.wav", sound(k, "wav")), (f"{k}.txt", b"a"))]
    write(tmp_path / "a.tar", [*files, ("0.wav", sound(2, "wav")), ("0.txt", b"b")])
    assert prepare(corpus("a.tar")).ids == ["a/0", "a/1", "a/0#2"]


def test_recordings_without_texts(tmp_path, prepare):
    write(tmp_path / "one.tar", [("0.wav", sound(0, "wav")), ("1.wav", sound(1, "wav"))])
    assert len(prepare(corpus("one.tar", missing="target"))) == 2


# -- bad input ----------------------------------------------------------------------------------------------------------
def test_a_bad_example_costs_itself(tmp_path, prepare, reasons):
    files = [
        *files_of(0),
        ("no-text.flac", sound(1)),
        ("no-audio.txt", b"words"),
        ("two.flac", sound(2)),
        ("two.wav", sound(3, "wav")),
        ("two.txt", b"words"),
        ("latin.flac", sound(2)),
        ("latin.txt", b"caf\xe9"),
        ("noise.flac", b"no sound"),
        ("noise.txt", b"words"),
        ("odd.flac", sound(3)),
        ("odd.json", b"[1, 2]"),
        ("deep.flac", sound(4)),
        ("deep.json", b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ("readme.md", b"nothing to hear"),
    ]
    write(tmp_path / "one.tar", files)
    assert prepare(corpus("one.tar", max_skipped=1)).ids == ["one/clips/utt0"]
    assert reasons() == {
        "one/no-text": "no text",
        "one/no-audio": "missing",
        "one/two": "columns",
        "one/latin": "encoding",
        "one/noise": "unreadable",
        "one/odd": "encoding",
        "one/deep": "columns",
        "one/readme": "no text",
    }


def test_what_is_too_large_to_read_is_left_out(shards, prepare, reasons, monkeypatch):
    monkeypatch.setattr("consomme.data.sources.shards.LONGEST", len(sound(2)))
    monkeypatch.setattr("consomme.data.sources.shards.LARGEST", 4)
    assert prepare(corpus(max_skipped=1)).ids == [
        "train-000/clips/utt0",
        "train-000/clips/utt1",
        "train-000/clips/utt2",
    ]
    assert reasons() == {"train-001/clips/utt3": "too long", "train-001/clips/utt4": "too long"}


@pytest.mark.parametrize("kept", [100, 512, 3000, -1024, -1025, -5000])
def test_a_shard_that_was_cut_short_is_an_error(kept, shards, prepare):
    path = write(shards / "train-000.tar", [f for k in (0, 1, 2) for f in files_of(k)])
    whole = path.read_bytes().rstrip(b"\0")
    whole += b"\0" * (-len(whole) % 512 + 1024)
    path.write_bytes(whole[:kept])
    with pytest.raises(ConsommeError, match=r"corpus 'corpus': .*train-000\.tar .*: fetch or write it again"):
        prepare(corpus())


def test_a_compressed_shard_is_an_error(shards, prepare):
    write(shards / "train-000.tar", files_of(0), ":gz")
    with pytest.raises(ConsommeError, match=r"train-000\.tar is no tar file.*compressed ones have to be unpacked"):
        prepare(corpus())


def test_links_and_folders_are_no_examples(tmp_path, prepare):
    path = tmp_path / "one.tar"
    with tarfile.open(path, "w") as tar:
        for kind, name in (
            (tarfile.DIRTYPE, "clips"),
            (tarfile.SYMTYPE, "clips/a.wav"),
            (tarfile.LNKTYPE, "clips/b.wav"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name, content in files_of(0):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    assert prepare(corpus("one.tar")).ids == ["one/clips/utt0"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing", "no file .*nothing, and no folder of that name with files"),
        ("shards/train-{000..003}.tar", r"no file .*train-002\.tar, and 1 more of 4"),
        ("shards/train-{005..001}.tar", r"\{005\.\.001\} has to rise"),
    ],
)
def test_what_the_plan_says(path, message, shards, tmp_path):
    (found,) = source_named("shards").problems(corpus(path), ["en"], tmp_path)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(found)


# -- what changes, in place and in a store -----------------------------------------------------------------------------
def test_a_changed_shard_is_prepared_anew(shards, prepare):
    before = prepare(corpus()).fingerprint
    write(shards / "train-001.tar", files_of(3))
    rows = prepare(corpus())
    assert rows.fingerprint != before and heard(rows) == EXPECTED[:4]


def test_a_shard_that_changes_after_that_is_an_error(shards, prepare):
    rows = prepare(corpus(keep_audio="in_place"))
    write(shards / "train-000.tar", [f for k in (1, 0, 2) for f in files_of(k)])
    with pytest.raises(ConsommeError, match=r"row 'train-000/clips/utt0': .*train-000\.tar isn't what it was"):
        rows.audio(0)


@pytest.fixture
def memory(shards, tmp_path, monkeypatch):
    """The address of a store that has the shards, and the folder of its copies."""
    monkeypatch.setenv("CONSOMME_CACHE", str(tmp_path / "copies"))
    remote.forget()
    store, root = fsspec.filesystem("memory"), f"/{tmp_path.name}"
    for path in shards.iterdir():
        store.pipe(f"{root}/{path.name}", path.read_bytes())
    yield f"memory:/{root}", tmp_path / "copies"
    store.rm(root, recursive=True)
    remote.forget()


@pytest.mark.parametrize("way", ["samples", "flac", "in_place"])
@pytest.mark.parametrize("path", ["", "/train-{000..001}.tar"])
def test_shards_of_a_store_leave_no_copy(way, path, memory, prepare):
    address, copies = memory
    rows = prepare(corpus(f"{address}{path}", keep_audio=way))
    assert heard(rows) == EXPECTED
    assert not [p for p in (copies / "objects").rglob("*") if p.is_file()]
    (problem,) = source_named("shards").problems(corpus(f"{address}/train-{{000..002}}.tar"), ["en"], copies)
    assert problem == f"no file {address}/train-002.tar"
