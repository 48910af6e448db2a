"""Development and test sets that are one set under two names, known by their rows."""

import pytest

from consomme.common.errors import ConsommeError
from consomme.data.overlap import refuse_twins


@pytest.fixture
def pairs(tmp_path, prepare):
    """`pairs("name", ["a b", ...])`: rows with these sources, and targets made of them."""

    def made(name, sources, targets=None):
        lines = [f"{s}\t{t}\n" for s, t in zip(sources, targets or [s.upper() * 2 for s in sources], strict=True)]
        (tmp_path / f"{name}.tsv").write_text("".join(lines))
        return prepare({"source": "parallel", "path": f"{name}.tsv"}, "nmt", name=name)

    return made


def test_rows_in_another_order_and_spelling_are_the_same(pairs):
    dev = pairs("dev", ["One.", "two", "three", "more"], ["Un!", "deux", "trois", "plus"])
    test = pairs("test", ["three", "one", "TWO"], ["trois", "un", "Deux."])
    with pytest.raises(
        ConsommeError, match=r"3 of 3 rows of the test set 't' \(test\) are in the development set 'd' \(dev; 4 rows\)"
    ):
        refuse_twins({"d": dev}, {"other": pairs("other", ["x", "y"]), "t": test})


def test_half_of_the_smaller_set_is_too_much_and_less_is_not(pairs):
    dev = pairs("dev", ["a", "b", "c", "d"])
    refuse_twins({"d": dev}, {"t": pairs("test", ["a", "x", "y", "z"])})
    refuse_twins({"d": dev}, {})
    with pytest.raises(ConsommeError, match="2 of 9 rows"):
        refuse_twins({"d": dev}, {"t": pairs("large", ["a", "b", *"qrstuvw"])})


def test_a_pair_is_both_of_its_sides(pairs):
    refuse_twins({"d": pairs("dev", ["a", "b"], ["x", "y"])}, {"t": pairs("test", ["a", "b"], ["v", "w"])})


def test_recordings_are_known_by_their_sound(wav, prepare):
    corpora = {}
    for name, files in (("dev", (0, 1, 2)), ("test", (2, 1)), ("else", (7, 8))):
        for place, k in enumerate(files):
            wav(f"{name}/said_{name}_{place}.wav", k)
        pattern = {"source": "folder", "path": name, "pattern": "{text}_{speaker}_{index}.wav"}
        corpora[name] = prepare(pattern, name=name)
    refuse_twins({"d": corpora["dev"]}, {"e": corpora["else"]})
    with pytest.raises(ConsommeError, match="2 of 2 rows of the test set 't'"):
        refuse_twins({"d": corpora["dev"]}, {"t": corpora["test"]})
