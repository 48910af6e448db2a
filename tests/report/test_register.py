"""The claims' register in tables, summary and page."""

import csv
import html
import json
import re
from pathlib import Path

import pytest

from consomme.register.entry import declare
from consomme.report.evidence.holm import holm
from consomme.report.findings.means import by_decoding
from consomme.report.page.register import section, verdicts
from consomme.report.words.register import opening
from consomme.report.words.summary import summary
from consomme.report.write import measured, write_report

OUT = Path("results/medical-translator")
CLAIMS = [
    {"model": "soup", "hypothesis": "beats", "against": "tuned/best", "on": "medical", "metric": "bleu", "margin": 0.0},
    {"model": "balanced", "hypothesis": "beats", "against": "base", "on": "medical", "metric": "bleu", "margin": 0.0},
    {"model": "balanced", "hypothesis": "keeps", "against": "base", "on": "general", "metric": "bleu", "margin": 12.0},
]
SETS = ("general", "medical")


@pytest.fixture
def spec(build_tree):
    """A tree, in which nothing has been declared yet."""
    spec = build_tree(replicates=(1,), count=40, claims=CLAIMS)
    register = {"path": f"{OUT}/claims.jsonl", "sealed": [], "claims": [], "opened": {}}
    register["tests"] = {t: [[[f"settings of {t}", f"results/data/{t}-test"]]] for t in SETS}
    return json.loads(json.dumps(spec | {"register": register}))


@pytest.fixture
def run(spec):
    """The same after a run: the register knows of its beginning, without scores, and of its end."""
    there = OUT / "hypotheses"
    there.rename("aside")
    declare(spec, Path())
    Path("aside").rename(there)
    declare(spec, Path())
    return spec


def report(spec):
    """summary.md, the page's text, and the comparisons that aren't exploratory. All files are written."""
    write_report(spec, OUT, Path("results/cache"))
    page = re.sub(r"<(style|script|svg).*?</\1>|<[^>]+>", " ", (OUT / "report.html").read_text(), flags=re.DOTALL)
    rows = [row for row in table("comparisons") if row["claim"] != "exploratory"]
    return (OUT / "summary.md").read_text(), " ".join(html.unescape(page).split()), rows


def told(spec):
    """The same, without the rest of the page and the files."""
    outcomes, scores, comparisons, costs, registered = measured(spec, Path("results/cache"))
    claims = [c for c in comparisons if c.declared]
    shown = section(outcomes, registered)
    lines = [opening(claims, registered), *(v["notes"] for v in verdicts(claims, registered))]
    page = " ".join([*lines, *shown["untested"], *shown["looks"], *shown["lines"]])
    rows = [vars(c) for c in [*claims, *(c for _, c in registered.withdrawn if c)]]
    return summary(outcomes, comparisons, by_decoding(scores), costs, registered), page, rows


def table(name):
    with open(OUT / f"{name}.tsv", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def adjusted(rows):
    return {row["claim"]: row["p_models_holm"] for row in rows}


def test_claims_declared_before_any_score_and_the_hash_to_print(run):
    short, page, rows = told(run)
    head = json.loads((OUT / "claims.jsonl").read_text().splitlines()[-1])["hash"]
    for text in (short, page):
        assert "All were declared before any score." in text and head in text
        assert re.search(r"general: scored with 9 models in 1 configuration since \d{4}-\d\d-\d\d\.", text)
    assert "late" not in short and page.count("Declared before any score.") == 3 and len(rows) == 3


def test_without_a_register_nothing_is_known(spec):
    for text in told(spec)[:2]:
        assert "No register: nothing is known of when the claims were declared." in text


def test_a_broken_register(run):
    lines = (OUT / "claims.jsonl").read_text().splitlines()
    (OUT / "claims.jsonl").write_text("\n".join([lines[0].replace("12.0", "13.0"), *lines[1:]]) + "\n")
    for text in told(run)[:2]:
        assert "The register is broken at line 1." in text


def test_a_claim_with_other_words_after_the_scores_is_late_and_the_old_one_counts(run):
    run["claims"][2]["margin"] = 20.0
    declare(run, Path())
    short, page, rows = report(run)
    for text in (short, page):
        assert "Declared before any score: 2; late: 1. Withdrawn, and counted in Holm's correction: 1." in text
        assert "Declared late, when 18 of 18 scores were known." in text
    assert "Withdrawn: **balanced keeps base on general within 12** — " in short
    assert [row["claim"] for row in rows] == ["1", "2", "3", "withdrawn 1"]
    assert holm([float(row["p_models"]) for row in rows]) == pytest.approx(
        [float(row["p_models_holm"]) for row in rows], abs=1e-4
    )


def test_removing_a_failed_claim_changes_no_p(run):
    before = adjusted(told(run)[2])
    run["claims"] = run["claims"][1:]
    declare(run, Path())
    short, _, rows = told(run)
    after = adjusted(rows)
    assert after == {"1": before["2"], "2": before["3"], "withdrawn 1": before["1"]}
    assert re.search(r"^(All 2|\d of 2|None of 2) claims", short, re.MULTILINE)


@pytest.mark.parametrize("lost", ["model", "rows"])
def test_a_withdrawn_claim_that_can_not_be_tested_counts_as_one_of_p_1(run, lost):
    run["claims"] = run["claims"][1:]
    if lost == "model":
        run["models"] = [m for m in run["models"] if m["name"] != "soup"]
    else:
        run["register"]["tests"]["medical"] = [[["other settings", "results/data/medical-test"]]]
    declare(run, Path())
    short, page, rows = told(run)
    gone = {"model": 1, "rows": 2}[lost]
    for text in (short, page):
        assert f"Withdrawn, and counted in Holm's correction: {gone}." in text
        assert text.count("its models or its test rows are not there any more; it counts as p = 1.") == gone
    wanted = holm([*(row["p_models"] for row in rows), *[1.0] * gone])[: len(rows)]
    assert [row["claim"] for row in rows] == ["1", "2"]
    assert [row["p_models_holm"] for row in rows] == pytest.approx(wanted)


# -- sealed test sets --------------------------------------------------------------------------------------------------
OPENED = ("balanced", "base")


@pytest.fixture
def sealed(run):
    """The test set `medical` is sealed: no model was decoded on it. A claim on `general` and two on `medical`."""
    (OUT / "claims.jsonl").unlink()
    for model in run["models"]:
        index = Path(model["evaluation"])
        entries = [e for e in json.loads(index.read_text())["sets"] if e["set"] == "general" or e["split"] == "dev"]
        index.with_name("whole.txt").write_text(index.read_text())
        index.write_text(json.dumps({"sets": entries}))
    del run["sets"]["1"]["test"]["medical"]
    run["register"] |= {"sealed": ["medical"], "claims": run["claims"][:2]}
    run["claims"] = run["claims"][2:]
    declare(run, Path())
    return run


def unseal(spec):
    models = {m["name"]: m for m in spec["models"]}
    opened = {"medical": [Path(models[name]["folder"]).name for name in OPENED]}
    declare(spec, Path(), opened)
    for name in OPENED:
        index = Path(models[name]["evaluation"])
        index.write_text(index.with_name("whole.txt").read_text())
    spec["sets"]["1"]["test"]["medical"] = ["medical-test"]
    tested = [c for c in spec["register"]["claims"] if {c["model"], c["against"]} <= set(OPENED)]
    spec["claims"] = [*tested, *spec["claims"]]
    spec["register"]["claims"] = [c for c in spec["register"]["claims"] if c not in tested]
    spec["register"]["opened"] = opened
    declare(spec, Path())


def test_a_sealed_set_is_called_so_and_its_claims_count_as_not_shown(sealed):
    short, page, rows = told(sealed)
    assert [row["set"] for row in rows] == ["general"]
    assert float(rows[0]["p_models_holm"]) == pytest.approx(min(1, 3 * float(rows[0]["p_models"])), abs=1e-4)
    assert "- **soup beats tuned/best on medical** — sealed." in short
    for text in (short, page):
        assert "Sealed, and not tested: 2." in text and "medical: sealed." in text


def test_only_what_the_seal_was_broken_for_is_tested(sealed):
    unseal(sealed)
    short, page, rows = report(sealed)
    assert [(row["model"], row["set"]) for row in rows] == [("balanced", "medical"), ("balanced", "general")]
    for text in (short, page):
        assert "Sealed, and not tested: 1." in text
        assert re.search(
            r"medical: scored with 2 models in 1 configuration since \S+; its seal was broken on \S+\.", text
        )
        assert re.search(
            r"not tested: its models are not those for which the seal was broken on \d{4}-\d\d-\d\d\.", text
        )
    assert "Declared before the seal was broken." in page
    scored = {(row["model"], row["set"]) for row in table("scores") if row["split"] == "test"}
    assert {model for model, name in scored if name == "medical"} == set(OPENED)


def test_a_claim_changed_after_the_seal_was_broken(sealed):
    unseal(sealed)
    sealed["claims"][0] |= {"hypothesis": "keeps", "margin": 30.0}
    declare(sealed, Path())
    for text in told(sealed)[:2]:
        assert "after the seal was broken: 1" in text and "Declared after the seal was broken." in text
