"""The register of claims, and those who try to cheat it."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from consomme.register import chain
from consomme.register.looks import looks, together
from consomme.register.standing import BEFORE, CHANGED, LATE, UNKNOWN, UNSEALED, fingerprint

from .conftest import A, B, C, Place  # isort: skip

ON_SEALED = {**C, "on": "u"}


# -- honest work -------------------------------------------------------------------------------------------------------
def test_claims_declared_before_any_score(place):
    place.run()
    assert place.kinds() == [BEFORE, BEFORE] and not place.standing().trouble and not place.withdrawn()


def test_a_line_holds_time_claims_and_scores_and_the_hash_of_the_line_before(place):
    place.run()
    first, second = place.lines()
    assert first["before"] == "" and second["before"] == first["hash"] != second["hash"]
    assert {c["claim"]["model"] for c in first["claims"]} == {"soup", "half"}
    plan = first["sets"]["t"]["plan"]
    assert first["sets"]["t"] == {"scored": 0, "of": 3, "besides": 0, "rows": [""], "plan": plan}
    assert second["sets"]["t"] == {"scored": 3, "of": 3, "besides": 0, "rows": ["rows of t-corpus"], "plan": plan}
    assert first["time"].endswith("Z") and first["commit"] == "" and first["scores"] == []
    groups = {group["set"]: group["models"] for group in second["scores"]}
    assert set(groups) == {"t", "u"} and set(groups["t"]) == {place.id(m) for m in place.models}
    assert len(set(groups["t"].values())) == 3  # each says something else


def test_nothing_is_added_where_nothing_has_changed(place):
    place.run()
    before = place.register.read_bytes()
    place.start()
    assert place.register.read_bytes() == before


def test_hypotheses_of_another_content_are_recorded_again(place):
    place.run()
    next(place.folder.glob("hypotheses/*/test/t@*.jsonl")).write_text("something else")
    place.start()
    (group,) = place.lines()[-1]["scores"]
    assert len(place.lines()) == 3 and group["set"] == "t" and len(group["models"]) == 1


def test_the_commit_is_that_of_the_configurations_repository(place):
    subprocess.run(["git", "init", "-q"], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    place.start()
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert place.lines()[0]["commit"] == head


def test_a_run_that_was_interrupted_and_goes_on_declares_nothing_late(place):
    place.start()
    place.score("base")
    place.run()
    assert place.kinds() == [BEFORE, BEFORE]


def test_a_claim_taken_back_before_any_score_does_not_count(place):
    place.start()
    place.claims = [A]
    place.run()
    assert place.kinds() == [BEFORE] and not place.withdrawn()


def test_the_order_of_claims_is_nothing_new(place):
    place.run()
    place.claims = [B, A]
    place.start()
    assert len(place.lines()) == 2 and place.kinds() == [BEFORE, BEFORE]


def test_a_report_is_stale_when_what_it_says_of_the_register_has_changed_and_only_then(place):
    first = fingerprint(place.spec)
    place.run()
    assert fingerprint(place.spec) == first
    place.start()
    assert fingerprint(place.spec) == first
    place.register.unlink()
    assert fingerprint(place.spec) != first


# -- claims that change ------------------------------------------------------------------------------------------------
def test_a_claim_added_after_some_scores_is_late(place):
    place.start()
    place.score("base", "soup")
    place.claims = [A, B, C]
    place.run()
    late = place.standing().claims[2]
    assert place.kinds() == [BEFORE, BEFORE, LATE] and (late.scored, late.of, late.besides) == (4, 6, 0)


def test_a_claim_reworded_after_the_scores_is_late_and_its_old_words_are_withdrawn(place):
    place.run()
    place.claims = [A, {**B, "margin": 4.5}]
    place.start()
    assert place.kinds() == [BEFORE, LATE] and place.standing().withdrawn == ((B, True),)


def test_a_failed_claim_that_is_removed_is_withdrawn(place):
    place.run()
    place.claims = [A]
    for _ in range(2):
        place.start()
        assert place.kinds() == [BEFORE] and place.standing().withdrawn == ((B, True),)


def test_a_claim_removed_and_declared_again_was_declared_at_first(place):
    place.run()
    place.claims = [A]
    place.start()
    place.claims = [A, B]
    place.start()
    assert place.kinds() == [BEFORE, BEFORE] and not place.withdrawn()


@pytest.mark.parametrize(
    "change", [{"models": {"base": 1, "soup": 2, "half": 1}}, {"normaliser": "verbatim"}], ids=["models", "normaliser"]
)
def test_the_same_words_of_something_else_are_no_early_claim(place, change):
    place.run()
    vars(place).update(change)
    place.run()
    found = place.standing().claims[0]
    assert found.kind == CHANGED and found.scored + found.besides == 6


def test_going_back_to_what_was_tried_first_is_a_choice_too(place):
    place.run()
    place.models["soup"] = 2
    place.run()
    place.models["soup"] = 1
    place.start()
    assert place.kinds()[0] == CHANGED


def test_scores_of_another_configuration_were_known(place):
    place.run()
    place.models = dict.fromkeys(place.models, 2)
    place.claims = [C]
    place.start()
    found = place.standing().claims[0]
    assert (found.kind, found.scored, found.of, found.besides) == (LATE, 0, 6, 6)


def test_easier_test_rows_after_the_scores_are_seen(place):
    place.run()
    place.run(content=" without the hard ones")
    assert place.kinds() == [CHANGED, CHANGED]


def test_test_rows_that_are_mended_before_any_score_are_nothing(place):
    place.start()
    place.prepare()
    place.start()
    place.run(content=" mended")
    assert place.kinds() == [BEFORE, BEFORE]


def test_another_corpus_under_the_same_name_makes_other_claims_whose_tests_are_lost(place):
    place.run()
    place.tests = {**place.tests, "t": "other-corpus"}
    place.start()
    assert place.kinds() == [LATE, LATE] and sorted(same for _, same in place.standing().withdrawn) == [False, False]


# -- those who change the register -------------------------------------------------------------------------------------
@pytest.fixture
def long(place) -> Place:
    """Four lines: a start, two models' scores, a claim more, the third model's scores."""
    place.run("base", "soup")
    place.claims = [A, B, C]
    place.run()
    assert len(place.lines()) == 4
    return place


def trouble(place):
    """What the register says of itself, when it can say nothing of the claims."""
    assert set(place.kinds()) == {UNKNOWN}
    return place.standing().trouble


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_line_that_was_edited(long, number):
    lines = long.lines()
    lines[number - 1]["claims"] = lines[-1]["claims"][1:]
    long.write(lines)
    assert trouble(long) == f"the register is broken at line {number}"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_line_that_was_taken_out(long, number):
    lines = long.lines()
    del lines[number - 1]
    long.write(lines)
    assert trouble(long) == f"the register is broken at line {number}"


def test_a_claim_that_was_withdrawn_is_told_whatever_is_broken(long):
    long.claims = [A, C]
    long.start()
    lines = long.lines()
    del lines[0]
    long.write(lines)
    assert trouble(long) and long.withdrawn() == [B]


def test_the_last_lines_taken_out_that_scores_were_made_under(long):
    long.write(long.lines()[:1])
    long.start()
    assert trouble(long) == "the register is not the one under which 6 of 6 scores were made"


def test_lines_taken_out_that_no_score_was_made_under_bring_nothing(place):
    place.run()
    place.claims = [A, C]
    place.start()
    place.write(place.lines()[:1])
    place.start()
    assert place.kinds() == [BEFORE, LATE] and place.withdrawn() == [B]


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"hash": 1}', "\xff", "[" * 100000])
def test_a_line_that_is_none(long, text):
    before, *rest = long.register.read_text().splitlines()
    long.register.write_text("\n".join([before, text, *rest]) + "\n", encoding="latin-1")
    assert trouble(long) == "the register is broken at line 2"
    long.claims = [A]
    long.start()
    assert trouble(long) == "the register is broken at line 2"


def test_lines_that_changed_places(long):
    first, second, *rest = long.lines()
    long.write([second, first, *rest])
    assert trouble(long) == "the register is broken at line 1"


def test_a_register_that_was_deleted(long):
    long.register.unlink()
    assert trouble(long) == "no register: nothing is known of when the claims were declared"
    long.start()
    assert trouble(long) == "the register is not the one under which 6 of 6 scores were made"


def test_a_register_that_was_deleted_together_with_all_else(long):
    """Nothing is left that could tell, and the pages say so."""
    shutil.rmtree(long.folder)
    long.run()
    assert set(long.kinds()) == {BEFORE}


def test_scores_that_were_deleted_were_known_all_the_same(place):
    place.run()
    shutil.rmtree(place.folder / "hypotheses")
    place.claims = [A, C]
    place.run()
    assert place.kinds() == [BEFORE, LATE] and place.withdrawn() == [B]


def test_a_register_copied_from_a_run_elsewhere(place, tmp_path, monkeypatch):
    place.run()
    place.claims = [A, C]
    (tmp_path / "elsewhere").mkdir()
    with monkeypatch.context() as patched:
        patched.chdir(tmp_path / "elsewhere")
        place.start()
    shutil.copy(tmp_path / "elsewhere" / place.register, place.register)
    place.start()
    assert trouble(place) == "the register is not the one under which 6 of 6 scores were made"


def test_a_register_copied_from_another_experiment(place):
    place.run()
    other = replace(place, experiment="other")
    other.start()
    shutil.copy(other.register, place.register)
    assert trouble(place) == "the register is broken at line 1, which is of the experiment other"


def test_lines_chained_anew_are_not_those_that_the_scores_were_made_under(long):
    lines = long.lines()
    long.chain([{**line, "claims": lines[-1]["claims"]} for line in lines])
    assert chain.read(long.register).broken is None
    assert trouble(long) == "the register is not the one under which 6 of 6 scores were made"


def test_a_clock_set_back_is_told_and_changes_no_order(place):
    place.run()
    first = place.lines()
    place.claims = [A, B, C]
    place.start()
    third = {k: v for k, v in place.lines()[-1].items() if k not in ("before", "hash")}
    place.write(first)
    chain.append(place.register, {**third, "time": "2001-01-01T00:00:00Z"})
    assert place.standing().turned_back == 3 and place.kinds() == [BEFORE, BEFORE, LATE]


def test_a_line_is_added_whole_or_not_at_all(place, monkeypatch):
    def full(*names):
        raise OSError("disk full")

    place.start()
    before = place.register.read_bytes()
    place.claims = [A]
    with monkeypatch.context() as patched:
        patched.setattr("os.replace", full)
        with pytest.raises(OSError, match="disk full"):
            place.start()
    assert place.register.read_bytes() == before
    place.start()
    assert len(place.lines()) == 2


# -- sealed test sets --------------------------------------------------------------------------------------------------
@pytest.fixture
def sealed(place) -> Place:
    """A claim on an open test set, one on a sealed one; all that is open has run."""
    place.sealed, place.claims = ["u"], [A, ON_SEALED]
    place.run()
    return place


def unseal(place):
    models = [place.id("half"), place.id("base")]
    place.start(opened={"u": models})
    place.opened = {"u": models}
    place.score("half", "base")
    place.start()


def test_claims_on_a_sealed_set_may_change_until_the_seal_is_broken(sealed):
    sealed.claims = [A, {**B, "on": "u"}, ON_SEALED]
    sealed.run()
    sealed.claims = [A, ON_SEALED]
    sealed.start()
    assert not sealed.withdrawn() and sealed.kinds() == [BEFORE, BEFORE]
    unseal(sealed)
    assert sealed.kinds() == [BEFORE, BEFORE] and set(sealed.standing().opened) == {"u"}


def test_a_claim_after_the_seal_was_broken(sealed):
    unseal(sealed)
    sealed.claims = [A, {**ON_SEALED, "hypothesis": "keeps", "margin": 5.0}]
    sealed.start()
    assert sealed.kinds() == [BEFORE, UNSEALED] and sealed.withdrawn() == [ON_SEALED]


def test_other_models_after_the_seal_was_broken(sealed):
    unseal(sealed)
    sealed.models["half"] = 2
    sealed.start()
    assert sealed.kinds() == [BEFORE, UNSEALED]


def test_a_set_that_is_sealed_after_its_scores_is_no_fresh_one(place):
    place.run()
    place.sealed, place.claims = ["u"], [A, ON_SEALED]
    place.start()
    found = place.standing().claims[1]
    assert (found.kind, found.scored + found.besides) == (LATE, 3)


# -- looks -------------------------------------------------------------------------------------------------------------
def counted(rows="rows of t-corpus"):
    found = looks(Path("results"))[rows]
    return len(found.models), len(found.configurations), found.experiments


def test_looks_are_counted_over_configurations_and_experiments(place):
    place.run()
    place.models["half"] = 2
    place.run()
    assert counted() == (4, 2, {"e"})
    replace(place, experiment="other", models={"base": 1, "half": 3}).run()
    assert counted() == (5, 3, {"e", "other"})


def test_another_test_set_is_no_other_configuration_of_the_first(place):
    place.run()
    place.tests = {**place.tests, "v": "v-corpus"}
    place.run()
    assert counted() == (3, 1, {"e"}) and counted("rows of v-corpus") == (3, 1, {"e"})


def test_looks_at_what_was_deleted_count(place):
    place.run()
    shutil.rmtree(place.folder / "hypotheses")
    assert counted() == (3, 1, {"e"})


def test_looks_before_there_was_a_register_count(place):
    place.score(*place.models)
    found = looks(Path("results"))["rows of u-corpus"]
    assert len(found.models) == 3 and found.since and not place.register.exists()


def test_the_same_rows_under_another_name_are_the_same(place):
    place.run()
    replace(place, experiment="other", tests={"renamed": "t-corpus"}, models={"base": 9}).run()
    assert counted()[0] == 4


def test_looks_at_the_rows_of_several_replicates_are_added_up(place):
    place.run()
    replace(place, tests={"v": "v-corpus"}, models={"base": 1, "more": 1}).run()
    found = looks(Path("results"))
    whole = together([found["rows of t-corpus"], found["rows of v-corpus"]])
    assert len(whole.models) == 4 and whole.since == found["rows of t-corpus"].since


def test_a_file_that_is_no_index_is_passed_over(place):
    place.run()
    for number, content in enumerate(["{", "[]", json.dumps({"sets": [{}]})]):
        next(place.folder.glob("hypotheses/*")).joinpath(f"{number}.json").write_text(content)
    place.start()
    assert place.kinds() == [BEFORE, BEFORE]
