"""Metrics of other programs."""

import json
import sys
from pathlib import Path

import pytest

from consomme.report.commands import Command, Failed
from consomme.report.evidence.claims import compare
from consomme.report.evidence.questions import declared
from consomme.report.evidence.scores import scores
from consomme.report.outcomes import Outcomes
from consomme.report.words.summary import cautions

# counts the words of the hypothesis that the source has, and notes each call
OVERLAP = """
import json, sys
rows = [json.loads(line) for line in sys.stdin]
open("calls", "a").write(f"{len(rows)}\\n")
for row in rows:
    assert list(row) == ["id", "source", "reference", "hypothesis"], row
    print(len(set(row["hypothesis"].split()) & set(row["source"].split())))
"""


def program(text, name="scorer.py"):
    Path(name).write_text(text)
    return [sys.executable, name]


@pytest.fixture
def spec(build_tree):
    made = json.loads(json.dumps(build_tree(replicates=(1,), count=20)))
    made["claims"] = [made["claims"][1], made["claims"][1] | {"metric": "overlap"}]
    return made | {"metrics": ["bleu", "overlap"], "commands": {"overlap": {"command": program(OVERLAP)}}}


def test_scores_enter_the_tables_and_the_tests(spec, tmp_path):
    outcomes = Outcomes(spec, tmp_path / "cache")
    table = scores(outcomes)
    assert Path("calls").read_text().split() == ["640"]  # eight different models, four sets of twenty rows, one call
    row = table.query("metric == 'overlap' and model == 'base' and split == 'test' and set == 'general'").iloc[0]
    lines = [json.loads(line) for line in Path(row["path"]).read_text().splitlines()]
    sources = outcomes.rows(["general-test"]).sources
    wanted = [len(set(line["hypothesis"].split()) & set(s.split())) for line, s in zip(lines, sources, strict=True)]
    assert row["value"] == pytest.approx(sum(wanted) / 20) and row["ci_low"] < row["value"] < row["ci_high"]
    claim = compare(outcomes, declared(outcomes))[1]
    means = table.query("metric == 'overlap' and split == 'test' and set == 'medical'").set_index("model")["value"]
    assert claim.metric == "overlap" and claim.difference == pytest.approx(means["balanced"] - means["base"])


def test_known_scores_are_not_asked_for_again(spec, tmp_path):
    def values(more):
        found = Outcomes(spec | more, tmp_path / "cache")
        return (
            found.statistics(found.sheet("soup", "1", "test", "medical"), "overlap").sum(0).tolist()
            if not found.failed
            else []
        )

    first = values({})
    assert values({}) == first and len(Path("calls").read_text().split()) == 1
    program(OVERLAP + "# changed")
    assert values({}) == first and len(Path("calls").read_text().split()) == 2
    assert values({"commands": {"overlap": {"command": [*program(OVERLAP), "-"]}}}) == first
    assert len(Path("calls").read_text().split()) == 3


def test_lower_can_be_better(spec, tmp_path):
    spec["commands"]["overlap"]["lower"] = True
    outcomes = Outcomes(spec, tmp_path / "cache")
    assert outcomes.sign("overlap") == -1


def test_of_speech_there_is_no_source(spec, tmp_path):
    said = program(
        "import json, sys\nfor line in sys.stdin: print(int(json.loads(line)['source'] is None))", "speech.py"
    )
    outcomes = Outcomes(spec | {"task": "asr", "commands": {"overlap": {"command": said}}}, tmp_path / "cache")
    sheet = outcomes.sheet("soup", "1", "test", "medical")
    assert not outcomes.failed and outcomes.statistics(sheet, "overlap")[:, 0].all()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("import sys; sys.exit('no GPU here')", "ended with status 1; its last words: no GPU here"),
        ("import sys; sys.stdin.read(); print(1)", "was asked for 3 rows and wrote 1"),
        ("import sys\nfor line in sys.stdin: print('nan')", r"wrote 'nan' for row 1 \(r0\), and not a finite number"),
        ("import sys\nfor n, line in enumerate(sys.stdin): print('x' if n else 1)", r"wrote 'x' for row 2 \(r1\)"),
        ("import os; os.abort()", "ended with status -6"),
    ],
)
def test_a_scorer_that_fails_is_named(tmp_path, monkeypatch, text, wanted):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"r{n}", "source": "", "reference": "", "hypothesis": ""} for n in range(3)]
    with pytest.raises(Failed, match=f"^comet: `.*` {wanted}"):
        Command("comet", tuple(program(text))).scores(rows)
    with pytest.raises(Failed, match="comet: `nowhere -x` can't be started"):
        Command("comet", ("nowhere", "-x")).scores(rows)


def test_nothing_else_is_lost(spec, tmp_path):
    spec["commands"]["overlap"]["command"] = program("raise SystemExit('out of memory')")
    outcomes = Outcomes(spec, tmp_path / "cache")
    assert outcomes.metrics == ["bleu"] and set(scores(outcomes)["metric"]) == {"bleu"}
    assert [c.claim for c in compare(outcomes, declared(outcomes))] == ["1"]
    (line,) = [line for line in cautions(outcomes, []) if "overlap" in line]
    assert line.endswith("its last words: out of memory. Its columns are missing, and not tested is claim 2.")
