"""The languages of rows: by the corpus, by columns of its table, or by the experiment."""

import json

import pytest

from consomme.common.errors import ConsommeError
from consomme.data.languages import codes_in
from consomme.data.prepared import Rows

TABLE = {"source": "manifest", "path": "table.tsv"}


@pytest.fixture
def table(tmp_path):
    """Writes table.tsv of these columns and rows."""

    def write(columns, *rows):
        lines = ["\t".join(cells) for cells in (columns, *rows)]
        (tmp_path / "table.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return TABLE

    return write


def pairs(table):
    return table(
        ("source", "target", "from", "to"), ("a", "b", "en", "fr"), ("c", "d", "de", "en"), ("e", "f", "en", "fr")
    )


def test_a_corpus_without_languages_has_those_of_the_experiment(table, prepare, out):
    rows = prepare(pairs(table), "nmt")
    assert rows.languages(("en", "fr")) == [("en", "fr")] * 3
    assert rows.languages() == [()] * 3
    assert "languages" not in json.loads((out() / "prepared.json").read_text())


def test_a_corpus_names_the_languages_of_all_its_rows(table, prepare):
    plain = prepare(pairs(table), "nmt", name="plain")
    rows = prepare(pairs(table) | {"languages": ["en", "sv"]}, "nmt")
    assert rows.languages(("en", "fr")) == [("en", "sv")] * 3
    assert rows.fingerprint != plain.fingerprint  # the same text in another language is another content


def test_columns_name_the_languages_of_each_row(table, prepare):
    columns = {"columns": {"source_language": "from", "target_language": "to"}}
    rows = prepare(pairs(table) | columns, "nmt")
    assert rows.languages(("x", "y")) == [("en", "fr"), ("de", "en"), ("en", "fr")]
    assert rows.select([1]).languages() == [("de", "en")]
    assert rows.swapped().languages() == [("fr", "en"), ("en", "de"), ("fr", "en")]
    few = prepare(pairs(table) | columns | {"limit": 2}, "nmt", name="few")
    assert [rows.languages()[rows.ids.index(name)] for name in few.ids] == few.languages()


def test_a_side_without_a_column_has_the_language_of_the_corpus(table, prepare):
    rows = prepare(pairs(table) | {"columns": {"target_language": "to"}}, "nmt", languages=("sv", "fi"))
    assert rows.languages() == [("sv", "fr"), ("sv", "en"), ("sv", "fr")]


def test_a_column_called_language_counts_only_when_it_is_named(wav, table, prepare):
    wav("a.wav"), wav("b.wav", 1)
    corpus = table(("audio", "text", "language"), ("a.wav", "one", "English"), ("b.wav", "deux", "fr"))
    assert prepare(corpus).languages(("en",)) == [("en",), ("en",)]
    named = prepare(corpus | {"columns": {"language": "language"}}, name="named")
    assert named.languages(("en",)) == [("English",), ("fr",)]


def test_swapped_rows_have_their_languages_swapped(table, prepare):
    rows = prepare(pairs(table) | {"languages": ["en", "fr"]}, "nmt").swapped()
    assert rows.languages(("en", "fr")) == [("fr", "en")] * 3


def test_corpora_keep_their_own_languages_side_by_side(table, prepare, out):
    prepare(pairs(table) | {"languages": ["en", "sv"]}, "nmt", name="one")
    prepare(pairs(table), "nmt", name="two")
    assert Rows.open([out("one"), out("two")]).languages(("en", "fr")) == [("en", "sv")] * 3 + [("en", "fr")] * 3


def test_rows_without_a_language_or_with_two_are_counted(wav, table, prepare, reasons):
    for k in range(5):
        wav(f"{k}.wav", k)
    corpus = table(
        ("audio", "text", "lang"),
        ("0.wav", "one", "en"), ("1.wav", "two", ""), ("2.wav", "three", "en, fr"), ("3.wav", "four", "fr"), ("4.wav", "x", " fr "),
    )  # fmt: skip
    corpus |= {"columns": {"language": "lang"}}
    with pytest.raises(ConsommeError, match="1 no language, 1 several languages"):
        prepare(corpus)
    rows = prepare(corpus | {"max_skipped": 0.5})
    assert reasons() == {"1.wav": "no language", "2.wav": "several languages"}
    assert rows.languages() == [("en",), ("fr",), ("fr",)]


def test_a_column_that_is_not_there_is_an_error_with_the_nearest_one(wav, table, prepare):
    wav("a.wav")
    corpus = table(("audio", "text", "lang"), ("a.wav", "one", "en"))
    with pytest.raises(ConsommeError, match=r"no column 'lan' for language \(did you mean 'lang'"):
        prepare(corpus | {"columns": {"language": "lan"}})


@pytest.mark.parametrize(
    ("cell", "codes"),
    [(None, []), ("  ", []), ("pt-BR", ["pt-BR"]), ("eng_Latn", ["eng_Latn"]), (["en"], ["en"]), (["en", "fr"], ["en", "fr"]),
     ("en/fr", ["en", "fr"]), ("en en", ["en"])],
)  # fmt: skip
def test_codes_in_a_cell(cell, codes):
    assert codes_in(cell) == codes


def test_a_string_of_recordings_is_in_one_language(wav, table, prepare):
    lines = []
    for k in range(8):
        wav(f"{k}.wav", k, seconds=0.1)
        lines.append((f"{k}.wav", f"{'en' if k % 2 else 'fr'}{k}", "s", "en" if k % 2 else "fr"))
    corpus = table(("audio", "text", "speaker", "lang"), *lines) | {"columns": {"language": "lang"}}
    rows = prepare(corpus | {"join": {"length": [2, 2], "gap": [0, 0]}})
    assert sorted(rows.languages()) == [("en",)] * 2 + [("fr",)] * 2
    for text, (language,) in zip(rows.targets, rows.languages(), strict=True):
        assert {word[:2] for word in text.split()} == {language}
