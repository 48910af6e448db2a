"""What the plan says of claims before a run."""

import json
from pathlib import Path

import pytest

from consomme.common.evidence import foreseen
from consomme.plan.plan import Plan
from consomme.plan.prospects import prospects


@pytest.fixture
def said(change, tmp_path, monkeypatch):
    """The lines of a changed configuration, with test sets prepared as given: corpus -> what prepared.json says."""
    monkeypatch.chdir(tmp_path)

    def lines(settings, prepared):
        plan = Plan(change(settings))
        for corpus in plan.corpora.values():
            if corpus.name in prepared:
                Path(corpus.folder).mkdir(parents=True, exist_ok=True)
                Path(corpus.marker).write_text(json.dumps(prepared[corpus.name]))
        return prospects(plan.studies["e"])

    return lines


def extent(units, words, **others):
    return {
        "rows": 400,
        "words": words,
        "characters": 5 * words,
        "units": dict.fromkeys(("recording", "document", "speaker"), units) | others,
    }


def test_replicates_are_known_before_anything_is_prepared(said):
    assert said({"experiments.e.repeat": [1, 2, 3]}, {}) == [
        "claim 1, soup beats tuned/best on b: 3 replicates",
        "claim 2, healed keeps line on b within 2: 3 replicates",
    ]
    assert all("1 replicate; caution: for these models alone, as the method needs 3" in line for line in said({}, {}))


def test_units_and_what_they_could_show_are_known_from_prepared_test_sets(said):
    several = {"experiments.e.repeat": [1, 2, 3, 4, 5]}
    seen = foreseen("wer", 400, 3000, 15000, claims=2)
    beats, keeps = said(several, {"b-test": extent(400, 3000)})
    assert "5 replicates, 400 independent units" in beats and f"about {seen:.1f} and more" in beats
    assert "caution" not in beats and seen < 2 and "caution" not in keeps
    _, keeps = said(several, {"b-test": extent(400, 1000)})
    assert "caution: a margin of 2 is smaller than that" in keeps


def test_too_few_units_are_told_by_the_kind_that_the_experiment_declares(said):
    prepared = {"b-test": extent(400, 90_000, speaker=8)}
    beats, keeps = said({}, prepared)
    assert "8 independent units" in beats and "p and intervals are rough" in beats and "keeps isn't tested" in keeps
    assert not any("fewer than" in line for line in said({"experiments.e.units": "recording"}, prepared))
    assert not any("fewer than" in line for line in said({"experiments/e/units": {"b": "recording"}}, prepared))
    assert any("fewer than" in line for line in said({"experiments/e/units": {"a": "recording"}}, prepared))
    _, both = said(
        {"experiments/e/data/test": {"a": "a-test", "b": ["a-test", "b-test"]}},
        prepared | {"a-test": extent(8, 90_000)},
    )
    assert "at most 16 independent units" in both


def test_a_corpus_prepared_before_extents_were_written_is_unknown(said):
    assert not any("units" in line for line in said({}, {"b-test": {"rows": 10}}))


def test_a_sealed_test_set_is_told(said):
    found = said({"experiments/e/sealed": ["b"]}, {})
    assert all("1 replicate, sealed (`consomme unseal` breaks the seal)" in line for line in found)
