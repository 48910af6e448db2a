"""p-values and intervals against exact enumeration, closed forms and simulated truth."""

import itertools
from dataclasses import fields
from math import comb
from pathlib import Path

import numpy as np
import pytest

from consomme.data.prepared import clusters
from consomme.evaluate.bootstrap import unit_sums
from consomme.report.evidence import bootstrap
from consomme.report.evidence.bootstrap import Stratum, differences, interval, non_inferiority, resampled_differences
from consomme.report.evidence.claims import Comparison, Question, _strata
from consomme.report.evidence.holm import holm
from consomme.report.evidence.randomisation import randomisation, randomised_differences
from consomme.report.outcomes import Outcomes, Sheet


def rate(sums):
    return 100.0 * sums[..., 0] / sums[..., 1]


def paired(model, against):
    """One comparison, one replicate, from errors of each unit of length 10."""
    length = np.full(len(model), 10.0)
    return Stratum(np.stack([model, length], 1)[None, None], np.stack([against, length], 1)[None, None])


def test_randomisation_is_exact_enumeration_of_swaps():
    rng = np.random.default_rng(0)
    model, against = rng.integers(0, 6, 9).astype(float), rng.integers(0, 8, 9).astype(float)
    gap = model - against
    seen = abs(gap.sum())
    exact = np.mean([abs(np.dot(signs, gap)) >= seen for signs in itertools.product([-1, 1], repeat=9)])
    found = randomisation([paired(model, against)], rate, trials=40_000)[0]
    assert found == pytest.approx(exact, abs=0.01)


def test_p_is_one_for_equal_answers_and_never_zero():
    same = np.arange(10.0)
    assert randomisation([paired(same, same)], rate, trials=500)[0] == 1.0
    far = randomisation([paired(np.zeros(200), np.full(200, 9.0))], rate, trials=500)[0]
    assert far == pytest.approx(1 / 501)


def test_the_sign_test_is_a_special_case():
    # differences of one size: the sum is binomial
    model, against = np.array([1.0] * 9 + [0.0] * 3), np.array([0.0] * 9 + [1.0] * 3)
    exact = 2 * sum(comb(12, k) for k in range(9, 13)) / 2**12
    assert randomisation([paired(model, against)], rate, trials=40_000)[0] == pytest.approx(exact, abs=0.01)


def test_randomisation_calls_five_per_cent_of_null_comparisons():
    rng = np.random.default_rng(1)
    comparisons, units = 600, 80
    hard = rng.gamma(2.0, 1.0, (comparisons, units))  # what is hard is hard for both
    counts = rng.poisson(hard, (2, comparisons, units)).astype(float)
    sums = np.stack([counts, np.full_like(counts, 10.0)], -1)[:, :, None]
    p = randomisation([Stratum(sums[0], sums[1])], rate, trials=400)
    assert 0.03 < np.mean(p <= 0.05) < 0.07
    assert 0.45 < np.mean(p <= 0.5) < 0.55


def test_rows_of_one_recording_are_one_unit():
    """Strings made of the same recordings: taken one by one they seem to prove what isn't there."""
    rng = np.random.default_rng(2)
    comparisons, units, copies = 300, 30, 8
    counts = rng.poisson(2.0, (2, comparisons, units)).astype(float)
    rows = np.repeat(counts, copies, axis=2)
    owner = np.repeat(np.arange(units), copies)

    def stratum(by_unit):
        sums = np.stack([rows, np.full_like(rows, 10.0)], -1)
        if by_unit:
            sums = np.stack([[unit_sums(one, owner) for one in side] for side in sums])
        return Stratum(sums[0][:, None], sums[1][:, None])

    naive = np.mean(randomisation([stratum(False)], rate, trials=200) <= 0.05)
    whole = np.mean(randomisation([stratum(True)], rate, trials=200) <= 0.05)
    assert whole < 0.09
    assert naive > 0.3


def test_bootstrap_of_a_mean_has_its_standard_error():
    rng = np.random.default_rng(3)
    model, against = rng.normal(3, 1.5, 400), rng.normal(3.2, 1.5, 400)
    resampled = resampled_differences([paired(model, against)], rate, -1.0)[0]
    gap = 10 * (against - model)
    error = gap.std() / np.sqrt(len(gap))
    low, high = interval(resampled)
    assert resampled.std() == pytest.approx(error, rel=0.03)
    assert low == pytest.approx(gap.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(gap.mean() + 1.96 * error, abs=0.15 * error)
    assert bootstrap.detectable(resampled) == pytest.approx(2.8 * error, rel=0.03)


def test_the_sign_says_better():
    worse = paired(np.full(10, 4.0), np.full(10, 3.0))  # more errors
    assert differences([worse], rate, -1.0)[0, 0] == pytest.approx(-10.0)


def test_non_inferiority_depends_on_the_margin():
    rng = np.random.default_rng(4)
    against = rng.poisson(3.0, 300).astype(float)
    model = against + (rng.random(300) < 0.05)  # half a point worse
    resampled = resampled_differences([paired(model, against)], rate, -1.0)
    p = [non_inferiority(resampled, m, 300)[0] for m in (0.1, 0.5, 2.0)]
    assert p[0] > 0.9 and p[2] < 0.001 and p[0] > p[1] > p[2] > 0


def test_a_handful_of_units_shows_nothing():
    """One unit is resampled to itself; four can't be told from chance, whatever they say."""
    for units, shown in ((1, False), (4, False), (5, True)):
        same = np.full(units, 3.0)
        p = non_inferiority(resampled_differences([paired(same, same)], rate, -1.0), 0.5, units)[0]
        assert p == 2.0**-units and (p < 0.05) == shown


def test_replicates_on_the_same_rows_move_together():
    rng = np.random.default_rng(5)
    model, against = rng.poisson(3.0, (2, 100)).astype(float)
    one = paired(model, against)
    thrice = Stratum(np.repeat(one.model, 3, axis=1), np.repeat(one.against, 3, axis=1))
    apart = [one, one, one]
    single = resampled_differences([one], rate, -1.0, 2000)[0].std()
    # three copies of one outcome tell no more than one; three independent tests do
    assert resampled_differences([thrice], rate, -1.0, 2000)[0].std() == pytest.approx(single, rel=1e-9)
    assert resampled_differences(apart, rate, -1.0, 2000)[0].std() == pytest.approx(single / np.sqrt(3), rel=0.1)
    assert randomisation([thrice], rate, 2000)[0] == randomisation([one], rate, 2000)[0]
    swapped = randomised_differences(apart, rate, 2000)[0].std()
    assert swapped == pytest.approx(randomised_differences([one], rate, 2000)[0].std() / np.sqrt(3), rel=0.1)


def test_a_comparison_does_not_depend_on_its_company():
    rng = np.random.default_rng(6)
    model, against = rng.poisson(3.0, (2, 4, 50)).astype(float)
    alone = [randomisation([paired(m, a)], rate, 1000)[0] for m, a in zip(model, against, strict=True)]
    together = Stratum(
        *(
            np.concatenate([getattr(paired(m, a), side) for m, a in zip(model, against, strict=True)])
            for side in ("model", "against")
        )
    )
    assert randomisation([together], rate, 1000).tolist() == alone


def test_holm_known_answers():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_agrees_with_sacrebleu():
    """The same p as sacreBLEU's own paired randomisation, within the noise of the trials."""
    import random

    pytest.importorskip("sacrebleu")
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    from consomme.evaluate.metrics import metric_named

    rng = random.Random(0)
    words = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
    references = [" ".join(rng.choices(words, k=12)) for _ in range(60)]

    def spoil(share):
        return [" ".join(w if rng.random() > share else "x" for w in r.split()) for r in references]

    first, second = spoil(0.14), spoil(0.18)
    theirs = PairedTest(
        [("against", second), ("model", first)], {"BLEU": BLEU()}, [references], test_type="ar", n_samples=3000
    )()[1]["BLEU"][1].p_value
    metric = metric_named("bleu")
    sums = [metric.statistics(references, h, "verbatim")[None, None] for h in (first, second)]
    assert randomisation([Stratum(*sums)], metric.value, 3000)[0] == pytest.approx(theirs, abs=0.04)


@pytest.mark.parametrize(
    ("hypothesis", "margin", "difference", "high", "p", "wanted"),
    [
        ("beats", None, 2, 3, 0.01, "holds"),
        ("beats", None, -2, -1, 0.01, "fails"),
        ("beats", None, -2, 1, 0.2, "open"),
        ("beats", None, 0, 0, 0.01, "open"),
        ("keeps", 3, -1, 0, 0.01, "holds"),
        ("keeps", 3, -2, 0, 0.2, "open"),
        ("keeps", 3, -6, -4, 1.0, "fails"),
    ],
)
def test_verdicts(hypothesis, margin, difference, high, p, wanted):
    given = {"hypothesis": hypothesis, "margin": margin, "difference": difference, "ci_high": high, "p_holm": p}
    others = {f.name: None for f in fields(Comparison) if f.name not in given}
    assert Comparison(**given, **others).verdict == wanted


@pytest.mark.parametrize("test", ["bootstrap", "randomisation"])
def test_units_that_replicates_share_move_for_both(test):
    """Two replicates of 200 utterances each that agree on the 100 which they share: 0.75 of the variance of one utterance
    over 200, where replicates taken for independent would have 0.5."""
    random = np.random.default_rng(3)
    shared, first, second = (random.integers(-3, 4, 100) for _ in range(3))

    def stratum(errors, *places):
        model = np.stack([np.where(errors > 0, 0, -errors), np.full(100, 10)], 1).astype(float)
        against = np.stack([np.where(errors > 0, errors, 0), np.full(100, 10)], 1).astype(float)
        return Stratum(*(np.repeat(x[None, None], len(places), axis=1) for x in (model, against)), places)

    apart = [
        Stratum(*(np.concatenate([getattr(s, side) for s in pair], axis=2) for side in ("model", "against")), (place,))
        for place, pair in enumerate(
            [(stratum(shared, 0), stratum(first, 0)), (stratum(shared, 1), stratum(second, 1))]
        )
    ]
    together = [stratum(shared, 0, 1), stratum(first, 0), stratum(second, 1)]
    assert differences(together, rate, -1) == pytest.approx(differences(apart, rate, -1))
    draw = {
        "bootstrap": lambda strata: resampled_differences(strata, rate, -1, 4000)[0].std(),
        "randomisation": lambda strata: randomised_differences(strata, rate, 4000)[0].std(),
    }[test]
    assert draw(together) / draw(apart) == pytest.approx(np.sqrt(1.5), rel=0.06)


class Recited:
    """Rows as they are prepared, each (id, document)."""

    def __init__(self, rows):
        self.ids, documents = zip(*rows, strict=True)
        self.corpora = ["corpus"] * len(rows)
        self.units = clusters([[("d", d)] for d in documents])


def strata(rows):
    """The strata of replicates with these rows, {replicate: [(id, document)]}; each row counts the code of its id."""
    opened = {**{(r,): Recited(found) for r, found in rows.items()}}
    everything = Recited(list(dict.fromkeys(row for found in rows.values() for row in found)))
    spec = {"corpora": {r: r for r in rows}}
    outcomes = Outcomes(spec, Path("cache"), lambda corpora: opened.get(tuple(corpora), everything))
    sheets = {
        (m, r): Sheet(m, "train", r, "test", "t", "d", Path(r), f"{m} {r}", r, (r,), len(found))
        for r, found in rows.items()
        for m in ("new", "old")
    }
    outcomes.sheet = lambda model, replicate, split, name: sheets[model, replicate]
    for (m, r), sheet in sheets.items():
        counted = np.array([[ord(i) + 1000.0 * (m == "new")] for i, _ in rows[r]])
        outcomes._statistics[sheet.content, "wer"] = counted
    found = _strata(outcomes, [Question("1", "new", "old", "t", "wer")], "wer", list(rows))
    for stratum in found:
        assert stratum.model.shape == stratum.against.shape
    return {s.places: s.against[0, :, :, 0].astype(int).tolist() for s in found}


def test_strata_are_the_units_by_the_replicates_that_were_tested_on_them():
    rows = {"1": "abc", "2": "cdb", "3": "e"}
    a, b, c, d, e = map(ord, "abcde")
    found = strata({r: [(x, x) for x in found] for r, found in rows.items()})
    assert found == {(0,): [[a]], (0, 1): [[b, c], [b, c]], (1,): [[d]], (2,): [[e]]}


def test_rows_of_one_document_are_one_unit_in_whichever_replicate_they_stand():
    found = strata(
        {"1": [("a", "x"), ("b", "x"), ("c", "y")], "2": [("d", "x"), ("e", "z")], "3": [("f", "x"), ("c", "y")]}
    )
    a, b, c, d, e, f = map(ord, "abcdef")
    assert found == {(0, 1, 2): [[a + b], [d], [f]], (0, 2): [[c], [c]], (1,): [[e]]}
