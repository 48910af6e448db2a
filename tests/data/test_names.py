"""Names with marks, on disk and in tables, in one normal form or the other: é as one character (NFC) or as two (NFD)."""

import unicodedata

import pytest

from consomme.data.sources import TABLE
from consomme.data.sources.base import on_disk

FORMS = [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")]


@pytest.mark.parametrize(("ours", "theirs"), FORMS)
def test_folders_fields_texts_and_where(ours, theirs, wav, prepare):
    def here(text):
        return unicodedata.normalize(ours, text)

    def there(text):
        return unicodedata.normalize(theirs, text)

    for k, name in enumerate(("été_josé_0.wav", "un_josé_1.wav", "été_zoé_2.wav")):
        wav(there(f"enregistrés/{name}"), k)
    corpus = {
        "source": "folder",
        "path": here("enregistrés"),
        "pattern": here("{text}_{spéaker}_{index}.wav"),
        "texts": {here("été"): "l'été"},
        "where": {here("spéaker"): [here("josé")]},
    }
    rows = prepare(corpus)
    assert rows.ids == ["un_josé_1", "été_josé_0"] and rows.targets == ["un", "l'été"]


@pytest.mark.parametrize(("ours", "theirs"), FORMS)
def test_tables_columns_cells_and_paths(ours, theirs, wav, prepare, tmp_path):
    def here(text):
        return unicodedata.normalize(ours, text)

    def there(text):
        return unicodedata.normalize(theirs, text)

    # the table in the one form, what it names on disk in the other
    wav(there("données/été/a.wav"), 1)
    wav(there("données/été/b.wav"), 2)
    table = "énoncé\tfichier\tspeaker\nun\tété/a.wav\tjosé\ndeux\tété/b.wav\tzoé\n"
    (tmp_path / there("données/tablé.tsv")).write_text(here(table), encoding="utf-8")
    corpus = {
        "source": "manifest",
        "path": here("données/tablé.tsv"),
        "columns": {"text": there("énoncé"), "audio": "fichier"},
        "where": {"speaker": [there("josé")]},
    }
    rows = prepare(corpus)
    assert (rows.targets, rows.speakers) == (["un"], ["josé"])
    cache = tmp_path / "cache"
    before = TABLE["manifest"].inventory(corpus, [], tmp_path, cache)
    wav(there("données/été/a.wav"), 3)
    assert TABLE["manifest"].inventory(corpus, [], tmp_path, cache) != before


@pytest.mark.parametrize(("ours", "theirs"), FORMS)
def test_parallel_files_and_common_voice(ours, theirs, wav, prepare, tmp_path):
    def here(text):
        return unicodedata.normalize(ours, text)

    def there(text):
        return unicodedata.normalize(theirs, text)

    (tmp_path / there("où")).mkdir()
    for language, word in (("en", "where"), ("fr", "où")):
        (tmp_path / there(f"où/là.{language}")).write_text(f"{word}\n", encoding="utf-8")
    assert prepare({"source": "parallel", "path": here("où/là")}, "nmt").targets == ["où"]
    wav(there("où/clips/é.mp3"))
    (tmp_path / there("où/dev.tsv")).write_text(f"client_id\tpath\tsentence\na\t{here('é.mp3')}\tun\n")
    assert prepare({"source": "common_voice", "path": here("où"), "split": "dev"}, name="voices").ids == ["é"]


def test_speakers_of_both_forms_are_one(wav, prepare, tmp_path):
    wav("a.wav", 1)
    wav("b.wav", 2)
    rows = "".join(
        f"{name}.wav\tone\t{unicodedata.normalize(form, 'josé')}\n" for name, form in zip("ab", FORMS[0], strict=True)
    )
    (tmp_path / "m.tsv").write_text(f"audio\ttext\tspeaker\n{rows}", encoding="utf-8")
    assert prepare({"source": "manifest", "path": "m.tsv"}).speakers == ["josé", "josé"]


def test_a_name_is_spelt_as_the_disk_does(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    (tmp_path / decomposed / decomposed).mkdir(parents=True)
    assert on_disk(tmp_path / composed / composed) == tmp_path / decomposed / decomposed
    assert on_disk(tmp_path / composed / "ü") == tmp_path / decomposed / "ü"  # there is none
    (tmp_path / composed).mkdir()
    assert on_disk(tmp_path / composed) == tmp_path / composed  # both are there


def test_clips_of_old_releases_of_common_voice_have_no_suffix(wav, prepare, tmp_path):
    wav("cv/clips/common_voice_xx_0.mp3")
    (tmp_path / "cv/dev.tsv").write_text("client_id\tpath\tsentence\na\tcommon_voice_xx_0\tun\n")
    corpus = {"source": "common_voice", "path": "cv", "split": "dev"}
    rows = prepare(corpus)
    assert rows.ids == ["common_voice_xx_0"] and rows.recordings == [["common_voice_xx_0"]]
    assert list(TABLE["common_voice"].recordings(corpus, tmp_path)[1]) == ["clips/common_voice_xx_0.mp3"]
