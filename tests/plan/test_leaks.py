"""A test set under another name is one still: known by files and filters, before any job."""

from copy import deepcopy

import pytest

from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError


@pytest.fixture
def leaky(small, tmp_path):
    """`leaky(settings of the test corpus b-test, settings of another)`: the configuration with a corpus `alias`, and its tables
    in a folder: t.tsv, copy.tsv (the same bytes), u.tsv."""
    for name, text in (("t.tsv", "a"), ("copy.tsv", "a"), ("u.tsv", "b")):
        (tmp_path / name).write_text(f"audio\ttext\tspeaker\nx.wav\t{text}\ts\n")

    def made(test, alias, **data):
        raw = deepcopy(small) | {"data_root": str(tmp_path)}
        raw["corpora"] |= {name: {"source": "manifest"} | c for name, c in (("b-test", test), ("alias", alias))}
        raw["experiments"]["e"]["data"] |= data
        return raw

    return made


TEST = {"path": "t.tsv"}
KNOWN = {
    "the same table": (TEST, TEST),
    "spelt otherwise": (TEST, {"path": "./t.tsv"}),
    "a copy": (TEST, {"path": "copy.tsv"}),
    "other normaliser, rate and columns": (TEST, TEST | {"normaliser": "basic", "sampling_rate": 8000}),
    "all rows and a part": (TEST | {"where": {"speaker": ["s"]}}, TEST),
    "a part and all rows": (TEST, TEST | {"where": {"speaker": ["s"]}}),
    "lists that meet": (TEST | {"where": {"speaker": ["s", "t"]}}, TEST | {"where": {"speaker": ["t", "u"]}}),
    "ranges that meet": (
        TEST | {"where": {"line": {"from": 0, "to": 9}}},
        TEST | {"where": {"line": {"from": 9, "to": 12}}},
    ),
    "the first of the same": (TEST, TEST | {"limit": 1}),
    "seconds that meet": (TEST | {"max_seconds": 5}, TEST | {"min_seconds": 4}),
}
APART = {
    "another table": (TEST, {"path": "u.tsv"}),
    "lists apart": (TEST | {"where": {"speaker": ["s"]}}, TEST | {"where": {"speaker": ["t"]}}),
    "ranges apart": (TEST | {"where": {"line": {"from": 0, "to": 9}}}, TEST | {"where": {"line": {"from": 10, "to": 12}}}),
    "a value outside a range": (TEST | {"where": {"line": [12]}}, TEST | {"where": {"line": {"from": 0, "to": 9}}}),
    "seconds apart": (TEST | {"max_seconds": 5}, TEST | {"min_seconds": 6}),
    "without": (TEST, TEST | {"without": ["b-test"]}),
    # what can't be known is counted in the report
    "other columns": (TEST | {"where": {"speaker": ["s"]}}, TEST | {"where": {"line": [3]}}),
    "some of all and a part": (TEST | {"where": {"speaker": ["s"]}}, TEST | {"limit": 5}),
}  # fmt: skip


@pytest.mark.parametrize("case", KNOWN)
def test_a_development_set_with_rows_of_a_test_set_is_refused(leaky, case):
    test, alias = KNOWN[case]
    with pytest.raises(
        ConfigurationError, match=r"^experiments.e.data.dev.b: 'alias' has rows of 'b-test', .* test set 'b'"
    ):
        Plan(leaky(test, alias, dev={"a": "a-dev", "b": "alias"}))


@pytest.mark.parametrize("case", APART)
def test_other_rows_of_the_same_place_are_no_leak(leaky, case):
    assert Plan(leaky(*APART[case], dev={"a": "a-dev", "b": "alias"})).models


def test_training_data_and_tokenizers_are_looked_at_too(leaky):
    with pytest.raises(ConfigurationError, match=r"^experiments.e.models.tuned.data.train: 'alias' has rows of"):
        Plan(leaky(TEST, TEST, train=["b-train", "alias"]))
    raw = leaky(TEST, TEST)
    raw["experiments"]["e"]["models"]["raw"]["data"] = {"train": ["a-train", "alias"]}
    with pytest.raises(ConfigurationError, match=r"^experiments.e.models.raw.data.train: 'alias' has rows of"):
        Plan(raw)


def test_a_relabelled_corpus_and_its_labellers_are_looked_at(leaky):
    raw = leaky(TEST, TEST)
    raw["corpora"]["pseudo"] = {"source": "relabelled", "corpus": "alias", "by": "base"}
    raw["experiments"]["e"]["models"]["healed"]["data"] = {"train": "pseudo"}
    with pytest.raises(ConfigurationError, match=r"^corpora.pseudo.corpus: 'alias' has rows of 'b-test'"):
        Plan(raw)


def test_generated_rows_and_folders_are_known_by_their_settings(small):
    def dev(**more):
        raw = deepcopy(small)
        raw["corpora"]["alias"] = raw["corpora"]["b-test"] | more
        raw["experiments"]["e"]["data"]["dev"] = {"a": "a-dev", "b": "alias"}
        return raw

    with pytest.raises(ConfigurationError, match="'alias' has rows of 'b-test'"):
        Plan(dev(size=7))
    assert Plan(dev(seed=2)).models
    raw = deepcopy(small)
    folder = {"source": "folder", "path": "r", "pattern": "{text}_{speaker}_{index}.wav"}
    raw["corpora"] |= {"b-test": folder | {"where": {"index": {"from": 0, "to": 4}}}, "alias": folder}
    raw["experiments"]["e"]["data"]["dev"] = {"a": "a-dev", "b": "alias"}
    with pytest.raises(ConfigurationError, match="'alias' has rows of 'b-test'"):
        Plan(raw)
    raw["corpora"]["alias"] = folder | {"where": {"index": {"from": 5, "to": 9}}}
    assert Plan(raw).models


def test_a_side_in_common_is_a_leak(two_files):
    with pytest.raises(ConfigurationError, match=r"^experiments.e.data.dev.all: 'back' has rows of 'there'"):
        Plan(two_files)


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
