"""Scores by speaker, language and other columns."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from consomme.evaluate.metrics import metric_named
from consomme.report.findings.groups import MISSING, compared, groups, labels_of
from consomme.report.outcomes import Outcomes, read_hypotheses
from consomme.report.write import write_report
from consomme.results import load

OUT = Path("results/medical-translator")


def keep(folder, columns):
    """Add columns to a prepared corpus."""
    path = Path(folder) / "rows.arrow"
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    for name, values in columns.items():
        at = table.column_names.index(name) if name in table.column_names else -1
        column = pa.array(values, pa.string())
        table = table.append_column(name, column) if at < 0 else table.set_column(at, name, column)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


@pytest.fixture
def spec(build_tree):
    """Of 40 rows of `general`: speakers in turn, 20 are old or young, 40 noise levels."""
    made = json.loads(json.dumps(build_tree(replicates=(1, 2), count=40)))
    made["claims"] = [c for c in made["claims"] if c["model"] == "balanced"]
    ages = ["old", "young", None, None] * 10
    columns = {"speaker": ["ann", "bob"] * 20, "by:age": ages, "by:snr": [str(n / 2) for n in range(40)]}
    keep(made["corpora"]["general-test"], columns)
    return made | {"by": ["age", "snr", "room"], "units": "document"}


def test_a_group_is_scored_over_its_rows_alone(spec, tmp_path):
    table = groups(Outcomes(spec, tmp_path / "cache"))
    index = json.loads(Path(next(m["evaluation"] for m in spec["models"] if m["name"] == "base")).read_text())
    path = next(e["path"] for e in index["sets"] if e["split"] == "test" and e["set"] == "general")
    _, references, said = read_hypotheses(path)
    bleu = metric_named("bleu")
    wanted = float(bleu.value(bleu.statistics(references[::4], said[::4], "verbatim", "").sum(0)))
    row = table.query("by == 'age' and group == 'old' and model == 'base' and metric == 'bleu' and replicate == '1'")
    assert row["value"].tolist() == pytest.approx([wanted]) and row[["n", "units"]].values.tolist() == [[10, 10]]
    assert (table["ci_low"] <= table["value"]).all() and (table["value"] <= table["ci_high"]).all()


def test_groups_stand_in_their_order_with_missing_values_last(spec, tmp_path):
    table = groups(Outcomes(spec, tmp_path / "cache"))
    names = {by: list(dict.fromkeys(part["group"])) for by, part in table.groupby("by")}
    assert names == {
        "age": ["old", "young", MISSING],
        "snr": ["up to 4.875", "4.875 to 9.75", "9.75 to 14.625", "above 14.625"],
        "speaker": ["ann", "bob"],
    }
    assert set(table.query("by == 'snr'")["n"]) == {10} and set(table["set"]) == {"general"}
    assert set(table["model"]) == {"balanced", "base", "tuned/best"} and set(table["replicate"]) == {"1", "2"}


def test_models_that_claims_name_best_runs_and_bases(spec, tmp_path):
    spec["claims"][0] |= {"against": "tuned/learning_rate=1e-05"}
    found = compared(Outcomes(spec, tmp_path / "cache"))
    assert found == ["base", "balanced", "tuned/best", "tuned/learning_rate=1e-05"]


def test_rows_of_a_document_are_one_unit_and_one_unit_has_no_interval(spec, tmp_path):
    keep(spec["corpora"]["general-test"], {"document": ["d"] * 20 + ["e", "f"] * 10})
    table = groups(Outcomes(spec, tmp_path / "cache")).query("by == 'snr' and metric == 'bleu' and model == 'base'")
    assert table["units"].tolist() == [1, 1, 2, 2] * 2
    assert table["ci_low"].isna().tolist() == [True, True, False, False] * 2


def test_where_speakers_are_the_units_a_group_has_its_speakers_and_a_speaker_has_sentences(spec, tmp_path):
    table = groups(Outcomes(spec | {"units": "speaker"}, tmp_path / "cache")).query(
        "metric == 'bleu' and model == 'base'"
    )
    units = {(row.by, row.group): row.units for row in table.itertuples()}
    assert units["age", "old"] == 1 and units["age", MISSING] == 2 and units["speaker", "ann"] == 20
    assert table.query("by == 'speaker'")["ci_low"].notna().all()


def names(column, values):
    return [label.name for label in labels_of(column, {"1": values})["1"]]


def test_numbers():
    assert names("level", [str(n) for n in range(12)]) == [str(n) for n in range(12)]  # twelve are a group each
    cut = names("level", [str(n) for n in range(13)])
    assert cut == ["up to 3"] * 4 + ["3 to 6"] * 3 + ["6 to 9"] * 3 + ["above 9"] * 3
    assert names("level", ["1", "1.0", None]) == ["1", "1", MISSING]
    assert names("speaker", [str(n) for n in range(13)]) == [str(n) for n in range(13)]  # these are names
    assert names("level", [*(str(n) for n in range(13)), "high"])[:2] == ["0", "1"]  # not all are numbers
    assert len(set(names("level", ["0"] * 50 + [str(n) for n in range(13)]))) == 2  # most are the same


def test_the_whole_report(spec):
    write_report(spec, OUT, Path("results/cache"))
    table, page = load("results").groups, (OUT / "report.html").read_text()
    assert len(table) == 2 * 3 * 2 * (3 + 4 + 2)  # replicates, models, metrics, groups
    assert "general by snr: 4 groups" in page and "No test set has a column room." in page
    assert "4.875 to 9.75" in page and "general by speaker: 2 groups" in page


def test_of_many_speakers_the_worst_are_shown(spec):
    keep(spec["corpora"]["general-test"], {"speaker": [f"s{n:02d}" for n in range(40)]})
    write_report(spec | {"by": []}, OUT, Path("results/cache"))
    page, table = (OUT / "report.html").read_text(), load("results").groups.query("metric == 'bleu'")
    means = table[table["model"] == table["model"].iloc[-1]].groupby("group")["value"].mean().sort_values()
    shown = [name for name in means.index if f"<td>{name}</td>" in page]
    assert len(shown) == 20 and means[shown].max() <= means.iloc[19]


def test_nothing_known_is_no_group(tree):
    write_report(json.loads(json.dumps(tree)), OUT, Path("results/cache"))
    assert load("results").groups.empty and 'id="groups"' not in (OUT / "report.html").read_text()
