"""A test set under another name is one still: known by files and filters, before any job."""

import os
from copy import deepcopy

import pytest

from consomme.common.settings import Section
from consomme.data.sources import TABLE as SOURCES
from consomme.data.sources.base import Source
from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError


@pytest.fixture
def leaky(small, tmp_path):
    """`leaky(settings of the test corpus b-test, settings of another)`: the configuration with a corpus `alias`, and its tables
    in a folder: t.tsv, copy.tsv (the same bytes), u.tsv; far/t.tsv, the same bytes again, which name another recording."""
    (tmp_path / "far").mkdir()
    for name, text in (("t.tsv", "a"), ("copy.tsv", "a"), ("u.tsv", "b"), ("far/t.tsv", "a")):
        (tmp_path / name).write_text(f"audio\ttext\tspeaker\nx.wav\t{text}\ts\n")
    (tmp_path / "x.wav").write_bytes(b"near")
    (tmp_path / "far/x.wav").write_bytes(b"far away")
    (tmp_path / "link.tsv").symlink_to("t.tsv")
    (tmp_path / "b-test").mkdir()
    (tmp_path / "b-test" / "text").write_text("u1 a\n")
    (tmp_path / "b-test" / "wav.scp").write_text("u1 x.wav\n")
    (tmp_path / "cv").mkdir()
    for name in ("dev", "test"):
        (tmp_path / f"cv/{name}.tsv").write_text(f"path\tsentence\tclient_id\n{name}.mp3\ta\ts\n")
    (tmp_path / "b-test" / "spk2gender").write_text("s f\n")

    def made(test, alias, **data):
        raw = deepcopy(small) | {"data_root": str(tmp_path)}
        more = {"b-test": test, "alias": alias, "whole": TEST, "first": TEST | {"limit": 1}}
        raw["corpora"] |= {name: {"source": "manifest"} | corpus for name, corpus in more.items()}
        raw["experiments"]["e"]["data"] |= data
        return raw

    return made


TEST = {"path": "t.tsv"}
KNOWN = {
    "the same table": (TEST, TEST),
    "spelt otherwise": (TEST, {"path": "./t.tsv"}),
    "a copy": (TEST, {"path": "copy.tsv"}),
    "a link": (TEST, {"path": "link.tsv"}),
    "other normaliser, rate and columns": (TEST, TEST | {"normaliser": "basic", "sampling_rate": 8000}),
    "all rows and a part": (TEST | {"where": {"speaker": ["s"]}}, TEST),
    "a part and all rows": (TEST, TEST | {"where": {"speaker": ["s"]}}),
    "lists that meet": (TEST | {"where": {"speaker": ["s", "t"]}}, TEST | {"where": {"speaker": ["t", "u"]}}),
    "ranges that meet": (
        TEST | {"where": {"line": {"from": 0, "to": 9}}},
        TEST | {"where": {"line": {"from": 9, "to": 12}}},
    ),
    "the first of the same": (TEST, TEST | {"limit": 1}),
    "some of a part and all rows": (TEST | {"where": {"speaker": ["s"]}, "limit": 5}, TEST),
    "all rows and some of a part": (TEST, TEST | {"limit": 5, "max_seconds": 5, "where": {"speaker": ["s"]}}),
    "fewer and more of the same": (
        TEST | {"where": {"speaker": ["s"]}, "limit": 5},
        TEST | {"where": {"speaker": ["s"]}, "limit": 3},
    ),
    "seconds that meet": (TEST | {"max_seconds": 5}, TEST | {"min_seconds": 4}),
    "without others": (TEST, TEST | {"without": ["b-train"]}),
    "without some of the test set": (TEST, TEST | {"without": ["first"]}),
}
APART = {
    "another table": (TEST, {"path": "u.tsv"}),
    "lists apart": (TEST | {"where": {"speaker": ["s"]}}, TEST | {"where": {"speaker": ["t"]}}),
    "ranges apart": (TEST | {"where": {"line": {"from": 0, "to": 9}}}, TEST | {"where": {"line": {"from": 10, "to": 12}}}),
    "a value outside a range": (TEST | {"where": {"line": [12]}}, TEST | {"where": {"line": {"from": 0, "to": 9}}}),
    "seconds apart": (TEST | {"max_seconds": 5}, TEST | {"min_seconds": 6}),
    "without": (TEST, TEST | {"without": ["b-test"]}),
    "without, the other way round": (TEST | {"without": ["alias"]}, TEST),
    "without all rows of the place": (TEST | {"where": {"speaker": ["s"]}, "limit": 3}, TEST | {"without": ["whole"]}),
    "the same table of other recordings": (TEST, {"path": "far/t.tsv"}),
    # what can't be known is counted in the report
    "other columns": (TEST | {"where": {"speaker": ["s"]}}, TEST | {"where": {"line": [3]}}),
    "some of all and a part": (TEST | {"where": {"speaker": ["s"]}}, TEST | {"limit": 5}),
    "some of these and some of those": (TEST | {"limit": 5}, TEST | {"limit": 5, "max_seconds": 9}),
}  # fmt: skip


def refused(raw, key, start="'alias' has rows of 'b-test'"):
    """What is said of a configuration that is refused, beginning with the key and these words."""
    with pytest.raises(ConfigurationError) as error:
        Plan(raw)
    (said,) = str(error.value).splitlines()
    assert said.startswith(f"{key}: {start}"), said
    return said


@pytest.mark.parametrize("case", KNOWN)
def test_a_development_set_with_rows_of_a_test_set_is_refused(leaky, case):
    test, alias = KNOWN[case]
    refused(leaky(test, alias, dev={"a": "a-dev", "b": "alias"}), "experiments.e.data.dev.b")


def test_what_is_said_names_both_keys_both_corpora_the_file_and_what_to_do(leaky, tmp_path):
    raw = leaky(TEST, TEST, dev={"a": "a-dev", "b": "alias"})
    assert refused(raw, "experiments.e.data.dev.b") == (
        "experiments.e.data.dev.b: 'alias' has rows of 'b-test', which is in experiments.e.data.test.b, and test sets only "
        f"report. corpora.alias and corpora.b-test: both read {tmp_path}/t.tsv. Give one of them other rows: another file, a "
        "`where` that parts the two, or without: [b-test] in corpora.alias"
    )
    raw["corpora"]["alias"]["path"] = "copy.tsv"
    assert f"{tmp_path}/copy.tsv and {tmp_path}/t.tsv are the same bytes" in refused(raw, "experiments.e.data.dev.b")


@pytest.mark.parametrize("case", APART)
def test_other_rows_of_the_same_place_are_no_leak(leaky, case):
    assert Plan(leaky(*APART[case], dev={"a": "a-dev", "b": "alias"})).models


def test_training_data_and_tokenizers_are_looked_at_too(leaky):
    refused(leaky(TEST, TEST, train=["b-train", "alias"]), "experiments.e.data.train")
    for node in ("raw", "tuned"):
        raw = leaky(TEST, TEST)
        raw["experiments"]["e"]["models"][node]["data"] = {"train": ["a-train", "alias"]}
        refused(raw, f"experiments.e.models.{node}.data.train")


def test_a_node_s_own_development_sets_are_looked_at_too(leaky):
    raw = leaky(TEST, TEST)
    raw["experiments"]["e"]["models"]["tuned"] |= {"data": {"dev": {"b": "alias"}}, "choose_on": {"b": "best"}}
    refused(raw, "experiments.e.models.tuned.data.dev.b")


def test_every_replicate_is_looked_at(leaky):
    raw = leaky(TEST, TEST, train="{corpus}")
    raw["experiments"]["e"]["repeat"] = {1: {"corpus": "b-train"}, 2: {"corpus": "alias"}}
    refused(raw, "experiments.e.data.train")
    raw["experiments"]["e"]["repeat"][2]["corpus"] = "a-train"
    assert Plan(raw).models


def test_a_relabelled_corpus_and_its_labellers_are_looked_at(leaky):
    raw = leaky(TEST, TEST)
    raw["corpora"]["pseudo"] = {"source": "relabelled", "corpus": "alias", "by": "base"}
    raw["experiments"]["e"]["models"]["healed"]["data"] = {"train": "pseudo"}
    refused(raw, "corpora.pseudo.corpus")


def test_labels_of_a_model_that_learnt_from_the_test_set_elsewhere_are_refused(leaky):
    raw = leaky(TEST, TEST)
    other = raw["experiments"]["other"] = deepcopy(raw["experiments"]["e"])
    other["data"] |= {"train": "alias", "test": {"a": "a-test"}}
    other["models"] = {name: other["models"][name] for name in ("raw", "base")}
    other["models"]["base"]["data"] = {"train": "alias"}
    other["claims"] = []
    assert Plan(raw).models
    raw["corpora"]["pseudo"] = {"source": "relabelled", "corpus": "b-train", "by": "other/base"}
    raw["experiments"]["e"]["models"]["healed"]["data"] = {"train": "pseudo"}
    refused(raw, "corpora.pseudo.by")


FOLDER = {"source": "folder", "path": "r", "pattern": "{text}_{speaker}_{index}.wav"}
HUB = {"source": "hub", "name": "owner/name", "split": "test"}
GENERATED = {"source": "generated", "generator": "spoken-numbers", "domain": "shifted", "split": "test", "size": 10}
KALDI = {"source": "kaldi", "path": "b-test"}
VOICES = {"source": "common_voice", "path": "cv"}


@pytest.mark.parametrize(
    ("test", "alias"),
    [
        (GENERATED, GENERATED | {"size": 7}),
        (FOLDER, FOLDER | {"path": "./r", "texts": {"0": "zero"}}),
        (FOLDER | {"where": {"index": {"from": 0, "to": 4}}}, FOLDER),
        (HUB, HUB | {"revision": "0" * 40, "columns": {"text": "sentence"}}),
        (KALDI, KALDI | {"path": "b-test/"}),
        (VOICES | {"split": "test"}, VOICES | {"split": "test"}),
        (VOICES | {"split": "test"}, {"source": "manifest", "path": "cv/test.tsv", "columns": {"audio": "path"}}),
    ],
)
def test_each_source_knows_what_decides_its_rows(leaky, test, alias):
    raw = leaky(test, alias, dev={"a": "a-dev", "b": "alias"})
    refused(raw, "experiments.e.data.dev.b")


@pytest.mark.parametrize(
    ("test", "alias"),
    [
        (GENERATED, GENERATED | {"seed": 2}),
        (FOLDER, FOLDER | {"path": "other"}),
        (FOLDER | {"pattern": "test/{text}.wav"}, FOLDER | {"pattern": "dev/{text}.wav"}),
        (FOLDER | {"where": {"index": {"from": 0, "to": 4}}}, FOLDER | {"where": {"index": {"from": 5, "to": 9}}}),
        (HUB, HUB | {"split": "validation"}),
        (HUB, HUB | {"name": "owner/other"}),
        (VOICES | {"split": "test"}, VOICES | {"split": "dev"}),
    ],
)
def test_other_rows_of_each_source_are_accepted(leaky, test, alias):
    assert Plan(leaky(test, alias, dev={"a": "a-dev", "b": "alias"})).models


def test_columns_that_a_report_asks_for_hide_no_leak(leaky):
    raw = leaky(KALDI, KALDI, dev={"a": "a-dev", "b": "alias"})
    raw["experiments"]["e"]["by"] = ["gender"]
    refused(raw, "experiments.e.data.dev.b")


def test_a_source_of_another_package_is_known_by_all_of_its_settings(leaky, monkeypatch):
    class Cut(Section):
        path: str
        piece: str

    class Pieces(Source):
        name, settings = "pieces", Cut

        def files(self, corpus, languages, data_root):
            return [data_root / corpus["path"]]

    monkeypatch.setitem(SOURCES._items, "pieces", Pieces())
    first, second = ({"source": "pieces", "path": "t.tsv", "piece": piece} for piece in ("first", "second"))
    refused(leaky(first, first, dev={"a": "a-dev", "b": "alias"}), "experiments.e.data.dev.b")
    assert Plan(leaky(first, second, dev={"a": "a-dev", "b": "alias"})).models


def test_a_side_in_common_is_a_leak(two_files):
    refused(two_files, "experiments.e.data.dev.all", "'back' has rows of 'there'")


def test_large_files_are_not_read_to_their_ends(two_files, tmp_path):
    """These have holes of a terabyte, and would take hours."""
    for name, end in (("t.tsv", b"a\tb\n"), ("same.tsv", b"a\tb\n"), ("other.tsv", b"a\tc\n")):
        with (tmp_path / name).open("wb") as stream:
            stream.seek(2**40)
            stream.write(end)
    corpora = two_files["corpora"]
    corpora["there"]["path"], corpora["back"]["path"] = "t.tsv", "same.tsv"
    refused(two_files, "experiments.e.data.dev.all", "'back' has rows of 'there'")
    corpora["back"]["path"] = "other.tsv"
    assert Plan(two_files).models


def test_the_pipe_of_another_program_is_not_waited_for(two_files, tmp_path):
    os.mkfifo(tmp_path / "pipe.tsv")
    os.mkfifo(tmp_path / "other.tsv")
    corpora = two_files["corpora"]
    corpora["there"]["path"], corpora["back"]["path"] = "pipe.tsv", "other.tsv"
    assert Plan(two_files).models


@pytest.fixture
def two_files(tmp_path):
    for name in ("t.en", "t.fr", "t.de", "u.en", "u.fr"):
        (tmp_path / name).write_text(f"{name}\n")
    return {
        "data_root": str(tmp_path),
        "corpora": {
            "there": {"source": "parallel", "path": "t", "languages": ["en", "fr"]},
            "back": {"source": "parallel", "path": "t", "languages": ["en", "de"]},
            "train": {"source": "parallel", "path": "u", "languages": ["en", "fr"]},
        },
        "experiments": {
            "e": {
                "task": "nmt",
                "languages": ["en", "fr"],
                "data": {"train": "train", "dev": {"all": ["back"]}, "test": {"all": ["there"]}},
                "models": {
                    "raw": {"from": {"scratch": {"family": "marian"}}},
                    "base": {"train": "raw", "max_steps": 1},
                },
            }
        },
    }
