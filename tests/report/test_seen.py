"""Test rows that were seen stand in the summary and beside the claims that they touch."""

import json
from pathlib import Path

import pytest

from consomme.report.findings.seen import seen
from consomme.report.outcomes import Outcomes
from consomme.report.words.before import before, trained_before
from consomme.report.words.claims import notes
from consomme.report.words.summary import cautions
from consomme.report.write import measured


@pytest.fixture
def report(builder, tmp_path, monkeypatch):
    """`report(change of the spec)`: outcomes, comparisons of the claims."""
    monkeypatch.chdir(tmp_path)
    spec = builder(tmp_path, replicates=(1,), count=30)

    def made(**change):
        outcomes, _, comparisons, _, _ = measured(spec | change, tmp_path / "cache")
        return outcomes, [c for c in comparisons if c.declared]

    made.spec = spec
    return made


def counted(outcomes):
    return {(s.set, s.by): s.known for s in seen(outcomes)}


def test_a_row_of_training_is_told_in_the_summary_and_beside_its_claims(report):
    outcomes, claims = report()
    assert counted(outcomes) == {
        ("medical", "training"): {"source": 1, "target": 1},
        ("general", "training"): {},
        ("medical", "choosing"): {},
        ("general", "choosing"): {},
    }
    (line,) = [line for line in cautions(outcomes, claims) if "in common" in line]
    assert "medical, of 30 rows the target of 1, the source of 1 (training: medical-train)" in line
    said = {(c.model, c.set): [note for note in notes(c) if "learnt" in note] for c in claims}
    assert said["soup", "medical"] == [
        "Of 30 test rows, what these models learnt from has the target of 1, the source of 1."
    ]
    assert said["balanced", "general"] == []


def test_models_that_learnt_from_other_data_have_no_note(report):
    read = {"1": {"half": ["medical-train"]}}
    _, claims = report(train={"1": {"healed": ["medical-train"]}}, read=read)
    assert [bool(c.seen) for c in claims] == [c.model == "healed" for c in claims]


def test_development_data_and_a_tokenizer_s_texts_are_counted(report):
    spec = report.spec
    sets = {"1": {"dev": {"medical": ["medical-test"]}, "test": {"medical": ["medical-test"]}}}
    outcomes = Outcomes(spec | {"sets": sets}, Path("cache"))
    assert counted(outcomes)["medical", "choosing"] == {"document": 30, "source": 30, "target": 30}
    outcomes = Outcomes(spec | {"read": {"1": {"base": ["medical-test"]}}}, Path("cache"))
    found = counted(outcomes)["medical", "tokenizers, pruning, statistics"]
    assert found["source"] == 30


def test_what_a_starting_point_learnt_before_is_counted_by_rows_or_by_fingerprint(report):
    spec, gone = report.spec, {"base": {"base: a": "fp-medical-test", "base: b": "something else"}}
    outcomes, claims = report(before=gone)
    assert counted(outcomes)["medical", "base"] == {"source": 30} and counted(outcomes)["general", "base"] == {}
    assert all("the source of 30" in c.seen for c in claims if c.set == "medical")
    assert "(base: a, b)" in "".join(cautions(outcomes, claims))
    there = {**spec["corpora"], "base: a": spec["corpora"]["general-test"]}
    outcomes, _ = report(before=gone, corpora=there)
    assert counted(outcomes)["general", "base"] == {"source": 30, "target": 30}


def test_nothing_in_common_is_no_line(report):
    outcomes, claims = report(train={"1": {"tuned": ["general-dev"]}})
    assert not any("in common" in line for line in cautions(outcomes, claims)) and not any(c.seen for c in claims)
    json.dumps([c.known for c in seen(outcomes)])


def test_what_the_records_of_a_starting_point_say_stands_in_place_of_not_known(report):
    line = {("base", "1"): {"verb": "from", "settings": {"folder": "old"}}}
    outcomes, _ = report()
    assert "not known here" in trained_before(line, outcomes.before)[0]
    outcomes, _ = report(before={"base": {"base: a": "f1", "base: b": "f2"}})
    assert trained_before(line, outcomes.before) == [
        "base was trained before on a, b, as the records beside it say. Test rows among them are counted in the report."
    ]
    assert before(line["base", "1"], outcomes.before["base"]) == ", trained before on a, b by the records beside it"
