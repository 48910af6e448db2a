"""The metrics against the packages that define them, on text that includes the awkward cases."""

import random
import subprocess
import sys

import jiwer
import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from consomme.common.errors import ConsommeError
from consomme.evaluate.metrics import TABLE, metric_named, metrics_of

WORDS = ["a", "the", "cat", "sat", "on", "mat", "Straße", "l'été", "don't", "3.5", "über;", "naïve,", "x"]


def texts(seed, n=60, empties=True):
    draw = random.Random(seed)
    pairs = []
    for _ in range(n):
        reference = [draw.choice(WORDS) for _ in range(draw.randrange(1, 14))]
        hypothesis = [w if draw.random() < 0.7 else draw.choice(WORDS) for w in reference if draw.random() < 0.9]
        pairs.append((" ".join(reference), " ".join(hypothesis)))
    if empties:
        pairs += [("", ""), ("the cat", ""), ("", "the cat sat")]
    return [list(side) for side in zip(*pairs, strict=True)]


def of_sums(name, references, hypotheses):
    metric = metric_named(name)
    return float(metric.value(metric.statistics(references, hypotheses, "verbatim").sum(axis=0)))


@pytest.mark.parametrize("seed", range(5))
def test_bleu_and_chrf_equal_sacrebleu(seed):
    references, hypotheses = texts(seed)
    assert of_sums("bleu", references, hypotheses) == pytest.approx(
        BLEU(force=True).corpus_score(hypotheses, [references]).score, abs=1e-9
    )
    assert of_sums("chrf", references, hypotheses) == pytest.approx(
        CHRF().corpus_score(hypotheses, [references]).score, abs=1e-9
    )


@pytest.mark.parametrize(
    ("references", "hypotheses"),
    [
        (["the cat sat on the mat today"], ["the cat lay on a mat"]),  # no 4-gram: smoothed
        (["the cat sat on the mat today"], ["today mat cat on"]),  # no 2-, 3-, 4-gram: smoothed more each time
        (["the cat sat on the mat"], ["the cat"]),  # too short for 3-grams: 0
        (["the cat sat on the mat"], ["dogs bark"]),  # nothing right
        (["the cat sat on the mat"], [""]),
        ([""], ["the cat"]),
        ([""], [""]),
        (["a b c d e f"], ["a b c d e f"]),
        (["a b c d e f"], ["a b c d"]),  # brevity
    ],
)
def test_bleu_and_chrf_at_the_edges(references, hypotheses):
    assert of_sums("bleu", references, hypotheses) == pytest.approx(
        BLEU(force=True).corpus_score(hypotheses, [references]).score, abs=1e-9
    )
    assert of_sums("chrf", references, hypotheses) == pytest.approx(
        CHRF().corpus_score(hypotheses, [references]).score, abs=1e-9
    )


@pytest.mark.parametrize("seed", range(3))
def test_error_rates_equal_jiwer(seed):
    references, hypotheses = texts(seed)
    assert of_sums("wer", references, hypotheses) == pytest.approx(100 * jiwer.wer(references, hypotheses), abs=1e-9)
    assert of_sums("cer", references, hypotheses) == pytest.approx(100 * jiwer.cer(references, hypotheses), abs=1e-9)


def test_word_errors_of_each_utterance_are_the_edit_distance():
    def distance(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            row, above = [i], row
            for j, y in enumerate(b, 1):
                row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
        return row[-1]

    references, hypotheses = texts(11)
    words = [[distance(r.split(), h.split()), len(r.split())] for r, h in zip(references, hypotheses, strict=True)]
    characters = [[distance(r, h), len(r)] for r, h in zip(references, hypotheses, strict=True)]
    np.testing.assert_array_equal(metric_named("wer").statistics(references, hypotheses, "verbatim"), words)
    np.testing.assert_array_equal(metric_named("cer").statistics(references, hypotheses, "verbatim"), characters)


def test_an_empty_reference_counts_insertions():
    np.testing.assert_array_equal(metric_named("wer").statistics(["", ""], ["a b", ""], "verbatim"), [[2, 0], [0, 0]])
    assert of_sums("wer", ["", "a b c d"], ["x", "a b c d"]) == 25.0


def test_any_white_space_parts_words_and_the_normaliser_acts():
    wer = metric_named("wer")
    np.testing.assert_array_equal(wer.statistics(["a\tb  c"], [" a b\nc "], "verbatim"), [[0, 3]])
    np.testing.assert_array_equal(wer.statistics(["It's HERE."], ["it’s here"], "basic"), [[0, 2]])
    np.testing.assert_array_equal(wer.statistics(["It's HERE."], ["it’s here"], "verbatim"), [[2, 2]])
    np.testing.assert_array_equal(wer.statistics(["Ab"], ["ab"], str.lower), [[0, 1]])


@pytest.mark.parametrize("name", list(TABLE))
def test_values_of_many_sums_at_once(name):
    metric = metric_named(name)
    sums = np.random.default_rng(0).integers(0, 9, size=(4, 50, metric.size)).astype(float)
    together = metric.value(sums)
    assert together.shape == (4, 50)
    np.testing.assert_array_equal(together, [[metric.value(one) for one in row] for row in sums])
    assert np.isfinite(together).all()
    assert float(metric.value(np.zeros(metric.size))) == 0.0


@pytest.mark.parametrize("name", [n for n, m in TABLE.items() if m.needs == "hypotheses"])
def test_no_rows_have_statistics_too(name):
    metric = metric_named(name)
    assert metric.statistics([], [], "verbatim").shape == (0, metric.size)
    assert metric.statistics(["a b"], ["a"], "verbatim").shape == (1, metric.size)


def test_the_table_knows_directions_tasks_and_signatures():
    assert [m.name for m in metrics_of("nmt", "hypotheses")] == ["bleu", "chrf"]
    assert [m.name for m in metrics_of("asr")] == ["wer", "cer", "loss"]
    assert metric_named("bleu").gain(3.0) == 3.0
    assert metric_named("wer").gain(3.0) == -3.0
    assert "tok:13a|smooth:exp" in metric_named("bleu").signature()
    assert "nc:6|nw:0" in metric_named("chrf").signature()
    with pytest.raises(ConsommeError, match="did you mean 'bleu'"):
        metric_named("blue")
    with pytest.raises(ConsommeError, match="needs the model"):
        metric_named("loss").statistics(["a"], ["a"], "verbatim")


def test_the_table_imports_nothing_heavy():
    heavy = ["numpy", "torch", "jiwer", "sacrebleu", "pandas", "transformers"]
    code = "import sys, consomme.evaluate.metrics, consomme.evaluate.choice\n"
    code += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
