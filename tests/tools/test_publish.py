"""Pages of results for the repository; of finished runs in tests/workflow."""

from pathlib import Path

import pytest

from consomme.common.errors import ConsommeError
from consomme.plan.load import read
from consomme.plan.plan import Plan
from consomme.tools.publish import _folded, publish

DEMO = Path(__file__).parents[2] / "config/config.yaml"


def test_a_page_of_one_experiment_names_it_in_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    publish(DEMO, tmp_path / "some.md", ["spoken-numbers"])
    some = (tmp_path / "some.md").read_text()
    assert "config.yaml -- results/spoken-numbers/report.html`" in some
    assert "## spoken-numbers" in some and "dosage-translator" not in some and "Not run to the end" in some
    publish(DEMO, tmp_path / "all.md")
    every = (tmp_path / "all.md").read_text()
    assert "config.yaml`" in every and "## spoken-numbers" in every and "## dosage-translator" in every


def test_a_page_of_no_experiment(tmp_path):
    with pytest.raises(ConsommeError, match="did you mean 'spoken-numbers'"):
        publish(DEMO, tmp_path / "page.md", ["spoken-number"])


def test_runs_of_a_trained_sweep_share_a_line_and_recovered_ones_of_other_shapes_do_not():
    study = Plan(read([DEMO.with_name("depth.yaml")])).studies["depth"]
    lines = dict(reversed(pair) for pair in _folded(study))
    greedy = "middle-recovered/layers.encoder.by=greedy,layers.encoder.drop=1of2"
    assert lines[greedy] == [greedy] and not any("median" in shown for shown in lines)
    speech = Plan(read([DEMO])).studies["spoken-numbers"]
    assert any("median of" in shown and len(names) > 1 for names, shown in _folded(speech))
