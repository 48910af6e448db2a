"""`by`: columns that test sets keep for the report."""

import json

from consomme.plan.plan import Plan

ASKED = {"experiments.e.by": ["snr", "speaker", "age"]}


def corpora(plan):
    return {c.name: c for c in plan.corpora.values()}


def test_only_the_corpora_of_test_sets_keep_columns_and_no_model_moves(small, change, digests):
    plain, asked = Plan(small), Plan(change(ASKED))
    before, after = corpora(plain), corpora(asked)
    assert {name for name in before if before[name].digest != after[name].digest} == {"a-test", "b-test"}
    assert after["a-test"].settings["by"] == ["age", "snr"]  # a speaker is there anyway
    assert digests(plain) == digests(asked)
    assert asked.studies["e"].report["by"] == ["snr", "speaker", "age"] and "by" not in plain.studies["e"].report


def test_what_is_there_anyway_prepares_nothing_anew(small, change):
    before, after = corpora(Plan(small)), corpora(Plan(change({"experiments.e.by": "speaker"})))
    assert {name: c.digest for name, c in before.items()} == {name: c.digest for name, c in after.items()}


def test_a_corpus_without_the_rows_of_a_test_set_stays_as_it_is(small, change, digests):
    without = {"corpora.b-train.without": ["b-test"]}
    assert digests(change(without)) == digests(change(without | ASKED))


def test_the_order_of_columns_is_no_identity(change):
    one, other = (Plan(change({"experiments.e.by": by})) for by in (["snr", "age"], ["age", "snr"]))
    assert corpora(one)["a-test"].digest == corpora(other)["a-test"].digest


def test_the_job_gets_them(change):
    spec = json.loads(corpora(Plan(change(ASKED)))["b-test"].spec)
    assert spec["corpus"]["by"] == ["age", "snr"]
