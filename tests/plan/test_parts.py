"""Corpora that several jobs check in parts: what the plan makes of `parts`, and where it refuses it."""

from pathlib import Path

import pytest

from consomme.plan.look import clean, overview
from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError


def corpus(plan, name):
    (found,) = {c.id: c for c in plan.corpora.values() if c.name == name}.values()
    return found


def test_parts_change_no_digest_and_no_spec(small, change, digests):
    parted = Plan(change({"corpora.a-train.parts": 4}))
    assert digests(parted) == digests(small)
    one, other = corpus(Plan(small), "a-train"), corpus(parted, "a-train")
    assert (one.id, one.spec, one.parts) == (other.id, other.spec, 1) and other.parts == 4


def test_each_part_has_a_place_and_a_spec_of_its_own(change):
    found = corpus(Plan(change({"corpora.a-train.parts": 3})), "a-train")
    files = found.part_files(3)
    assert len(set(files)) == 9 and {Path(file).parts[-2] for file in files} == {"1", "2", "3"}
    assert len({found.part_spec(part, 3) for part in (1, 2, 3)} | {found.spec}) == 4
    assert found.part_files(1) == []


@pytest.mark.parametrize("wrong", [1, 0, 1001, 2.5, "many"])
def test_of_parts_there_are_two_to_a_thousand(wrong, change):
    with pytest.raises(ConfigurationError, match=r"corpora\.a-train\.parts"):
        Plan(change({"corpora.a-train.parts": wrong}))


def test_what_each_job_would_fetch_or_make_as_a_whole_is_refused(change):
    fetched = {"source": "hub", "name": "someone/large", "streaming": True, "limit": 10, "parts": 4}
    with pytest.raises(ConfigurationError, match=r"corpora\.a-train\.parts: .*streaming.*leave out one of the two"):
        Plan(change({"corpora.a-train": fetched}))
    assert corpus(Plan(change({"corpora.a-train": fetched | {"streaming": False}})), "a-train").parts == 4
    text = {"source": "generated", "generator": "dosage", "domain": "general", "size": 9, "parts": 2}
    pairs = {"task": "nmt", "languages": ["en", "fr"], "data": {"train": "pairs", "dev": "pairs-dev"}}
    pairs["models"] = {"raw": {"from": {"scratch": {"family": "marian"}}}}
    dev = {**text, "split": "dev", "parts": None}
    with pytest.raises(ConfigurationError, match=r"corpora\.pairs\.parts: texts are made as they are counted"):
        Plan(change({"corpora.pairs": text, "corpora.pairs-dev": dev, "experiments.pairs": pairs}))


def test_the_plan_counts_the_jobs_of_parts_until_the_corpus_is_there(change, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def jobs(**parts):
        plan = Plan(change({f"corpora.{name}.parts": count for name, count in parts.items()}))
        overview(plan)
        said = capsys.readouterr().out
        return int(said.split("at most ")[1].split()[0]), plan

    (without, _), (parted, plan) = jobs(), jobs(**{"a-train": 16})
    assert parted == without + 16
    marker = Path(corpus(plan, "a-train").marker)
    marker.parent.mkdir(parents=True)
    marker.write_text('{"units": {}, "seconds": 1, "rows": 1}')
    assert jobs(**{"a-train": 16})[0] == without - 1


def test_parts_that_nothing_waits_for_are_not_used(change, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plan = Plan(change({"corpora.a-train.parts": 3, "corpora.b-train.parts": 2}))
    finished, waiting = corpus(plan, "a-train"), corpus(plan, "b-train")
    wanted = [waiting.part_files(2)[0]]
    left = [
        finished.part_files(3)[0],
        waiting.part_files(5)[0],
        "results/prepared/parts/gone-0123456789ab/2/1/rows.arrow",
    ]
    for file in (*wanted, *left, finished.marker):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    clean([plan], remove=True)
    assert all(Path(file).exists() for file in (*wanted, finished.marker))
    assert not any(Path(file).exists() for file in left)
