"""Recall of rare words and of a glossary's terms."""

import json
from pathlib import Path

import numpy as np
import pytest

from consomme.common.errors import ConsommeError
from consomme.report.evidence.scores import scores
from consomme.report.outcomes import Outcomes
from consomme.report.terms import glossary, metric_of, recall, share


def of(terms, references, hypotheses, language="", normaliser="basic"):
    return recall(references, hypotheses, normaliser, language, terms).tolist()


def test_a_term_is_found_as_often_as_it_is_said_and_wanted():
    assert of(["heart"], ["heart to heart", "a heart", "no"], ["heart", "heart heart", "heart"]) == [
        [1, 2],
        [1, 1],
        [0, 0],
    ]
    assert of(["heart attack"], ["a heart attack", "heart attack"], ["attack heart", "the Heart  attack!"]) == [
        [0, 1],
        [1, 1],
    ]
    assert float(share(np.array([3.0, 4.0]))) == 75 and float(share(np.zeros(2))) == 0


def test_texts_are_compared_as_errors_are():
    assert of(["It's"], ["IT’S here."], ["its"]) == [[0, 1]]
    assert of(["Its"], ["its here."], ["ITS,"]) == [[1, 1]]
    assert of(["Its"], ["its here."], ["ITS,"], normaliser="verbatim") == [
        [1, 1]
    ]  # raw text: without case and punctuation
    assert of(["天气"], ["今天 天气好"], ["天气"], "zh") == of(["天 气"], ["今天天气"], ["天气"], "zh") == [[1, 1]]


def test_other_terms_are_another_metric():
    one, same, other = (metric_of("glossary", t, "f") for t in (["a", "b"], ["b", "a", "a"], ["a"]))
    signatures = [m.signature("basic", "en") for m in (one, same, other)]
    assert signatures[0] == signatures[1] != signatures[2] and "2 terms" in signatures[0]


def test_a_glossary_is_a_term_a_line(tmp_path):
    (tmp_path / "terms.txt").write_text("\ufeffheart attack\n\n stroke \n", encoding="utf-8")
    assert glossary(tmp_path / "terms.txt") == ["heart attack", "stroke"]
    (tmp_path / "none.txt").write_text("\n")
    for name in ("none.txt", "absent.txt"):
        with pytest.raises(ConsommeError, match=f"{name}.*a term a line is wanted"):
            glossary(tmp_path / name)


@pytest.fixture
def spec(build_tree, corpus):
    """Training has `sea` once and every other word of the tests twice; `terms.txt` has `sea` and a word that nobody says."""
    made = json.loads(json.dumps(build_tree(claims=[], replicates=(1,), count=20)))
    folders = [Path(folder) for name, folder in made["corpora"].items() if not name.endswith("train")]
    from consomme.data.prepared import Rows

    words = sorted({w for folder in folders for text in Rows.open([folder]).targets for w in text.split()} - {"sea"})
    rows = [{"id": str(n), "source": "", "target": " ".join(words)} for n in range(2)]
    corpus(
        Path(made["corpora"]["medical-train"]), "medical-train", [*rows, {"id": "2", "source": "", "target": "Sea!"}]
    )
    Path("terms.txt").write_text("sea\nxylophone\n")
    return made


def test_rare_words_are_those_that_training_has_seldom(spec, tmp_path):
    table = scores(Outcomes(spec | {"rare_words": 1, "glossary": "terms.txt"}, tmp_path / "cache"))
    wide = table.pivot_table("value", ["model", "split", "set"], "metric")
    assert {"rare-words", "glossary", "bleu", "chrf"} == set(wide.columns)
    np.testing.assert_array_equal(wide["rare-words"], wide["glossary"])  # `sea` is the one rare word
    assert 0 < wide["rare-words"].mean() < 100
    every = Outcomes(spec | {"rare_words": 2}, tmp_path / "cache")
    assert "at most 2 times in medical-train" in every.signature("rare-words")
    sheet = every.sheet("base", "1", "test", "general")
    words = sum(len(text.split()) for text in every.rows(sheet.corpora).targets)
    assert every.statistics(sheet, "rare-words")[:, 1].sum() == words
    assert Outcomes(spec, tmp_path / "cache").details == []


def test_known_rare_words_are_not_counted_again(spec, tmp_path, monkeypatch):
    first = Outcomes(spec | {"rare_words": 1}, tmp_path / "cache").signature("rare-words")
    monkeypatch.setattr("consomme.report.terms._texts", None)
    assert Outcomes(spec | {"rare_words": 1}, tmp_path / "cache").signature("rare-words") == first
