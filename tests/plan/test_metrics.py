"""Metrics of other programs, words whose recall is asked for."""

from pathlib import Path

import pytest

from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError

METRICS = "experiments.e.metrics"


def report(config):
    return Plan(config).studies["e"].report


def test_a_command_stands_beside_the_usual_metrics(change):
    given = report(change({METRICS: {"score": {"command": "python 'my scorer.py' --fast"}}}))
    assert given["metrics"] == ["wer", "cer", "score"]
    assert given["commands"] == {"score": {"command": ["python", "my scorer.py", "--fast"], "lower": False}}


def test_a_command_is_known_by_its_files(change, tmp_path):
    """A report of another program is another report."""
    program = tmp_path / "scorer.py"
    config = change({METRICS: {"score": {"command": ["python", str(program)]}}})
    program.write_text("print(1)")
    first, there = Plan(config).studies["e"].spec_file("report"), report(config)["commands_content"]
    assert list(there) == [str(program)] and Plan(config).studies["e"].spec_file("report") == first
    program.write_text("print(2)")
    assert Plan(config).studies["e"].spec_file("report") != first


def test_or_beside_those_that_are_named(change):
    given = report(change({METRICS: {"wer": None, "score": {"command": ["./score"], "lower": True}}}))
    assert given["metrics"] == ["wer", "score"] and given["commands"]["score"] == {
        "command": ["./score"],
        "lower": True,
    }
    plain = report(change({METRICS: ["wer", "ser"]}))
    assert plain["metrics"] == ["wer", "ser"] and "commands" not in plain


def test_claims_can_rest_on_them(change):
    claims = [{"model": "soup", "beats": "base", "on": "a", "metric": m} for m in ("score", "rare-words")]
    config = change(
        {METRICS: {"score": {"command": "x"}}, "experiments.e.rare_words": 3, "experiments.e.claims": claims}
    )
    assert [c["metric"] for c in report(config)["claims"]] == ["score", "rare-words"] and report(config)[
        "rare_words"
    ] == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({METRICS: {"wer": {"command": "x"}}}, ["metrics.wer", "there is a metric of that name"]),
        ({METRICS: {"glossary": {"command": "x"}}}, ["metrics.glossary", "there is a metric of that name"]),
        ({METRICS: {"score": {"command": []}}}, ["metrics.score.command", "at least 1"]),
        ({METRICS: {"score": {"command": "a 'b"}}}, ["metrics.score.command", "No closing quotation"]),
        ({METRICS: {"score": {"comand": "a"}}}, ["metrics.score", "did you mean 'command'"]),
        ({METRICS: {"score": None, "wer": None}}, ["metrics", "'score'"]),
        ({METRICS: {"score": {"command": "a"}}, "experiments.e.metric": "score"}, ["e.metric", "'score'"]),
        ({"experiments.e.claims": [{"model": "soup", "beats": "base", "on": "a", "metric": "glossary"}]}, ["glossary"]),
        ({"experiments.e.rare_words": -1}, ["rare_words", "greater than or equal to 0"]),
    ],
)
def test_mistakes_are_told(change, settings, words):
    with pytest.raises(ConfigurationError) as error:
        Plan(change(settings))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_glossary_is_a_file_whose_content_counts(change, tmp_path, monkeypatch, digests, small):
    monkeypatch.chdir(tmp_path)
    config = change({"experiments.e.glossary": "terms.txt"})
    assert "experiments.e.glossary: there is no file terms.txt" in Plan(config).problems()
    files = []
    for text in ("one\n", "two\n", "one\n"):
        Path("terms.txt").write_text(text)
        files.append(Plan(config).studies["e"].spec_file("report"))
    assert files[0] == files[2] != files[1] and Plan(config).problems() == Plan(small).problems()
    assert digests(config) == digests(small)
