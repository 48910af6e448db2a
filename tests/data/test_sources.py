import gzip
import json
import os
import subprocess
import sys

import pytest

from consomme.common.errors import ConsommeError
from consomme.data.sources import TABLE, source_named

ROLES = {"audio": "path", "text": "sentence"}


def read(corpus, root, task="asr", languages=("en", "fr")):
    return list(TABLE[corpus["source"]].read(corpus, task, list(languages), root))


def test_the_table_imports_nothing_heavy():
    heavy = "numpy pandas torch pyarrow datasets soundfile babel num2words"
    code = f"import sys, consomme.data.sources; print([m for m in '{heavy}'.split() if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_an_unknown_source_is_answered_with_the_nearest():
    with pytest.raises(ConsommeError, match="did you mean 'manifest'"):
        source_named("manifst")


# -- folder --------------------------------------------------------------------------------------------------------


def test_folder_fields_and_texts(wav, tmp_path):
    wav("clips/7_anna_12.wav")
    wav("clips/notes.wav")
    corpus = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{index}.wav", "texts": {"7": "seven"}}
    (row,) = read(corpus, tmp_path)
    assert (row.id, row.target, row.speaker, row.recordings) == ("7_anna_12", "seven", "anna", ("7_anna_12",))
    assert row.fields["index"] == "12"


def test_folder_of_folders_with_texts_beside(wav, tmp_path):
    wav("clips/anna/one.wav")
    wav("clips/anna/two.wav")
    (tmp_path / "clips/anna/one.txt").write_text("the words\n")
    rows = read({"source": "folder", "path": "clips", "pattern": "{speaker}/{name}.wav"}, tmp_path)
    assert [(r.id, r.speaker, r.problem and r.problem[0]) for r in rows] == [
        ("anna/one", "anna", None),
        ("anna/two", "anna", "no text"),
    ]
    assert rows[0].target.strip() == "the words"


def test_folder_problems_are_known_before(wav, tmp_path):
    source = TABLE["folder"]
    wav("clips/a-b.wav")
    corpus = {"path": "clips", "pattern": "{text}_{speaker}.wav"}
    assert "its first file is a-b.wav" in source.check(corpus, [], tmp_path)[0]
    assert "no folder" in source.check(corpus | {"path": "nowhere"}, [], tmp_path)[0]
    assert source.check(corpus | {"pattern": "{text}-{speaker}.wav"}, [], tmp_path) == []
    assert "twice" in source.check(corpus | {"pattern": "{a}-{a}.wav"}, [], tmp_path)[0]


def test_inventory_sees_bytes_and_names_not_time_stamps(wav, tmp_path, monkeypatch):
    path, cache = wav("clips/a_b.wav", 0), tmp_path / "cache"
    corpus = {"path": "clips", "pattern": "{text}_{speaker}.wav"}
    os.utime(path, (1e9, 1e9))
    first = TABLE["folder"].inventory(corpus, [], tmp_path, cache)
    os.utime(path, (1.1e9, 1.1e9))
    assert TABLE["folder"].inventory(corpus, [], tmp_path, cache) == first
    with monkeypatch.context() as patch:
        patch.setattr("consomme.data.sources.base.hash_file", lambda p: pytest.fail("read again"))
        assert TABLE["folder"].inventory(corpus, [], tmp_path, cache) == first
    wav("clips/a_b.wav", 1)
    changed = TABLE["folder"].inventory(corpus, [], tmp_path, cache)
    path.rename(path.with_name("c_b.wav"))
    assert len({first, changed, TABLE["folder"].inventory(corpus, [], tmp_path, cache)}) == 3


# -- tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl"])
def test_manifests_of_every_kind_say_the_same(suffix, tmp_path):
    cells = [("a.wav", 'say "hi", twice', "anna"), ("b.wav", "été", "")]
    names = ("path", "sentence", "speaker")
    if suffix == "jsonl":
        text = "\n".join(json.dumps(dict(zip(names, c, strict=True)), ensure_ascii=False) for c in cells)
    elif suffix == "csv":
        text = "\n".join([",".join(names), 'a.wav,"say ""hi"", twice",anna', "b.wav,été,"])
    else:
        text = "\n".join("\t".join(c) for c in [names, *cells])
    (tmp_path / f"m.{suffix}").write_text("\ufeff" * (suffix != "jsonl") + text + "\n", encoding="utf-8")
    rows = read({"source": "manifest", "path": f"m.{suffix}", "columns": ROLES}, tmp_path)
    assert [(r.id, r.audio, r.target, r.speaker) for r in rows] == [
        ("a.wav", tmp_path / "a.wav", 'say "hi", twice', "anna"),
        ("b.wav", tmp_path / "b.wav", "été", None),
    ]


def test_a_manifest_without_the_column_says_which_there_are(tmp_path):
    (tmp_path / "m.tsv").write_text("path\tsentence\nx\ty\n")
    with pytest.raises(ConsommeError, match=r"no column 'audio'.*path, sentence.*columns: \{audio: NAME\}"):
        read({"source": "manifest", "path": "m.tsv"}, tmp_path)


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl"])
def test_a_line_that_is_not_utf8_is_one_bad_row(suffix, tmp_path):
    if suffix == "jsonl":
        lines = [
            b'{"source": "a", "target": "b"}',
            b'{"source": "caf\xe9", "target": "b"}',
            b'{"source": "c", "target": "d"}',
        ]
    else:
        mark = b"\t" if suffix == "tsv" else b","
        lines = [b"source" + mark + b"target", b"a" + mark + b"b", b"caf\xe9" + mark + b"b", b"c" + mark + b"d"]
    (tmp_path / f"m.{suffix}").write_bytes(b"\n".join(lines) + b"\n")
    rows = read({"source": "manifest", "path": f"m.{suffix}"}, tmp_path, "nmt")
    assert [r.problem and r.problem[0] for r in rows] == [None, "encoding", None]
    assert (rows[2].source, rows[2].target) == ("c", "d")


def test_common_voice(wav, prepare, tmp_path):
    for k in range(3):
        wav(f"fr/clips/common_voice_fr_{k}.mp3", k)
    lines = [f"anna\tcommon_voice_fr_{k}.mp3\tphrase {k}\t{'female' * (k != 1)}" for k in range(3)]
    (tmp_path / "fr/dev.tsv").write_text("client_id\tpath\tsentence\tgender\n" + "\n".join(lines) + "\n")
    corpus = {"source": "common_voice", "path": "fr", "split": "dev"}
    rows = prepare(corpus | {"where": {"gender": ["female"]}})
    assert rows.ids == ["common_voice_fr_0", "common_voice_fr_2"]
    assert rows.speakers == ["anna"] * 2 and rows.targets == ["phrase 0", "phrase 2"]
    problem = TABLE["common_voice"].check(corpus | {"split": "train"}, [], tmp_path)[0]
    assert "train.tsv" in problem and "splits there: dev" in problem


@pytest.mark.parametrize(
    ("line", "task"),
    [
        ("a.wav\tone", "asr"),
        ("clips/a\tone", "asr"),
        ("anna\tclips/a\tone\t3.2", "asr"),
        ("good morning to you\tbonjour à vous", "nmt"),
        ("Hello!\tBonjour !", "nmt"),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("suffix", ["tsv", "csv"])
def test_a_manifest_without_a_header_line_is_told_so_before_any_job(line, task, rows, suffix, prepare, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a").touch()
    line = line if suffix == "tsv" else line.replace("\t", ",")
    (tmp_path / f"m.{suffix}").write_text(f"{line}\n" * rows)
    corpus = {"source": "manifest", "path": f"m.{suffix}"}
    (problem,) = TABLE["manifest"].check(corpus, [], tmp_path)
    assert "The first line looks like data" in problem and "put a header line above it" in problem
    with pytest.raises(ConsommeError, match="The first line looks like data"):
        prepare(corpus, task)


def test_names_of_columns_do_not_look_like_data(prepare, tmp_path):
    (tmp_path / "m.tsv").write_text("file\ttranscript\tspeaker id\n1.wav\tone\tanna\n")
    (problem,) = TABLE["manifest"].check({"path": "m.tsv"}, [], tmp_path)
    assert "there are file, transcript, speaker id" in problem and "columns: {audio: NAME}" in problem
    assert "looks like data" not in problem


def test_a_header_without_rows_has_no_rows(prepare, tmp_path):
    (tmp_path / "m.tsv").write_text("audio\ttext\n")
    with pytest.raises(ConsommeError, match="there are no rows in it"):
        prepare({"source": "manifest", "path": "m.tsv"})


def test_a_common_voice_table_without_a_header_line_is_told_so(wav, tmp_path):
    wav("fr/clips/0.mp3")
    (tmp_path / "fr/dev.tsv").write_text("anna\t0.mp3\tun deux trois\n")
    with pytest.raises(ConsommeError, match="The first line looks like data"):
        read({"source": "common_voice", "path": "fr", "split": "dev"}, tmp_path)


def test_rows_of_one_recording_are_numbered_and_others_keep_their_ids(wav, prepare, tmp_path):
    for name in ("a.wav", "b.wav"):
        wav(name)
    (tmp_path / "m.tsv").write_text("audio\ttext\na.wav\tone\nb.wav\ttwo\na.wav\tuno\na.wav\tun\n")
    rows = prepare({"source": "manifest", "path": "m.tsv"})
    assert list(zip(rows.ids, rows.targets, strict=True)) == [
        ("a.wav", "one"),
        ("b.wav", "two"),
        ("a.wav#2", "uno"),
        ("a.wav#3", "un"),
    ]


def test_rows_of_one_clip_of_common_voice_are_numbered(wav, tmp_path):
    wav("fr/clips/0.mp3")
    (tmp_path / "fr/dev.tsv").write_text("client_id\tpath\tsentence\nanna\t0.mp3\tun\nanna\t0.mp3\tdeux\n")
    rows = read({"source": "common_voice", "path": "fr", "split": "dev"}, tmp_path)
    assert [(r.id, r.recordings) for r in rows] == [("0", ("0",)), ("0#2", ("0",))]


@pytest.mark.parametrize("suffix", ["tsv", "csv"])
def test_a_row_with_more_fields_than_columns_is_ragged_and_no_text_is_cut(suffix, prepare, tmp_path):
    lines = [
        ["source", "target", "note"],
        ["a", "b", "c"],
        ["one", "un", "deux", "trois"],
        ["x", "y", "", "", ""],
        ["u", "v"],
    ]
    mark = "\t" if suffix == "tsv" else ","
    (tmp_path / f"m.{suffix}").write_text("\n".join(mark.join(cells) for cells in lines) + "\n")
    corpus = {"source": "manifest", "path": f"m.{suffix}"}
    rows = read(corpus, tmp_path, "nmt")
    assert [r.problem for r in rows] == [None, ("ragged", "line 3 has 4 fields for 3 columns"), None, None]
    assert [(r.source, r.target) for r in rows if not r.problem] == [("a", "b"), ("x", "y"), ("u", "v")]
    with pytest.raises(ConsommeError, match=r"(?s)1 of 4 rows can't be used \(1 ragged\).*line 3.*inside a text"):
        prepare(corpus, "nmt", name="strict")
    rows = prepare(corpus | {"max_skipped": 0.5}, "nmt", name="lenient")
    assert rows.sources == ["a", "x", "u"]


def test_a_tab_inside_a_sentence_of_common_voice_is_ragged(wav, tmp_path):
    wav("fr/clips/0.mp3")
    (tmp_path / "fr/dev.tsv").write_text("client_id\tpath\tsentence\nanna\t0.mp3\tun\tdeux\n")
    (row,) = read({"source": "common_voice", "path": "fr", "split": "dev"}, tmp_path)
    assert row.problem == ("ragged", "line 2 has 4 fields for 3 columns")


def test_a_tab_inside_a_sentence_of_a_table_of_pairs_is_ragged(tmp_path):
    (tmp_path / "p.tsv").write_text("a\tb\none\tun\tdeux\nx\ty\n")
    rows = read({"source": "parallel", "path": "p.tsv"}, tmp_path, "nmt")
    assert [r.problem for r in rows] == [None, ("ragged", "line 2 has 3 fields for 2 columns"), None]
    (tmp_path / "p.tsv").write_text("a\tb\tdoc\none\tun\tdeux\tdoc\nx\ty\n")
    rows = read({"source": "parallel", "path": "p.tsv"}, tmp_path, "nmt")
    assert [r.problem and r.problem[0] for r in rows] == [None, "ragged", None]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    ("corpus", "file"),
    [
        ({"source": "manifest", "path": "m.tsv"}, "m.tsv"),
        ({"source": "manifest", "path": "m.csv"}, "m.csv"),
        ({"source": "manifest", "path": "m.jsonl"}, "m.jsonl"),
        ({"source": "common_voice", "path": ".", "split": "dev"}, "dev.tsv"),
        ({"source": "parallel", "path": "p.tsv.gz"}, "p.tsv.gz"),
        ({"source": "parallel", "path": "p"}, "p.fr"),
    ],
    ids=str,
)
def test_another_encoding_is_named_before_any_job(corpus, file, encoding, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "p.en").write_text("path\n")
    text = "client_id\tpath\tsentence\nанна\ta.wav\tодин два\n".encode(encoding)
    (tmp_path / file).write_bytes(gzip.compress(text) if file.endswith("gz") else text)
    (problem,) = TABLE[corpus["source"]].check(corpus, ["en", "fr"], tmp_path)
    name = encoding[:6].upper()
    assert f"{file} is {name}" in problem and f"iconv -f {name} -t UTF-8" in problem


@pytest.mark.parametrize(
    "text", ["source\ttarget\n早上好\tgood morning\n", "\ufeffsource\ttarget\n", "", "source\ttarget\n\0\t" + "x" * 90]
)
def test_what_is_utf8_is_no_other_encoding(text, tmp_path):
    (tmp_path / "m.tsv").write_text(text, encoding="utf-8")
    assert TABLE["manifest"].check({"path": "m.tsv"}, [], tmp_path) == []


def test_a_header_in_another_encoding_is_named(tmp_path):
    (tmp_path / "m.tsv").write_bytes("källa\tsource\ttarget\nx\ty\tz\n".encode("latin-1"))
    with pytest.raises(ConsommeError, match="the header can't be read: line 1 is not UTF-8"):
        read({"source": "manifest", "path": "m.tsv"}, tmp_path, "nmt")


# -- sentence pairs ------------------------------------------------------------------------------------------------


def test_parallel_files_gzipped_or_not(tmp_path):
    (tmp_path / "p.en").write_text("one\ntwo\n")
    (tmp_path / "p.fr.gz").write_bytes(gzip.compress(b"un\r\ndeux\r\n"))
    corpus = {"source": "parallel", "path": "p"}
    assert [p.name for p in TABLE["parallel"].files(corpus, ["en", "fr"], tmp_path)] == ["p.en", "p.fr.gz"]
    assert [(r.source, r.target) for r in read(corpus, tmp_path, "nmt")] == [("one", "un"), ("two", "deux")]
    assert [r.source for r in read(corpus, tmp_path, "nmt", ("fr", "en"))] == ["un", "deux"]


@pytest.mark.parametrize("name", ["p.tsv", "p.tsv.gz"])
def test_one_table_of_pairs_with_documents(name, tmp_path):
    text = b'say "x\tdis "x\tdoc1\nb\tc\n\nd\n'
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    rows = read({"source": "parallel", "path": name}, tmp_path, "nmt")
    assert [(r.source, r.target, r.document) for r in rows[:2]] == [('say "x', 'dis "x', "doc1"), ("b", "c", None)]
    assert [r.problem[0] for r in rows[2:]] == ["columns", "columns"]


def test_real_pairs(shared, prepare, out):
    prepare({"source": "parallel", "path": "english-french/tatoeba.test"}, "nmt", name="test", root=shared)
    dev = {"source": "parallel", "path": "english-french/tatoeba.dev"}
    rows = prepare(dev, "nmt", name="dev", root=shared, without=[out("test")])
    assert 700 < len(rows) <= 748


# -- data sets -----------------------------------------------------------------------------------------------------


def test_hub_folder_of_parquet(wav, prepare, tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    clips = [{"bytes": wav(f"{k}.wav", k).read_bytes(), "path": f"{k}.wav"} for k in range(2)]
    columns = {"audio": clips, "sentence": ["one", "two"], "speaker": [7, 8]}
    features = {
        "audio": {"_type": "Audio"},
        **{n: {"dtype": t, "_type": "Value"} for n, t in (("sentence", "string"), ("speaker", "int64"))},
    }
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (tmp_path / "set").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "set" / "train.parquet")
    pairs = [{"en": "a", "fr": "x"}, {"en": "b", "fr": "y"}]
    (tmp_path / "pairs").mkdir()
    pyarrow.parquet.write_table(pa.table({"translation": pairs}), tmp_path / "pairs" / "train.parquet")
    corpus = {"source": "hub", "name": "set", "columns": {"text": "sentence"}}
    rows = prepare(corpus, name="set")
    assert rows.targets == ["one", "two"] and rows.speakers == ["7", "8"] and rows.seconds.tolist() == [0.5, 0.5]
    with pytest.raises(ConsommeError, match=r"no column 'text'.*audio, sentence, speaker"):
        prepare(corpus | {"columns": {}}, name="other")
    rows = prepare({"source": "hub", "name": "pairs"}, "nmt", languages=("fr", "en"), name="pairs")
    assert (rows.sources, rows.targets) == (["x", "y"], ["a", "b"])


# -- text that other programs take for no value ------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["words.tsv", "words.csv", "words.jsonl"])
def test_words_that_look_like_no_value_stay_words(prepare, tmp_path, name):
    words = ["nan", "null", "NA", "None", "n/a", "inf", "1e5", "007", "true"]
    rows = [{"id": f"r{i}", "source": word, "target": word} for i, word in enumerate(words)]
    if name.endswith("jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        separator = "\t" if name.endswith("tsv") else ","
        text = "".join(separator.join(row) + "\n" for row in (rows[0], *(r.values() for r in rows)))
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = prepare({"source": "manifest", "path": name}, "nmt")
    assert found.sources == found.targets == words
