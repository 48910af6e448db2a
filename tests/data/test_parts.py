"""A corpus that several jobs checked ahead, in parts, is the same as one that was read by one job, to the byte."""

import errno
import itertools
import json
import re
import tarfile
from dataclasses import replace

import fsspec
import numpy as np
import pytest

from consomme.common.files import read_json
from consomme.common.job import Job
from consomme.data import prepare as stage
from consomme.data import prepare_part, remote
from consomme.data.check import Speech
from consomme.data.prepare_part import share
from consomme.data.sources import TABLE, shards
from consomme.data.sources.base import BLOCK

PATTERN = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{index}.wav"}
FILES = ("rows.arrow", "skipped.tsv", "prepared.json", "content.json")


class Place:
    """A corpus, prepared as a whole and in parts. The log says how many rows were checked where."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys

    def job(self, corpus, task, out, without=(), **more):
        spec = {"task": task, "languages": ["en", "fr"], "name": "c", "corpus": {"sampling_rate": 8000, **corpus}}
        spec |= {"data_root": str(self.folder), **more}
        inputs = {f"without/{name}": self.folder / name for name in without}
        state, cache = self.folder / "state" / out.replace("/", "-"), self.folder / "cache"
        return Job(spec, inputs, self.folder / out, state, cache, 1, "cpu")

    def whole(self, corpus, task="asr", out="whole", without=()):
        stage.run(self.job(corpus, task, out, without))
        return self.files(out)

    def part(self, corpus, part, parts, task="asr"):
        prepare_part.run(self.job(corpus, task, f"parts/{parts}/{part}", part=[part, parts]))

    def put_together(self, corpus, parts, task="asr", without=()):
        """The files of the corpus, and how many rows were checked ahead and in the end."""
        out = f"of-{parts}"
        self.capsys.readouterr()
        stage.run(replace(self.job(corpus, task, out, without), parts=self.folder / "parts" / str(parts)))
        said = self.capsys.readouterr().err
        counts = re.search(r"(\d+) rows were checked ahead, (\d+) here", said)
        return self.files(out), tuple(map(int, counts.groups())) if counts else None, said

    def in_parts(self, corpus, parts, task="asr", without=()):
        for part in range(1, parts + 1):
            self.part(corpus, part, parts, task)
        return self.put_together(corpus, parts, task, without)[:2]

    def files(self, out):
        return {name: (self.folder / out / name).read_bytes() for name in FILES}


@pytest.fixture
def place(tmp_path, capsys):
    return Place(tmp_path, capsys)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Neighbours of two, so that small corpora have rows in each part."""
    monkeypatch.setattr("consomme.data.sources.base.BLOCK", 2)


@pytest.fixture
def manifest(wav, tmp_path):
    """Forty rows of every kind: good, of another recording's bytes, bad, left out by a filter, twice the same."""
    lines = ["audio\ttext\tspeaker\tkind\n"]
    for n in range(40):
        name = f"m/{n:02d}.wav"
        if n % 13 == 5:
            (tmp_path / name).write_bytes(b"no sound")
        elif n % 13 == 7:
            wav(name, samples=np.zeros(4000, np.int16))
        elif n % 17 != 9:  # those are missing
            wav(name, n, seconds=0.2 if n % 11 == 4 else 0.5)
        text = "" if n % 19 == 3 else f"Word {n}"
        lines.append(f"{n:02d}.wav\t{text}\t{'ab'[n % 2]}\t{'no' if n % 7 == 6 else 'yes'}\n")
    lines += [lines[1], lines[12], "41.wav\tx\ta\tyes\tmore\n"]
    (tmp_path / "m/table.tsv").write_text("".join(lines))
    return {"source": "manifest", "path": "m/table.tsv", "max_skipped": 1, "normaliser": "basic"}


ASKED = {
    "everything": {},
    "filters": {"where": {"kind": ["yes"]}, "min_seconds": 0.3, "by": ["kind"]},
    "limit": {"limit": 9},
    "limit and filters": {"limit": 9, "where": {"kind": ["yes"]}, "min_seconds": 0.3},
    "join": {"join": {"length": [2, 3], "uses": 2, "gap": [0.0, 0.1], "edge": [0.0, 0.0], "seed": 1}},
    "join and limit": {"join": {"length": [2, 3], "uses": 1, "gap": [0.0, 0.1], "seed": 1}, "limit": 4},
    "flac": {"keep_audio": "flac"},
    "in place": {"keep_audio": "in_place", "limit": 9},
    "join as flac": {"join": {"length": [2, 3], "uses": 1, "gap": [0.0, 0.1], "seed": 1}, "keep_audio": "flac"},
}
EXPECTED = {
    "everything": set(),
    "filters": {"where", "too short"},
    "limit": {"limit"},
    "limit and filters": {"limit", "where", "too short"},
    "join": set(),
    "join and limit": {"limit"},
    "flac": set(),
    "in place": {"limit"},
    "join as flac": set(),
}


@pytest.mark.parametrize("parts", [1, 3, 7])
@pytest.mark.parametrize("asked", ASKED)
def test_speech_is_the_same_to_the_byte(asked, parts, manifest, place):
    corpus = manifest | ASKED[asked]
    files, (taken, missed) = place.in_parts(corpus, parts)
    assert files == place.whole(corpus)
    assert taken and not missed
    counts = json.loads(files["prepared.json"])["skipped"]
    assert counts.keys() >= {"missing", "unreadable", "empty", "no text", "duplicate", "ragged"} | EXPECTED[asked]


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_text_is_the_same_to_the_byte(parts, tmp_path, place):
    # bytes that are no characters, empty sides, sides of different lengths, what a development set has, twice the same
    english = [b"caf\xe9" if n == 4 else b"" if n == 8 else b"sentence %d" % (n % 60) for n in range(70)]
    french = [b"phrase %d " % n + b"longue " * (9 if n % 9 == 1 else 0) for n in range(70)]
    for name, count in (("pairs", 70), ("dev", 3)):
        for language, lines in (("en", english), ("fr", french)):
            (tmp_path / f"{name}.{language}").write_bytes(b"".join(line + b"\n" for line in lines[:count]))
    place.whole({"source": "parallel", "path": "dev"}, "nmt", "dev")
    for more in ({}, {"limit": 20}):
        corpus = {"source": "parallel", "path": "pairs", "max_skipped": 1, "max_ratio": 3, "without": ["dev"], **more}
        files, (taken, missed) = place.in_parts(corpus, parts, "nmt", ["dev"])
        assert files == place.whole(corpus, "nmt", without=["dev"])
        assert taken and not missed


def test_each_part_decodes_its_own_rows_and_the_last_job_none(manifest, place, monkeypatch):
    decoded = []
    samples = Speech.samples
    monkeypatch.setattr(Speech, "samples", lambda self, raw: (decoded.append(raw.id), samples(self, raw))[1])
    each = []
    for part in (1, 2, 3):
        decoded.clear()
        place.part(manifest, part, 3)
        each.append(set(decoded))
    assert all(each) and len(set.union(*each)) == sum(map(len, each))
    decoded.clear()
    place.put_together(manifest, 3)
    assert not decoded


def test_of_a_limit_each_part_decodes_about_its_share(wav, tmp_path, place, monkeypatch):
    wav("a.wav")
    (tmp_path / "m.tsv").write_text("id\taudio\ttext\n" + "".join(f"{n}\ta.wav\tword {n}\n" for n in range(3000)))
    corpus = {"source": "manifest", "path": "m.tsv", "limit": 100}
    files, (taken, missed) = place.in_parts(corpus, 4)
    assert files == place.whole(corpus) and not missed
    assert taken < 1000


def test_a_share_is_more_than_a_part_surely_has_and_never_more_than_the_limit():
    assert share(None, 8) is None and share(5, 8) == 5
    drawn = np.random.default_rng(1).multinomial(10_000, [1 / 16] * 16, size=1000)
    assert drawn.max() < share(10_000, 16) < 10_000 / 16 * 1.5


# -- what is not as it was -------------------------------------------------------------------------------------------


def test_rows_that_no_part_has_are_checked_in_the_end(manifest, place):
    for part in (1, 3):
        place.part(manifest, part, 3)
    files, (taken, missed), said = place.put_together(manifest, 3)
    assert files == place.whole(manifest)
    assert taken and missed and "parts/3/2 can't be read" in said


@pytest.mark.parametrize("name", ["rows.arrow", "checked.arrow", "prepared.json"])
def test_a_part_that_was_cut_off_counts_for_nothing(name, manifest, place, tmp_path):
    for part in (1, 2):
        place.part(manifest, part, 2)
    path = tmp_path / "parts/2/1" / name
    path.write_bytes(path.read_bytes()[:-40])
    files, (_, missed), said = place.put_together(manifest, 2)
    assert files == place.whole(manifest) and missed and "parts/2/1 can't be read" in said


def test_parts_of_other_data_count_for_nothing(manifest, place, wav):
    for part in (1, 2):
        place.part(manifest, part, 2)
    wav("m/00.wav", 99)
    files, counts, said = place.put_together(manifest, 2)
    assert files == place.whole(manifest)
    assert counts is None and said.count("is of other data than there is now") == 2


def test_a_part_that_fails_leaves_nothing_and_what_a_killed_one_left_goes(manifest, place, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    left = tmp_path / "parts/3/.2.0123456789ab"
    left.mkdir(parents=True)
    with monkeypatch.context() as broken:
        broken.setattr("consomme.data.parts.write_json", full)
        with pytest.raises(OSError, match="No space left"):
            place.part(manifest, 2, 3)
    assert not list((tmp_path / "parts/3").iterdir())
    place.part(manifest, 2, 3)
    assert sorted(p.name for p in (tmp_path / "parts/3").iterdir()) == ["2"]
    assert read_json(tmp_path / "parts/3/2/prepared.json")["task"] == "asr"


# -- sources ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["samples", "in_place"])
def test_a_part_reads_its_own_shards_alone(way, wav, place, tmp_path, monkeypatch):
    for n in range(12):
        text = tmp_path / f"{n % 3}.txt"
        text.write_text(f"word {n}")
        with tarfile.open(tmp_path / f"{n // 3}.tar", "a") as tar:
            tar.add(wav(f"{n}.wav", n), f"{n % 3}.wav")
            tar.add(text, text.name)
    corpus = {"source": "shards", "path": "{0..3}.tar", "keep_audio": way}
    read, members = [], shards._members
    monkeypatch.setattr(shards, "_members", lambda tar, stream: [read.append(tar.name), *members(tar, stream)][1:])
    expected = place.whole(corpus)
    assert read == [f"{n}.tar" for n in range(4)]
    read.clear()
    files, counts = place.in_parts(corpus, 3)
    assert files == expected and counts == (12, 0)
    assert read[:4] == ["0.tar", "3.tar", "1.tar", "2.tar"]


def test_recordings_of_a_store_are_fetched_by_the_job_that_checks_them(wav, place, tmp_path, monkeypatch):
    memory, root = fsspec.filesystem("memory"), f"/{tmp_path.name}"
    for n in range(12):
        memory.pipe(f"{root}/{n}.wav", wav(f"{n}.wav", n).read_bytes() if n != 5 else b"no sound")
    table = "audio\ttext\n" + "".join(f"{n}.wav\tword {n}\n" for n in range(13))
    memory.pipe(f"{root}/m.tsv", table.encode())
    corpus = {"source": "manifest", "path": f"memory:/{root}/m.tsv", "max_skipped": 1}

    def fetched(name, run):
        """The recordings that this machine fetches, and what `run` gives."""
        monkeypatch.setenv("CONSOMME_CACHE", str(tmp_path / name))
        remote.forget()
        found = run()
        copies = [p for p in (tmp_path / name / "objects").rglob("*") if p.is_file()]
        return len(copies) - 1, found

    assert [fetched(f"{n}", lambda n=n: place.part(corpus, n, 2))[0] for n in (1, 2)] == [6, 6]
    count, (files, taken, _) = fetched("last", lambda: place.put_together(corpus, 2))
    assert count == 0 and taken == (13, 0)
    assert fetched("one", lambda: place.whole(corpus)) == (12, files)
    assert f"memory:/{root}/12.wav" in files["skipped.tsv"].decode()
    remote.forget()


def test_ids_that_a_part_gave_otherwise_are_checked_anew(manifest, place, monkeypatch):
    """As where a source reads a part alone, and numbers names that recur by what it has read."""
    read = TABLE["manifest"].read

    def renamed(*given):
        for raw in read(*given):
            raw.id += "#2"
            yield raw

    place.part(manifest, 2, 2)
    with monkeypatch.context() as other:
        other.setattr(TABLE["manifest"], "read", renamed, raising=False)
        place.part(manifest, 1, 2)
    files, (taken, missed), _ = place.put_together(manifest, 2)
    assert files == place.whole(manifest) and taken and missed


def test_neighbours_are_of_one_part_and_parts_are_alike(monkeypatch):
    monkeypatch.setattr("consomme.data.sources.base.BLOCK", BLOCK)
    of = [TABLE["manifest"].part_of(n, 5) for n in range(100 * BLOCK)]
    assert [of.count(part) for part in (1, 2, 3, 4, 5)] == [20 * BLOCK] * 5
    assert sum(a != b for a, b in itertools.pairwise(of)) == 99
