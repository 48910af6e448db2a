"""Columns of a corpus's table that are kept for the report."""

import pytest

PATTERN = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{age}.wav"}


@pytest.fixture
def clips(wav):
    for k, name in enumerate(("one_ann_30", "two_ann_30", "one_bob_41")):
        wav(f"clips/{name}.wav", k)


@pytest.fixture
def table(wav, tmp_path):
    """Three recordings; the last has no age."""
    for k in range(3):
        wav(f"clips/x{k}.wav", k)
    lines = [
        "audio\ttext\tage\tsnr",
        "clips/x0.wav\tone\t30\t12.5",
        "clips/x1.wav\ttwo\t41\t3",
        "clips/x2.wav\ttwo\t\t7",
    ]
    (tmp_path / "table.tsv").write_text("\n".join(lines) + "\n")
    return {"source": "manifest", "path": "table.tsv"}


def test_a_table_gives_what_was_asked_for_and_nothing_else(table, prepare):
    rows = prepare(table | {"by": ["age", "snr"]})
    assert rows.by("age") == ["30", "41", None] and rows.by("snr") == ["12.5", "3", "7"]
    assert prepare(table | {"by": ["age"]}, name="less").by("snr") == [None, None, None]


def test_the_content_is_the_same_with_them_and_without(table, prepare):
    plain, told = prepare(table), prepare(table | {"by": ["age"]}, name="told")
    assert plain.fingerprint == told.fingerprint and plain.by("age") == [None, None, None]


def test_other_values_change_what_stands_beside_the_corpus_and_not_its_content(table, prepare, out, tmp_path):
    """The report starts anew by the one, and no model by the other."""
    before = prepare(table | {"by": ["age"]})
    told = (out() / "prepared.json").read_text()
    (tmp_path / "table.tsv").write_text((tmp_path / "table.tsv").read_text().replace("\t41\t", "\t42\t"))
    after = prepare(table | {"by": ["age"]})
    assert after.by("age") == ["30", "42", None] and after.fingerprint == before.fingerprint
    assert (out() / "prepared.json").read_text() != told and after.reported_by != before.reported_by
    assert prepare(table, name="plain").reported_by == []


def test_rows_are_picked_with_what_they_have(table, prepare):
    rows = prepare(table | {"by": ["age"]})
    assert rows.select([2, 0]).by("age") == [None, "30"]
    assert sorted(prepare(table | {"by": ["age"], "limit": 2}, name="two").by("age"), key=str) in (
        ["30", "41"], ["30", None], ["41", None]
    )  # fmt: skip


def test_fields_of_a_folder(clips, prepare):
    assert prepare(PATTERN | {"by": ["age"]}).by("age") == ["30", "41", "30"]


def test_a_string_has_what_all_of_its_recordings_have(wav, prepare):
    for k, (speaker, age) in enumerate([("ann", 30), ("ann", 30), ("bob", 41), ("bob", 42)]):
        wav(f"clips/t{k}_{speaker}_{age}.wav", k)
    join = {"length": [2, 2], "uses": 1, "gap": [0, 0], "seed": 1}
    rows = prepare(PATTERN | {"by": ["age"], "join": join})
    assert dict(zip(rows.speakers, rows.by("age"), strict=True)) == {"ann": "30", "bob": None}


def test_common_voice(wav, prepare, tmp_path):
    for k in range(2):
        wav(f"fr/clips/c{k}.mp3", k)
    lines = ["client_id\tpath\tsentence\tgender", "a\tc0.mp3\tun\tfemale_feminine", "b\tc1.mp3\tdeux\t"]
    (tmp_path / "fr/dev.tsv").write_text("\n".join(lines) + "\n")
    rows = prepare({"source": "common_voice", "path": "fr", "split": "dev", "by": ["gender"]})
    assert rows.by("gender") == ["female_feminine", None]


def test_files_of_kaldi_by_speaker_and_by_utterance(wav, prepare, tmp_path):
    for k in range(2):
        wav(f"u{k}.wav", k)
    (tmp_path / "data").mkdir()
    for name, lines in {
        "wav.scp": ["u0 u0.wav", "u1 u1.wav"],
        "text": ["u0 one", "u1 two"],
        "utt2spk": ["u0 ann", "u1 bob"],
        "spk2gender": ["ann f"],
        "utt2snr": ["u0 3.5", "u1 12"],
    }.items():
        (tmp_path / "data" / name).write_text("\n".join(lines) + "\n")
    rows = prepare({"source": "kaldi", "path": "data", "by": ["gender", "snr"]})
    assert rows.by("gender") == ["f", None] and rows.by("snr") == ["3.5", "12"]


def test_a_data_set_of_the_hub(prepare, tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    (tmp_path / "set").mkdir()
    columns = {"source": ["a", "b"], "target": ["c", "d"], "year": [1999, None], "score": [0.5, float("nan")]}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "set/train.parquet")
    rows = prepare({"source": "hub", "name": "set", "by": ["year", "score"]}, "nmt")
    assert rows.by("year")[1] is None and float(rows.by("year")[0]) == 1999 and rows.by("score") == ["0.5", None]


def test_a_column_that_is_not_there_is_told_with_the_nearest(table, prepare, capsys):
    assert prepare(table | {"by": ["agge"]}).by("agge") == [None, None, None]
    said = capsys.readouterr()
    assert "no column 'agge' to report by (did you mean 'age'?)" in said.out + said.err
