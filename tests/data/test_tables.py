"""Tables as people keep them are read right, or the line that can't be is named; no line swallows others."""

import csv
import io
import json
import random

import pytest

from consomme.common.errors import ConsommeError
from consomme.data.sources import TABLE

WORDS = ['say "hi"', "one, two", "a\ttab", "two\nlines", '"quoted"', "", "plain", "it's 6\" long", '""', "été", "\n"]


def read(tmp_path, name, text, task="nmt", source="manifest", **keys):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    path = {"path": name} if source != "common_voice" else {"path": ".", "split": name.removesuffix(".tsv")}
    return list(TABLE[source].read({"source": source, **path, **keys}, task, ["en", "fr"], tmp_path))


def sides(rows):
    return [(r.source, r.target) for r in rows if not r.problem]


def problems(rows):
    """Line -> reason, as the details name the line."""
    return {int(r.problem[1].split("line ")[1].split()[0].rstrip(":")): r.problem[0] for r in rows if r.problem}


# -- quotes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_what_a_library_writes_is_read_as_it_was(suffix, end, quoting, tmp_path):
    draw = random.Random(0)
    pairs = [(draw.choice(WORDS), draw.choice(WORDS)) for _ in range(300)]
    # a row whose cells are all empty may be written as an empty line
    pairs = [pair for pair in pairs if any(cell.strip() for cell in pair)]
    stream = io.StringIO(newline="")
    mark = "\t" if suffix == "tsv" else ","
    csv.writer(stream, delimiter=mark, quoting=quoting, lineterminator=end).writerows([("source", "target"), *pairs])
    rows = read(tmp_path, f"m.{suffix}", stream.getvalue().encode())
    read_so = [tuple((cell or "").replace("\r", "") for cell in pair) for pair in sides(rows)]
    assert problems(rows) == {}
    assert read_so == pairs


@pytest.mark.parametrize("source", ["manifest", "parallel"])
def test_a_tsv_of_pandas(source, tmp_path):
    text = 'source\ttarget\nhe said ""go"" twice\tx\n"he said ""go"" twice"\til dit\n"first\nsecond"\t"une\ndeux"\nyes\toui\n'
    rows = read(tmp_path, "m.tsv", text, source=source)
    assert sides(rows) == [
        ('he said ""go"" twice', "x"),
        ('he said "go" twice', "il dit"),
        ("first\nsecond", "une\ndeux"),
        ("yes", "oui"),
    ]
    assert [r.id for r in rows] == ["0000002", "0000003", "0000004", "0000007"]


@pytest.mark.parametrize("source", ["manifest", "parallel"])
def test_quotes_of_a_tsv_that_quote_nothing_stay(source, tmp_path):
    text = 'source\ttarget\n"Open only\tx\n"whole"\t"tout"\n6" nails\ty"\n"Yes," he said.\t"\nlast\tz\n'
    assert sides(read(tmp_path, "m.tsv", text, source=source)) == [
        ('"Open only', "x"),
        ('"whole"', '"tout"'),
        ('6" nails', 'y"'),
        ('"Yes," he said.', '"'),
        ("last", "z"),
    ]


@pytest.mark.parametrize("source", ["manifest", "parallel"])
def test_a_carriage_return_in_a_text_is_what_quotes_are_for(source, tmp_path):
    rows = read(tmp_path, "m.tsv", 'source\ttarget\r\nyes\t"oui\rsi"\r\n"no"\tnon\r\n', source=source)
    assert sides(rows) == [("yes", "oui\rsi"), ('"no"', "non")]


def test_common_voice_with_and_without_quotes(tmp_path):
    (tmp_path / "clips").mkdir()
    text = "client_id\tpath\tsentence\tage\n" + "".join(
        f"a\t{n}.mp3\t{sentence}\t\n"
        for n, sentence in enumerate(('"Open', '"""No,"" he said."', '"No," he said.', "nan", '"a\nb"', "last"))
    )
    rows = read(tmp_path, "dev.tsv", text, "asr", "common_voice")
    assert [r.target for r in rows] == ['"Open', '"No," he said.', '"No," he said.', "nan", "a\nb", "last"]


@pytest.mark.parametrize("cell", ['"good morning', '"12" pizza"', '"a "b" c"', '"a"b'])
@pytest.mark.parametrize("rows", [4, 3000])
def test_a_quote_that_is_not_closed_takes_one_row_of_audio(cell, rows, tmp_path):
    lines = [f"{n}.wav,sentence {n}" for n in range(rows)]
    lines[1] = f"1.wav,{cell}"
    lines[-1] = '9.wav,6" nails"'
    found = read(tmp_path, "m.csv", "audio,text\n" + "\n".join(lines) + "\n", "asr")
    assert problems(found) == {3: "quotes"} and len(found) == rows
    assert [r.target for r in found if not r.problem][-1] == '6" nails"'


def test_where_the_end_of_a_quote_is_in_doubt_all_lines_are_named(tmp_path):
    """A paragraph of three lines, or a row with a stray quote, two rows, and another stray quote."""
    text = 'source,target\nyes,oui\nno,"non\nhere,ici\nthere,"\nlast,dernier\n'
    rows = read(tmp_path, "m.csv", text)
    assert sides(rows) == [("yes", "oui"), ("last", "dernier")]
    assert problems(rows) == {3: "quotes", 4: "quotes", 5: "quotes"}


def test_a_paragraph_of_speech_is_no_row(tmp_path):
    rows = read(tmp_path, "m.csv", 'audio,text\na.wav,"one\ntwo, three\nfour"\nb.wav,five\n', "asr")
    assert [(r.id, r.target) for r in rows] == [("a.wav", "one\ntwo, three\nfour"), ("b.wav", "five")]


def test_a_quote_without_an_end_takes_one_pair(tmp_path):
    rows = read(tmp_path, "m.csv", 'source,target\n"a,b\n' + "c,d\n" * 50_000)
    assert problems(rows) == {2: "quotes"} and len(sides(rows)) == 50_000


def test_a_comma_too_many_is_ragged_and_counted(prepare, tmp_path):
    lines = [f"source {n},target {n}{', and more' * (n % 10 == 0)}" for n in range(100)]
    (tmp_path / "m.csv").write_text("source,target\n" + "\n".join(lines) + "\n")
    with pytest.raises(ConsommeError, match=r"10 of 100 rows can't be used \(10 ragged\)"):
        prepare({"source": "manifest", "path": "m.csv"}, "nmt")


# -- headers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.tsv", "m.csv"])
def test_a_column_that_is_there_twice_is_an_error(name, tmp_path):
    mark = "\t" if name.endswith("tsv") else ","
    (tmp_path / name).write_text(f"{mark.join(['audio', 'text', 'text'])}\n{mark.join(['a.wav', 'one', 'two'])}\n")
    (problem,) = TABLE["manifest"].check({"path": name}, [], tmp_path)
    assert "has the column 'text' twice" in problem


def test_a_key_that_is_there_twice_is_a_bad_row(tmp_path):
    rows = read(tmp_path, "m.jsonl", '{"source": "a", "target": "b"}\n{"source": "a", "target": "b", "target": "c"}\n')
    assert problems(rows) == {2: "columns"}


def test_common_voice_without_a_column_says_so_early(wav, tmp_path):
    wav("clips/0.mp3")
    (tmp_path / "dev.tsv").write_text("client_id\tpath\ttext\na\t0.mp3\tun\n")
    (problem,) = TABLE["common_voice"].check({"path": ".", "split": "dev"}, [], tmp_path)
    assert "no column sentence; there are client_id, path, text" in problem


@pytest.mark.parametrize(
    ("header", "order"),
    [("source\ttarget", 1), ("en\tfr", 1), ("Source\tTarget\tdocument", 1), ("fr\ten", -1), ('"en"\t"fr"', 1)],
)
def test_a_header_of_a_table_of_pairs_is_no_pair(header, order, tmp_path):
    document = "\td1" if "document" in header else ""
    cells = '"one"\t"un"' if '"' in header else f"one\tun{document}"
    (row,) = read(tmp_path, "p.tsv", f"{header}\n{cells}\n", source="parallel")
    assert (row.source, row.target) == ("one", "un")[::order] and row.document == (document.strip() or None)


@pytest.mark.parametrize("first", ["source\tthe source", "english\tfrench", "en\ten", "target\tsource of"])
def test_a_pair_is_no_header(first, tmp_path):
    assert len(read(tmp_path, "p.tsv", f"{first}\none\tun\n", source="parallel")) == 2


# -- line ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_of_every_system(end, last, tmp_path):
    def joined(*lines):
        return end.join(lines) + end * last

    assert sides(read(tmp_path, "m.tsv", joined("source\ttarget", "a\tb", "c\td"))) == [("a", "b"), ("c", "d")]
    assert sides(read(tmp_path, "m.csv", joined("source,target", "a,b", "c,d"))) == [("a", "b"), ("c", "d")]
    assert sides(read(tmp_path, "p.tsv", joined("a\tb", "c\td"), source="parallel")) == [("a", "b"), ("c", "d")]
    (tmp_path / "p.en").write_bytes(joined("a", "", "c").encode())
    (tmp_path / "p.fr").write_bytes(b"b\nx\nd\n")
    rows = TABLE["parallel"].read({"path": "p"}, "nmt", ["en", "fr"], tmp_path)
    assert [(r.source, r.target) for r in rows] == [("a", "b"), ("", "x"), ("c", "d")]


# -- cells of .jsonl ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, float("nan"), ["a", "b"], {"a": 1}, float("inf")])
@pytest.mark.parametrize("task", ["asr", "nmt"])
def test_a_text_that_is_none_is_a_bad_row_with_its_line(value, task, tmp_path):
    role = "text" if task == "asr" else "target"
    good = {"audio": "a.wav", "text": "one"} if task == "asr" else {"source": "a", "target": "b"}
    lines = [good, good | {role: value}, good | {role: 10}]
    rows = read(tmp_path, "m.jsonl", "".join(json.dumps(line) + "\n" for line in lines), task)
    assert problems(rows) == {2: "not text"} and f"{role} is " in rows[1].problem[1]
    assert rows[2].target == "10"


@pytest.mark.parametrize("audio", [{"path": "a.wav"}, {"path": "a.wav", "bytes": None}, "a.wav"])
def test_audio_as_an_object_with_its_path(audio, wav, prepare, tmp_path):
    wav("a.wav")
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio": audio, "text": "one"}) + "\n")
    assert prepare({"source": "manifest", "path": "m.jsonl"}).ids == ["a.wav"]


def test_audio_as_numbers(prepare, tmp_path):
    whole, decimal = [0, 16384, -16384, 8192] * 1000, [0, 0.5, -0.5, 0.25] * 1000
    lines = [
        {"audio": {"array": array, "sampling_rate": 8000}, "text": f"n{n}"} for n, array in enumerate((whole, decimal))
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = prepare({"source": "manifest", "path": "m.jsonl"})
    assert rows.audio(0)[:4].tolist() == rows.audio(1)[:4].tolist() == [0, 0.5, -0.5, 0.25]


@pytest.mark.parametrize("audio", [True, ["a.wav"], {"file": "a.wav"}, 7])
def test_audio_that_is_none_says_what_is_wanted(audio, tmp_path):
    lines = [{"audio": "a.wav", "text": "one"}, {"audio": audio, "text": "two"}]
    rows = read(tmp_path, "m.jsonl", "".join(json.dumps(line) + "\n" for line in lines), "asr")
    assert problems(rows) == {2: "not text"} and "a path is wanted" in rows[1].problem[1]


# -- columns -----------------------------------------------------------------------------------------------------------


def test_a_misspelt_role_is_an_error_of_the_configuration():
    for source in ("manifest", "hub"):
        with pytest.raises(ValueError, match=r"'speeker' is no role of a column \(did you mean 'speaker'\?\)"):
            TABLE[source].settings(path="m.csv", name="x", columns={"speeker": "caller"})


def test_a_column_that_is_not_there_is_an_error_before_any_job(tmp_path):
    (tmp_path / "m.csv").write_text("file,transcript,caller,call\na.wav,one,anna,1\n")
    columns = {"audio": "file", "text": "transcript", "document": "cal"}
    (problem,) = TABLE["manifest"].check({"path": "m.csv", "columns": columns}, [], tmp_path)
    assert "no column 'cal' for document (did you mean 'call'?); there are file, transcript, caller, call" in problem
    assert TABLE["manifest"].check({"path": "m.csv", "columns": columns | {"document": "call"}}, [], tmp_path) == []


def test_a_column_that_few_records_have_is_there(tmp_path):
    lines = [{"audio": f"{n}.wav", "text": "one"} | ({"dialect": "north"} if n == 50 else {}) for n in range(60)]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    check = TABLE["manifest"].check
    assert check({"path": "m.jsonl", "columns": {"document": "dialect"}}, [], tmp_path) == []
    assert "no column 'dialct'" in check({"path": "m.jsonl", "columns": {"document": "dialct"}}, [], tmp_path)[0]


def test_audio_and_text_the_wrong_way_round(tmp_path):
    (tmp_path / "m.tsv").write_text(
        "audio\ttext\n" + "".join(f"{'long sentence ' * 40}{n}\t{n}.wav\n" for n in range(3))
    )
    (problem,) = TABLE["manifest"].check({"path": "m.tsv"}, [], tmp_path)
    assert "columns: {audio: text, text: audio}" in problem


def test_a_path_that_no_file_can_have_is_missing(prepare, wav, reasons, tmp_path):
    wav("a.wav")
    (tmp_path / "m.tsv").write_text(f"id\taudio\ttext\n1\ta.wav\tone\n2\t{'long ' * 200}\ttwo\n3\ta\0b.wav\tthree\n")
    assert prepare({"source": "manifest", "path": "m.tsv", "max_skipped": 1}).ids == ["1"]
    assert reasons() == {"2": "missing", "3": "missing"}


# -- ids ---------------------------------------------------------------------------------------------------------------


def test_an_id_that_several_rows_share_is_numbered(wav, prepare, tmp_path):
    for n in range(3):
        wav(f"{n}.wav", n)
    (tmp_path / "m.tsv").write_text("id\taudio\ttext\n7\t0.wav\tone\n7\t1.wav\tone\n8\t2.wav\ttwo\n")
    corpus = {"source": "manifest", "path": "m.tsv"}
    assert prepare(corpus).ids == ["7", "7#2", "8"]
    assert prepare(corpus | {"columns": {"id": "audio"}}, name="named").ids == ["0.wav", "1.wav", "2.wav"]


def test_numbered_ids_meet_no_given_ones(wav, prepare, tmp_path):
    for n in range(4):
        wav(f"{n}.wav", n)
    rows = "".join(f"{name}\t{n}.wav\tone\n" for n, name in enumerate(("a", "a#2", "a", "a")))
    (tmp_path / "m.tsv").write_text(f"id\taudio\ttext\n{rows}")
    assert prepare({"source": "manifest", "path": "m.tsv"}).ids == ["a", "a#2", "a#3", "a#4"]


def test_the_same_row_twice_is_left_out_once_and_listed(wav, prepare, out, reasons, tmp_path):
    wav("a.wav")
    (tmp_path / "m.tsv").write_text("audio\ttext\na.wav\tone\na.wav\ttwo\na.wav\tone\n")
    rows = prepare({"source": "manifest", "path": "m.tsv", "max_skipped": 0})
    assert list(zip(rows.ids, rows.targets, strict=True)) == [("a.wav", "one"), ("a.wav#2", "two")]
    assert reasons() == {"a.wav#3": "duplicate"}
    assert json.loads((out() / "prepared.json").read_text())["skipped"] == {"duplicate": 1}
    assert "audio and text of a.wav" in (out() / "skipped.tsv").read_text()


def test_pairs_may_recur(tmp_path, prepare):
    (tmp_path / "p.tsv").write_text("yes\toui\n" * 3)
    assert len(prepare({"source": "parallel", "path": "p.tsv"}, "nmt")) == 3
