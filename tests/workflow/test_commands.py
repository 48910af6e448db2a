"""The commands around a run: answers, overview, tables, pictures, what no configuration uses."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from consomme.plan import __main__ as plan_command
from consomme.report import pictures
from consomme.tools import publish

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


@pytest.fixture
def there(place, monkeypatch):
    monkeypatch.chdir(place.folder)
    return place


def test_answers_overview_and_tables(there, capsys):
    plan_command.main(["config.yaml", "--answers"])
    told = capsys.readouterr().out
    assert "soup beats tuned/best on t" in told and "results/e/report.html" in told
    plan_command.main(["config.yaml"])
    told = capsys.readouterr().out
    assert "models: 8, 8 there" in told and "corpora: 3, 3 prepared" in told
    publish.main(["config.yaml", "--out", "page.md"])
    page = Path("page.md").read_text()
    assert (
        "| tuned, median of 2 runs |" in page and "| half keeps mean within 50 on t |" in page and "- commit:" in page
    )
    assert "### Averages against the best of their runs" in page and "comparisons</summary>" in page
    shown = re.findall(r"\]\((page/.*\.svg)\)", page)
    assert shown and sorted(shown) == sorted(str(p) for p in Path("page").iterdir())
    for picture in shown:
        ET.parse(picture)


def test_targets_name_the_models_files(there, capsys):
    plan_command.main(["config.yaml", "--targets", "e/tuned/learning_rate=0.001"])
    target = capsys.readouterr().out.strip()
    assert Path(target).exists() and Path(target).parent.samefile("results/e/current/tuned/learning_rate=0.001")


def test_pictures_carry_the_scores(there):
    written = pictures.draw([Path("config.yaml").resolve()], Path("pictures"), there.repository / "Snakefile")
    assert {p.name for p in written} == {"e.svg", "e.mmd", "rules.svg", "rules.mmd"}
    for path in written:
        if path.suffix == ".svg":
            ET.parse(path)
    text = " ".join(t for e in ET.parse("pictures/e.svg").iter() for t in (e.text or "",) if t)
    assert "×2" in text and "half" in text


def test_what_no_configuration_uses_is_listed_and_removed_only_when_told(there, capsys):
    there.change(models__tuned__sweep={"grid": {"learning_rate": ["1e-3"]}})
    unused = Path("results/e/current/tuned/learning_rate=0.002").resolve()
    plan_command.main(["config.yaml", "--clean"])
    assert unused.name in capsys.readouterr().out and unused.exists()
    plan_command.main(["config.yaml", "--clean", "--yes"])
    kept = Path("results/e/current/tuned/learning_rate=0.001").resolve()
    assert not unused.exists() and (kept / "model.safetensors").exists()
