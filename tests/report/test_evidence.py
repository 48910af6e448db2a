"""p-values and intervals against exact enumeration, closed forms, other packages and simulated truth."""

import itertools
import random
import re
from dataclasses import fields
from math import comb
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from scipy import stats

from consomme.data.prepared import clusters
from consomme.evaluate.bootstrap import unit_sums
from consomme.evaluate.metrics import metric_named
from consomme.report.evidence import crossed, student
from consomme.report.evidence.claims import Comparison, compare, paired
from consomme.report.evidence.holm import holm
from consomme.report.evidence.paired import Pulls, Tested, count, differences, pulls, pulls_of
from consomme.report.evidence.questions import Question
from consomme.report.evidence.randomisation import randomisation, randomised_differences
from consomme.report.evidence.visible import Variances, foreseen, measurable, visible
from consomme.report.outcomes import Outcomes, Sheet
from consomme.report.words.claims import claim_line


def rate(sums):
    return 100.0 * sums[..., 0] / np.maximum(sums[..., 1], 1)


def one_of(model, against, units=None):
    """One comparison, one replicate, from errors of each unit of length 10."""
    sides = (np.stack([np.asarray(side, float), np.full(len(side), 10.0)], 1)[None] for side in (model, against))
    return Tested(*sides, np.arange(len(model)) if units is None else np.asarray(units))


# -- of these models ---------------------------------------------------------------------------------------------------


def test_randomisation_is_exact_enumeration_of_swaps():
    rng = np.random.default_rng(0)
    model, against = rng.integers(0, 6, 9).astype(float), rng.integers(0, 8, 9).astype(float)
    gap = model - against
    seen = abs(gap.sum())
    exact = np.mean([abs(np.dot(signs, gap)) >= seen for signs in itertools.product([-1, 1], repeat=9)])
    found = randomisation([one_of(model, against)], rate, trials=40_000)[0]
    assert found == pytest.approx(exact, abs=0.01)


def test_p_is_one_for_equal_answers_and_never_zero():
    same = np.arange(10.0)
    assert randomisation([one_of(same, same)], rate, trials=500)[0] == 1.0
    far = randomisation([one_of(np.zeros(200), np.full(200, 9.0))], rate, trials=500)[0]
    assert far == pytest.approx(1 / 501)


def test_the_sign_test_is_a_special_case():
    # differences of one size: the sum is binomial
    model, against = np.array([1.0] * 9 + [0.0] * 3), np.array([0.0] * 9 + [1.0] * 3)
    exact = 2 * sum(comb(12, k) for k in range(9, 13)) / 2**12
    assert randomisation([one_of(model, against)], rate, trials=40_000)[0] == pytest.approx(exact, abs=0.01)


def test_randomisation_agrees_with_scipys_permutations_and_students_t():
    rng = np.random.default_rng(7)
    for shift in (0.1, 0.25, 0.4):
        gap = rng.poisson(2.0, 120) - rng.poisson(2.0 + shift, 120)
        found = randomisation([one_of(np.maximum(gap, 0), np.maximum(-gap, 0))], rate)[0]
        theirs = stats.permutation_test((gap,), np.sum, permutation_type="samples", n_resamples=9999, rng=1).pvalue
        assert found == pytest.approx(theirs, abs=0.015)
        assert found == pytest.approx(stats.ttest_1samp(gap, 0).pvalue, abs=0.02)


def test_rows_of_one_recording_are_one_unit():
    """Strings made of the same recordings: taken one by one they seem to prove what isn't there."""
    rng = np.random.default_rng(2)
    comparisons, units, copies = 300, 30, 8
    errors = rng.poisson(2.0, (2, comparisons, units)).astype(float)
    rows = np.repeat(errors, copies, axis=2)
    owner = np.repeat(np.arange(units), copies)

    def sample(by_unit):
        sums = np.stack([rows, np.full_like(rows, 10.0)], -1)
        if by_unit:
            sums = np.stack([[unit_sums(one, owner) for one in side] for side in sums])
        return Tested(sums[0], sums[1], np.arange(sums.shape[2]))

    naive = np.mean(randomisation([sample(False)], rate, trials=200) <= 0.05)
    whole = np.mean(randomisation([sample(True)], rate, trials=200) <= 0.05)
    assert whole < 0.09
    assert naive > 0.3


def test_the_sign_says_better():
    worse = one_of(np.full(10, 4.0), np.full(10, 3.0))  # more errors
    assert differences([worse], rate, -1.0)[0, 0] == pytest.approx(-10.0)


def test_a_comparison_does_not_depend_on_its_company():
    rng = np.random.default_rng(6)
    model, against = rng.poisson(3.0, (2, 4, 50)).astype(float)
    several = [one_of(m, a) for m, a in zip(model, against, strict=True)]
    alone = [randomisation([one], rate, 1000)[0] for one in several]
    together = Tested(
        *(np.concatenate([getattr(one, side) for one in several]) for side in ("model", "against")), np.arange(50)
    )
    assert randomisation([together], rate, 1000).tolist() == alone


# -- pulls -------------------------------------------------------------------------------------------------------------


def test_the_pulls_of_a_mean_give_students_t():
    rng = np.random.default_rng(3)
    model, against = rng.normal(3, 1.5, 40), rng.normal(3.2, 1.5, 40)
    one = [one_of(model, against)]
    pull = pulls_of(one, rate, -1.0).mean
    gap = 10 * (against - model)
    assert student.standard_errors(pull)[0] == pytest.approx(gap.std(ddof=1) / np.sqrt(40))
    assert pull.sum() == pytest.approx(0)
    t = student.ratios(differences(one, rate, -1.0)[:, 0], student.standard_errors(pull))[0]
    assert t == pytest.approx(stats.ttest_1samp(gap, 0).statistic)


def test_a_unit_pulls_where_leaving_it_out_moves_the_value():
    sums = np.array([[9.0, 10.0], [1.0, 10.0], [2.0, 10.0]])
    pull = pulls(sums, rate)
    assert pull[0] > 0 > pull[1] and pull.sum() == pytest.approx(0)
    assert pulls(sums[:1], rate).tolist() == [0.0]


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_pulls_have_the_bootstraps_standard_error(name):
    """Of corpus metrics that are no means, too."""
    rng = random.Random(5)
    references = [" ".join(rng.choices("abcdefgh", k=rng.randint(5, 15))) for _ in range(150)]
    said = [" ".join(w if rng.random() < 0.8 else "x" for w in r.split()) for r in references]
    metric = metric_named(name)
    sums = metric.statistics(references, said, "verbatim", "en")
    drawn = np.random.default_rng(0).multinomial(150, [1 / 150] * 150, size=2000)
    assert student.standard_errors(pulls(sums, metric.value)) == pytest.approx(
        metric.value(drawn @ sums).std(), rel=0.06
    )


def test_bootstrap_t_leans_where_the_sample_does():
    """Errors in a few units: the truth lies further above than below (Clopper and Pearson's interval of 2 in 40)."""
    errors = np.zeros(40)
    errors[:2] = 10
    sums = np.stack([errors, np.full(40, 10.0)], 1)[None]
    low, high = student.interval(rate(sums.sum(1)), pull := pulls(sums, rate), student.bootstrap_t(pull))
    exact = stats.binomtest(2, 40).proportion_ci()
    assert 0 < low[0] < 5 < high[0] and high[0] - 5 > 2 * (5 - low[0])
    assert high[0] == pytest.approx(100 * exact.high, rel=0.1)
    even = np.random.default_rng(1).normal(size=(1, 400))
    even -= even.mean()
    assert student.interval(np.zeros(1), even, student.bootstrap_t(even))[1] == pytest.approx(
        1.97 * student.standard_errors(even), rel=0.06
    )


# -- keeps -------------------------------------------------------------------------------------------------------------


def keeps(model, against, *margins):
    """p at each margin, and the interval."""
    one = [one_of(model, against)]
    d, pull = differences(one, rate, -1.0)[:, 0], pulls_of(one, rate, -1.0).mean
    drawn = student.bootstrap_t(pull)
    p = [student.p_beyond(d, pull, drawn, np.array([margin]))[0] for margin in margins]
    return p, [end[0] for end in student.wider(d, pull, drawn)]


def test_a_loss_is_within_the_margin_where_the_interval_clears_it():
    rng, margins, seen = np.random.default_rng(4), (0.5, 1.0, 2.0, 3.0), []
    for _ in range(15):
        against = rng.poisson(3.0, 60).astype(float)
        model = against + (rng.random(60) < 0.2) - (rng.random(60) < 0.1)
        found, (low, high) = keeps(model, against, *margins)
        for margin, p in zip(margins, found, strict=True):
            beyond = low > -margin or high < -margin
            assert (p < 0.05) == beyond or abs(p - 0.05) < 0.001
            seen.append(beyond)
    assert 5 < sum(seen) < 55


def test_equal_answers_keep_and_a_handful_of_units_does_not():
    for units, least in ((4, 2.0**-3), (30, 2 / 10_001)):
        same = np.full(units, 3.0)
        (p,), ends = keeps(same, same, 0.5)
        assert p == pytest.approx(least) and ends == [0, 0]


# -- replicates --------------------------------------------------------------------------------------------------------


def test_replicates_on_the_same_rows_move_together():
    rng = np.random.default_rng(5)
    model, against = rng.poisson(3.0, (2, 100)).astype(float)
    one = one_of(model, against)
    apart = [one_of(model, against, np.arange(100) + 100 * r) for r in range(3)]

    def error(sample):
        return np.sqrt(pulls_of(sample, rate, -1.0).variance[0])

    # three copies of one outcome tell no more than one; three independent tests do
    assert error([one] * 3) == pytest.approx(error([one]))
    assert error(apart) == pytest.approx(error([one]) / np.sqrt(3))
    assert randomisation([one] * 3, rate, 2000)[0] == randomisation([one], rate, 2000)[0]
    swapped = randomised_differences(apart, rate, 2000)[0].std()
    assert swapped == pytest.approx(randomised_differences([one], rate, 2000)[0].std() / np.sqrt(3), rel=0.1)


def test_units_that_replicates_share_count_for_both():
    """Two replicates of 200 utterances each that agree on the 100 which they share: 0.75 of the variance of one utterance
    over 200, where replicates taken for independent would have 0.5."""
    rng = np.random.default_rng(3)
    shared, first, second = (rng.integers(-3, 4, 100) for _ in range(3))

    def sample(*errors, units):
        gaps = np.concatenate(errors)
        return one_of(np.maximum(-gaps, 0), np.maximum(gaps, 0), units)

    together = [
        sample(shared, first, units=np.arange(200)),
        sample(shared, second, units=np.r_[:100, 200:300]),
    ]
    apart = [sample(shared, first, units=np.arange(200)), sample(shared, second, units=np.arange(200, 400))]
    assert count([t.units for t in together]) == 300
    assert differences(together, rate, -1) == pytest.approx(differences(apart, rate, -1))
    by_pulls = [np.sqrt(pulls_of(x, rate, -1.0).variance[0]) for x in (together, apart)]
    by_swaps = [randomised_differences(x, rate, 4000)[0].std() for x in (together, apart)]
    assert pulls_of(apart, rate, -1.0).shared[0] == 0 < pulls_of(together, rate, -1.0).shared[0]
    for a, b in (by_pulls, by_swaps):
        assert a / b == pytest.approx(np.sqrt(1.5), rel=0.06)


def test_random_halves_cover_the_truth():
    """Six replicates on random halves of 24 documents, whose effects they share: resampled apart, by which replicates hold
    a document, intervals covered 44 %."""
    rng = np.random.default_rng(8)
    halves = [np.sort(rng.permutation(24)[:12]) for _ in range(6)]
    covered = []
    for _ in range(150):
        effect = rng.normal(0, 2, 24)
        sample = [one_of(np.full(12, 5.0) + effect[h], np.full(12, 5.0), h) for h in halves]
        pull = pulls_of(sample, rate, 1.0).mean
        low, high = student.wider(differences(sample, rate, 1.0).mean(1), pull, student.bootstrap_t(pull, 500))
        covered.append(low[0] <= 0 <= high[0])
    assert np.mean(covered) > 0.88


def test_where_replicates_share_all_it_is_clarks_min_f():
    """d²/(V_u + V_s) is F1 F2 / (F1 + F2), as two F tests give it; where they share less, the bar is lower."""
    rng = np.random.default_rng(9)
    d, pull = rng.normal(1, 1, (1, 5)), rng.normal(0, 0.1, (1, 50))
    over_units = (pull**2).sum(1)
    f1, f2 = d.mean() ** 2 / crossed.spread(d)[0], d.mean() ** 2 / over_units[0]
    degrees = (f1 + f2) ** 2 / (f1**2 / 49 + f2**2 / 4)
    wanted = max(stats.f.sf(f1 * f2 / (f1 + f2), 1, degrees), stats.ttest_1samp(d[0], 0).pvalue)
    assert crossed.p_beyond(d, Pulls(pull, over_units), np.zeros(1), np.zeros(1))[0] == pytest.approx(wanted)
    assert crossed.p_beyond(d, Pulls(pull, over_units), np.ones(1), np.zeros(1))[0] == 1.0  # these models can't tell
    less = crossed.combined(Pulls(pull, over_units / 2), crossed.spread(d), 5)[0]
    assert less == pytest.approx(np.maximum(over_units, over_units / 2 + crossed.spread(d)))


def test_without_scatter_over_units_it_is_the_t_test_over_replicates():
    d = np.array([[1.0, 2.0, 4.0]])
    found = crossed.p_beyond(d, Pulls(np.zeros((1, 10)), np.zeros(1)), np.zeros(1), np.zeros(1))[0]
    assert found == pytest.approx(stats.ttest_1samp(d[0], 0).pvalue)


def test_seeds_that_differ_show_nothing_for_the_method():
    """Every replicate is clearly better or worse on its test data, by its seed."""
    rng = np.random.default_rng(10)
    null, models = [], []
    for _ in range(150):
        errors = rng.poisson(3.0, 400).astype(float)
        sample = [one_of(errors + rng.normal(0, 0.5) + rng.normal(0, 1, 400), errors) for _ in range(3)]
        d, pull = differences(sample, rate, 1.0), pulls_of(sample, rate, 1.0)
        p = randomisation(sample, rate, 400)
        models.append(p[0] < 0.05)
        null.append(crossed.p_beyond(d, pull, p, np.zeros(1))[0] < 0.05)
    assert np.mean(models) > 0.5 and np.mean(null) < 0.09


def test_a_mean_over_replicates_has_the_variance_of_seeds_and_units():
    values, pull = np.array([10.0, 14.0, 12.0]), Pulls(np.full(100, 0.1), np.array(1.0))
    low, high = crossed.interval(values, pull)
    over_units, over_replicates = 1.0, 4 / 3
    degrees = (over_units + over_replicates) ** 2 / (over_units**2 / 99 + over_replicates**2 / 2)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(over_units + over_replicates)
    assert (low, high) == (pytest.approx(12 - half), pytest.approx(12 + half))


# -- visible -----------------------------------------------------------------------------------------------------------


def test_visible_differences_are_seen_four_times_in_five():
    rng = np.random.default_rng(11)
    for replicates, claims in ((3, 1), (5, 4)):
        seen = visible(Variances(200, 0.25, 0.25, replicates, 0.25 / replicates), claims)
        d = seen + rng.normal(0, 0.5, (4000, 1)) + rng.normal(0, 0.5, (4000, replicates))
        pull = np.tile(0.5 / np.sqrt(200) * np.where(np.arange(200) % 2, 1, -1), (4000, 1))
        p = crossed.p_beyond(d, Pulls(pull, np.full(4000, 0.25)), np.zeros(4000), np.zeros(4000))
        assert 0.77 < np.mean(p < 0.05 / claims) < 0.86


def test_what_cannot_be_seen_has_a_reason_and_no_number():
    assert measurable(Variances(50, 0.0), 1) == "equal answers" and measurable(Variances(1, 1.0), 1) == "one unit"
    assert measurable(Variances(6, 1.0), 1) == "" and "6 units can't" in measurable(Variances(6, 1.0), 2)
    assert np.isnan(visible(Variances(50, 0.0), 1)) and np.isnan(visible(Variances(1, 1.0), 1))


def test_more_replicates_show_more():
    one = Variances(300, 0.25)
    found = foreseen(one, 5)
    assert list(found) == [3, 5, 8] and found[3] > found[5] > found[8] > visible(one, 5)


# -- claims ------------------------------------------------------------------------------------------------------------


def test_holm_known_answers():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def spoiled(seed, *shares):
    """References, and hypotheses with these shares of wrong words."""
    rng = random.Random(seed)
    references = [" ".join(rng.choices("abcdefghij", k=12)) for _ in range(60)]
    return references, [
        [" ".join(w if rng.random() > share else "x" for w in r.split()) for r in references] for share in shares
    ]


def test_agrees_with_sacrebleu():
    """The same p as sacreBLEU's own paired randomisation, within the noise of the trials."""
    from sacrebleu.metrics import BLEU, CHRF
    from sacrebleu.significance import PairedTest

    references, (first, second) = spoiled(0, 0.14, 0.18)
    theirs = PairedTest(
        [("against", second), ("model", first)],
        {"BLEU": BLEU(), "chrF": CHRF()},
        [references],
        test_type="ar",
        n_samples=3000,
    )()[1]
    for name, column in (("bleu", "BLEU"), ("chrf", "chrF2")):
        metric = metric_named(name)
        sums = [metric.statistics(references, h, "verbatim", "en")[None] for h in (first, second)]
        found = randomisation([Tested(*sums, np.arange(60))], metric.value, 3000)[0]
        assert found == pytest.approx(theirs[column][1].p_value, abs=0.04)


def test_agrees_with_matched_pairs():
    """As NIST's MAPSSWE on segments that are whole utterances (Gillick and Cox 1989): a z test of the differences in errors."""
    metric = metric_named("wer")
    for seed in range(4):
        references, sides = spoiled(seed, 0.12, 0.17)
        sums = [metric.statistics(references, h, "verbatim", "en") for h in sides]
        gap = sums[0][:, 0] - sums[1][:, 0]
        z = gap.mean() / (gap.std(ddof=1) / np.sqrt(len(gap)))
        found = randomisation([Tested(sums[0][None], sums[1][None], np.arange(60))], metric.value)[0]
        assert found == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.05)  # whole errors tie


SCTK = Path("/usr/lib/sctk/bin")  # where Debian's package puts it


@pytest.mark.skipif(not (SCTK / "sc_stats").exists(), reason="needs NIST's sclite and sc_stats (Debian: sctk)")
def test_agrees_with_sc_stats(tmp_path):
    """Word errors are sclite's, and p is near that of the matched pairs test, which cuts utterances into segments."""
    metric = metric_named("wer")
    for seed, shares in enumerate([(0.20, 0.22), (0.20, 0.24), (0.20, 0.26), (0.20, 0.23)]):
        references, sides = spoiled(seed, *shares)
        (place := tmp_path / str(seed)).mkdir()
        for name, texts in (("ref", references), ("first", sides[0]), ("second", sides[1])):
            lines = (f"{text} (s{i % 8}_{i:03d})\n" for i, text in enumerate(texts))
            (place / f"{name}.trn").write_text("".join(lines))
        for name, side in zip(("first", "second"), sides, strict=True):
            asked = ["-r", "ref.trn", "trn", "-h", f"{name}.trn", "trn", name, "-i", "rm", "-o", "sgml", "rsum"]
            run([SCTK / "sclite", *asked], cwd=place, check=True, capture_output=True)
            total = re.search(r"\|\s*Sum\s*\|(.*)", (place / f"{name}.trn.raw").read_text())
            assert total, "sclite's sums"
            words, errors = int(total[1].split()[1]), int(total[1].split()[-3])
            assert metric.statistics(references, side, "verbatim", "en").sum(0).tolist() == [errors, words]
        texts = "".join((place / f"{name}.trn.sgml").read_text() for name in ("first", "second"))
        asked = ["-p", "-t", "mapsswe", "-u", "-n", "pairs"]
        run([SCTK / "sc_stats", *asked], cwd=place, check=True, capture_output=True, input=texts, text=True)
        theirs = re.search(
            r"MP\s*\|\|\s*first\s*\|[^|]*\|\s*\S+\s+<?\s*([\d.]+)", (place / "pairs.stats.unified").read_text()
        )
        assert theirs, "its p"
        sums = [metric.statistics(references, side, "verbatim", "en")[None] for side in sides]
        found = randomisation([Tested(*sums, np.arange(len(references)))], metric.value)[0]
        assert found == pytest.approx(float(theirs[1]), abs=0.1)


BLANK = {f.name: None for f in fields(Comparison)}


@pytest.mark.parametrize(
    ("margin", "difference", "p", "wanted"),
    [
        (None, 2, 0.01, "holds"),
        (None, -2, 0.01, "fails"),
        (None, -2, 0.2, "open"),
        (None, 0, 0.01, "open"),
        (None, 2, None, "open"),
        (3, -1, 0.01, "holds"),
        (3, -2, 0.2, "open"),
        (3, -6, 0.01, "fails"),
        (3, -6, 0.2, "open"),
    ],
)
def test_verdicts(margin, difference, p, wanted):
    """The same rule of `beats` and `keeps`, of the method and of these models."""
    given = BLANK | {"margin": margin, "difference": difference}
    assert Comparison(**given | {"p_holm": p}).verdict == wanted
    assert Comparison(**given | {"p_models_holm": p}).for_models == wanted


class Recited:
    """Rows as they are prepared, each (id, document)."""

    def __init__(self, rows):
        self.ids, documents = zip(*rows, strict=True)
        self.corpora = ["corpus"] * len(rows)
        self.found = clusters([[("d", d)] for d in documents])

    def units_by(self, kind):
        return self.found

    def unit_word(self, kind):
        return "documents"

    def written(self, languages):
        return ["en"] * len(self.ids)


def outcomes_of(rows, statistics):
    """Outcomes of replicates with these rows, {replicate: [(id, document)]}, and statistics {(model, replicate): [n, 2]}."""
    opened = {(r,): Recited(found) for r, found in rows.items()}
    everything = Recited(list(dict.fromkeys(row for found in rows.values() for row in found)))
    spec = {"corpora": {r: r for r in rows}, "replicates": list(rows), "metric": "wer"}
    spec["sets"] = {r: {"test": {"t": [r]}} for r in rows}
    outcomes = Outcomes(spec, Path("cache"), lambda corpora: opened.get(tuple(corpora), everything))
    sheets = {
        (m, r): Sheet(m, "train", r, "test", "t", "d", Path(r), f"{m} {r}", r, (r,), len(rows[r]))
        for m, r in statistics
    }
    outcomes.sheet = lambda model, replicate, split, name: sheets[model, replicate]
    outcomes.signature = lambda metric, sheet: "wer"
    for key, counted in statistics.items():
        outcomes._statistics[sheets[key].content, "wer"] = np.asarray(counted, float)
    return outcomes


def pairs(rows):
    """What each replicate was tested on: (units, sums of the second model); each row counts the code of its id."""
    coded = {(m, r): [[ord(i), 1] for i, _ in found] for r, found in rows.items() for m in ("new", "old")}
    found = paired(outcomes_of(rows, coded), [Question("1", "new", "old", "t", "wer")], list(rows))
    return [(t.units.tolist(), t.against[0, :, 0].astype(int).tolist()) for t in found]


def test_replicates_share_units_by_their_rows():
    rows = {"1": "abc", "2": "cdb", "3": "e"}
    found = pairs({r: [(x, x) for x in found] for r, found in rows.items()})
    a, b, c, d, e = map(ord, "abcde")
    assert found == [([0, 1, 2], [a, b, c]), ([1, 2, 3], [b, c, d]), ([4], [e])]


def test_rows_of_one_document_are_one_unit_in_whichever_replicate_they_stand():
    found = pairs(
        {"1": [("a", "x"), ("b", "x"), ("c", "y")], "2": [("d", "x"), ("e", "z")], "3": [("f", "x"), ("c", "y")]}
    )
    a, b, c, d, e, f = map(ord, "abcdef")
    assert found == [([0, 1], [a + b, c]), ([0, 2], [d, e]), ([0, 1], [f, c])]


def answered(gaps, *questions):
    """Comparisons of `new`, which has `gaps[replicate]` errors less than `old` in each utterance of 10 words."""
    rows = {r: [(f"u{i}", f"u{i}") for i in range(len(gap))] for r, gap in gaps.items()}
    counted = {}
    for r, gap in gaps.items():
        counted["new", r] = np.stack([5.0 - np.asarray(gap), np.full(len(gap), 10.0)], 1)
        counted["old", r] = np.stack([np.full(len(gap), 5.0), np.full(len(gap), 10.0)], 1)
    asked = [Question(str(i), "new", "old", "t", "wer", *q) for i, q in enumerate(questions, 1)]
    return compare(outcomes_of(rows, counted), asked)


def noise(seed, units=100):
    return np.random.default_rng(seed).normal(0, 1, units)


def test_one_replicate_shows_something_for_these_models_alone():
    (found,) = answered({"1": 1 + noise(0)}, ("beats",))
    assert (found.verdict, found.for_models, found.p) == ("open", "holds", None)
    assert found.ci_low == found.ci_models_low > 0 and dict(found.foreseen).keys() == {3, 5, 8}


def test_three_replicates_that_agree_show_it_for_the_method():
    (found,) = answered({str(r): 1 + 0.02 * r + noise(r) for r in range(3)}, ("beats",))
    assert found.verdict == "holds" and found.p >= found.p_models and found.foreseen == ()
    (apart,) = answered({str(r): s + noise(r) for r, s in enumerate((0.3, 0.5, 3))}, ("beats",))
    assert (apart.verdict, apart.for_models) == ("open", "holds")
    assert apart.ci_low < 0 < apart.ci_models_low


def test_keeps_clears_the_interval_and_its_refutation_is_adjusted_too():
    gaps = {"1": -0.25 + noise(1)}
    alone = answered(gaps, ("keeps", 1.0))[0]
    assert alone.for_models == "open" or alone.ci_high < -1.0 or alone.ci_low > -1.0
    lost = answered({"1": -0.4 + noise(2)}, ("keeps", 1.0))[0]
    assert lost.for_models == "fails" and lost.ci_high < -1.0
    many = answered({"1": -0.4 + noise(2)}, *[("keeps", lost.ci_high * -1 - 0.05)] * 10)
    assert {c.for_models for c in many} == {"open"} and all(c.ci_high < -c.margin for c in many)


def test_keeps_is_refused_below_twenty_units():
    few, enough = (answered({"1": np.zeros(n)}, ("keeps", 1.0))[0] for n in (19, 20))
    assert few.p_models is None and few.for_models == "open" and "needs 20 independent units" in few.refused
    assert enough.for_models == "holds" and enough.refused == ""


def test_equal_answers_have_no_visible_difference():
    (found,) = answered({"1": np.zeros(50)}, ("beats",))
    assert np.isnan(found.visible) and found.unseen == "equal answers" and found.for_models == "open"


def test_one_unit_has_no_interval():
    found = answered({"1": [2.0]}, ("beats",))[0]
    assert np.isnan(found.ci_low) and np.isnan(found.visible) and found.unseen == "one unit"
    assert "no interval: one unit" in claim_line(found) and "nan" not in claim_line(found)


def test_a_few_units_that_decide_are_told():
    lasting = answered({"1": 0.5 + noise(3, 300)}, ("beats",))[0]
    assert (lasting.for_models, lasting.decisive) == ("holds", 0)
    gap = 0.11 + noise(4, 300) * 0.8
    gap += 0.105 - gap.mean()
    (fragile,) = answered({"1": gap}, ("beats",))
    assert (fragile.for_models, fragile.decisive) == ("holds", 3)
