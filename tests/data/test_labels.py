"""Labels are spelled once for each tokenizer and corpus."""

import numpy as np
import pytest

from consomme.common.errors import Unusable
from consomme.data.labels import labels_of
from consomme.data.prepared import Rows


class Speller:
    """Stands for a family: a letter a token, the language before them, and a count of what it was asked for."""

    name = "speller"

    def __init__(self):
        self.calls = 0

    def labels(self, processor, text, languages):
        self.calls += 1
        if len(text) > 5:
            raise Unusable("too long", text)
        return [ord(languages[-1][0]), *map(ord, text)]


@pytest.fixture
def rows(tmp_path, prepare):
    (tmp_path / "p.en").write_text("a\nb\nc\n")
    (tmp_path / "p.fr").write_text("un\ndeuxxxx\ntrois\n")
    return prepare({"source": "parallel", "path": "p"}, "nmt")


def test_they_are_those_of_the_family_and_computed_once(rows, tmp_path):
    family = Speller()
    for _ in range(2):
        found = labels_of(family, None, rows, tmp_path / "cache", "key", ["en", "fr"])
        assert [row.tolist() for row in found] == [[102, 117, 110], [], [102, *map(ord, "trois")]]
        assert found[0].dtype == np.int32 and not found[0].flags.writeable
        assert found.lengths.tolist() == [3, 0, 6] and found.problems == {1: ("too long", "too long: deuxxxx")}
    assert family.calls == 3
    some = labels_of(family, None, rows.select([2, 0]), tmp_path / "cache", "key", ["en", "fr"])
    assert family.calls == 3 and some.lengths.tolist() == [6, 3]


def test_another_tokenizer_or_language_has_others(rows, tmp_path):
    family = Speller()
    for key, target in (("key", "fr"), ("another", "fr"), ("key", "de"), ("key", "fr")):
        first = labels_of(family, None, rows, tmp_path / "cache", key, ["en", target])[0]
        assert first[0] == ord(target[0])
    assert family.calls == 9


def test_several_corpora(rows, tmp_path, out):
    both = Rows.open({"one": out(), "two": out()})
    family = Speller()
    found = labels_of(family, None, both.select([5, 0]), tmp_path / "cache", "key", ["en", "fr"])
    assert found.lengths.tolist() == [6, 3] and family.calls == 3
