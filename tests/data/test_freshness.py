"""What a corpus is prepared from: files that are replaced, added or unpacked later are noticed, others are not looked at."""

import os

import pytest

from consomme.data.sources import TABLE

TABLES = {
    "common_voice": ({"source": "common_voice", "path": "cv", "split": "dev"}, "cv/dev.tsv", "cv/clips/"),
    "manifest": ({"source": "manifest", "path": "cv/m.tsv"}, "cv/m.tsv", "cv/"),
}


@pytest.fixture
def written(tmp_path, wav):
    """Writes a table of Common Voice or a manifest over clips 0 to 3, and says what its corpus's inventory is."""

    def write(kind, clips=(0, 1, 2, 3)):
        corpus, table, folder = TABLES[kind]
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        names = ("path", "sentence", "client_id") if kind == "common_voice" else ("audio", "text", "speaker")
        rows = [names, *((f"{n}.wav", f"sentence {n}", "ab"[n % 2]) for n in range(4))]
        (tmp_path / table).write_text("".join("\t".join(row) + "\n" for row in rows))
        for n in clips:
            os.utime(wav(f"{folder}{n}.wav", n), (1e9, 1e9))
        os.utime(tmp_path / table, (1e9, 1e9))

        def inventory(**more):
            return TABLE[kind].inventory(corpus | more, [], tmp_path, tmp_path / "cache")

        return inventory, tmp_path / table, tmp_path / folder

    return write


@pytest.mark.parametrize("kind", TABLES)
def test_recordings_that_a_table_names_count_by_their_bytes(kind, written, wav, tmp_path):
    inventory, table, folder = written(kind, clips=(0, 1, 2))
    some = inventory()
    assert inventory() == some
    # the last is unpacked, as old as the others
    os.utime(wav(str(folder / "3.wav"), 3), (1e9, 1e9))
    whole = inventory()
    os.utime(folder / "1.wav")
    assert inventory() == whole, "a touched file is no other"
    wav(str(folder / "4.wav"), 4)
    assert inventory() == whole, "a file that no row names is none of the corpus"
    # replaced by one as long, with an older time
    os.utime(wav(str(folder / "1.wav"), 9), (9e8, 9e8))
    replaced = inventory()
    # written in place by another as long, with the very same time
    os.utime(wav(str(folder / "1.wav"), 8), (9e8, 9e8))
    assert inventory() not in (whole, replaced)
    os.utime(wav(str(folder / "1.wav"), 9), (9e8, 9e8))
    assert inventory() == replaced
    table.write_text(table.read_text().replace("sentence 2", "Sentence 2"))
    os.utime(table, (9e8, 9e8))
    assert len({some, whole, replaced, inventory()}) == 4
    # back again
    table.write_text(table.read_text().replace("Sentence 2", "sentence 2"))
    wav(str(folder / "1.wav"), 1)
    assert inventory() == whole


@pytest.mark.parametrize("kind", TABLES)
def test_recordings_that_where_leaves_out_do_not_count(kind, written, wav):
    inventory, _, folder = written(kind)
    column = "client_id" if kind == "common_voice" else "speaker"
    of_a, of_b = inventory(where={column: ["a"]}), inventory(where={column: ["b"]})
    wav(str(folder / "2.wav"), 9)  # of speaker a
    assert inventory(where={column: ["b"]}) == of_b and inventory(where={column: ["a"]}) != of_a


@pytest.mark.parametrize("kind", TABLES)
def test_one_look_at_each_file_and_none_read_again(kind, written, monkeypatch):
    inventory, _, _ = written(kind)
    first = inventory()
    looks, stat = [], os.stat
    with monkeypatch.context() as patch:
        patch.setattr("consomme.data.sources.base.hash_file", lambda path: pytest.fail(f"{path} read again"))
        patch.setattr("consomme.data.sources.base.os.stat", lambda path, **k: (looks.append(path), stat(path, **k))[1])
        assert inventory() == first
    assert len([path for path in looks if str(path).endswith(".wav")]) == 4


def test_audio_elsewhere_counts_as_well(tmp_path, wav):
    path = wav("elsewhere/a.wav", 0)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/m.tsv").write_text(f"audio\ttext\n{path}\tone\n../elsewhere/b.wav\ttwo\n")

    def inventory():
        corpus = {"source": "manifest", "path": "m.tsv"}
        return TABLE["manifest"].inventory(corpus, [], tmp_path / "data", tmp_path / "cache")

    seen = [inventory()]
    wav("elsewhere/a.wav", 1)
    seen.append(inventory())
    wav("elsewhere/b.wav", 2)
    assert len({*seen, inventory()}) == 3


@pytest.mark.parametrize("cell", ["a\0b.wav", "x" * 5000, "clips", ""])
def test_what_names_no_file_is_none(cell, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "m.tsv").write_text(f"audio\ttext\n{cell}\tone\n")
    corpus = {"source": "manifest", "path": "m.tsv"}
    assert TABLE["manifest"].inventory(corpus, [], tmp_path, tmp_path / "cache")


def test_text_files_replaced_by_older_ones_are_noticed(tmp_path):
    def inventory():
        corpus = {"source": "parallel", "path": "p"}
        return TABLE["parallel"].inventory(corpus, ["en", "fr"], tmp_path, tmp_path / "cache")

    for language in ("en", "fr"):
        (tmp_path / f"p.{language}").write_text("old\n")
        os.utime(tmp_path / f"p.{language}", (1e9, 1e9))
    first = inventory()
    (tmp_path / "p.fr").write_text("new\n")
    os.utime(tmp_path / "p.fr", (9e8, 9e8))
    assert inventory() != first


def test_a_clip_unpacked_later_is_prepared(written, prepare, wav, monkeypatch):
    _, _, folder = written("common_voice", clips=(0, 1, 2))
    corpus = TABLES["common_voice"][0] | {"max_skipped": 0.5}
    assert prepare(corpus).ids == ["0", "1", "2"]
    wav(str(folder / "3.wav"), 3)
    assert prepare(corpus).ids == ["0", "1", "2", "3"]
    with monkeypatch.context() as patch:
        patch.setattr("consomme.data.prepare.prepare", lambda *a: pytest.fail("prepared again"))
        assert len(prepare(corpus)) == 4
