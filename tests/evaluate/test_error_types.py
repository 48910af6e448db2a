"""Kinds of errors: answers by construction, and jiwer's own counts."""

import random

import jiwer
import numpy as np
import pytest

from consomme.evaluate.metrics import details_of, metric_named

TYPES = ["substitutions", "deletions", "insertions", "deletions-start", "deletions-end", "mer", "ser", "hallucinations"]


def rates(references, hypotheses, language="", normaliser="verbatim"):
    found = {}
    for name in TYPES:
        metric = metric_named(name)
        counts = metric.statistics(references, hypotheses, normaliser, language)
        found[name] = float(metric.value(counts.sum(0)))
    return found


def hallucinated(reference, hypothesis):
    return rates([reference], [hypothesis])["hallucinations"] == 100


def test_speech_has_them_and_translation_has_not():
    assert details_of("asr") == TYPES and details_of("nmt") == []


def test_each_kind_is_counted():
    found = rates(["a b c d", "e f g h i j", "k"], ["a x c d", "f g z h i j", "k"])
    assert found["substitutions"] == pytest.approx(100 / 11)  # b → x
    assert found["deletions"] == found["deletions-start"] == pytest.approx(100 / 11)  # e
    assert found["insertions"] == pytest.approx(100 / 11)  # z
    assert found["deletions-end"] == found["hallucinations"] == 0
    assert found["mer"] == pytest.approx(300 / 12)
    assert found["ser"] == pytest.approx(200 / 3)


def test_together_they_are_what_jiwer_and_the_word_error_rate_say():
    draw = random.Random(5)
    references = [" ".join(draw.choices("abcdefg", k=draw.randrange(1, 12))) for _ in range(80)]
    hypotheses = [" ".join(draw.choices("abcdefg", k=draw.randrange(0, 12))) for _ in range(80)]
    found, whole = rates(references, hypotheses), jiwer.process_words(references, hypotheses)
    words = whole.hits + whole.substitutions + whole.deletions
    for name in ("substitutions", "deletions", "insertions"):
        assert found[name] == pytest.approx(100 * getattr(whole, name) / words)
    assert found["mer"] == pytest.approx(100 * whole.mer)
    wer = metric_named("wer")
    total = sum(found[name] for name in ("substitutions", "deletions", "insertions"))
    assert total == pytest.approx(wer.value(wer.statistics(references, hypotheses, "verbatim").sum(0)))


@pytest.mark.parametrize(
    ("hypothesis", "start", "end"),
    [("a b c d", 0, 0), ("c d", 2, 0), ("a b", 0, 2), ("b c", 1, 1), ("a d", 0, 0), ("", 0, 4), ("a x c d", 0, 0)],
)
def test_what_is_cut_off(hypothesis, start, end):
    found = rates(["a b c d"], [hypothesis])
    assert (found["deletions-start"], found["deletions-end"]) == (25 * start, 25 * end)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "wanted"),
    [
        ("", "thank you", True),  # text where there is none
        ("", "", False),
        ("a b", "", False),
        ("yes", "a b c d e f", True),  # more than twice as long, and five words more
        ("yes", "a b c d e", False),  # four words more
        ("a b c d e", "f g h i j k l m n o", False),  # twice as long, and not more
        ("a b c d e", "f g h i j k l m n o p", True),
        ("a b c d e f g h i j", "a b c d a b c d a b c d", True),  # three times what stands there once
        ("a b c d a b c d a b c d", "a b c d a b c d a b c d", False),  # as in the reference
        ("a b c d e f g h", "a b c d a b c d", False),  # twice, once in the reference
        ("no it is not so", "no no no no no no", True),  # one word again and again
    ],
)
def test_what_nobody_said(reference, hypothesis, wanted):
    assert hallucinated(reference, hypothesis) == wanted


def test_without_spaces_characters_are_words_and_the_normaliser_acts():
    assert rates(["今天 天气好"], ["今天天汽"], "zh")["substitutions"] == pytest.approx(20)
    assert rates(["今天 天气好"], ["今天天汽"], "zh")["deletions-end"] == pytest.approx(20)
    assert rates(["It's HERE."], ["it’s here"], normaliser="basic")["ser"] == 0


def test_all_are_values_of_one_count():
    records = [metric_named(name) for name in TYPES]
    assert {(m.counted_as, m.statistics, m.signature("basic", "en")) for m in records} == {
        ("error-types", records[0].statistics, records[0].signature("basic", "en"))
    }
    np.testing.assert_array_equal(records[0].statistics(["a"], ["b"], "verbatim", ""), [[1, 0, 0, 0, 0, 1, 1, 0, 1]])
