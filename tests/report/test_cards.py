"""Model cards from the evidence."""

import json
from pathlib import Path

import yaml

from consomme.report.write import write_report


def edit(spec, name, **more):
    """Add entries to a model's record."""
    for model in spec["models"]:
        if model["name"] == name:
            path = Path(model["folder"]) / "provenance.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | more))


def test_a_card_says_what_is_known_and_what_is_not(tree):
    edit(tree, "base", verb="from", origin={"hub": "someone/base"}, card={"license": "mit", "datasets": ["opus"]})
    agreement = {"examples": 32, "same": 31}
    asked = [{"how": "with a beam of 5", "wer": 12.5, "empty": 2}]
    edit(tree, "healed", agreement=agreement, asked_otherwise=asked, train={"medical-train": 1})
    write_report(tree, Path("results/medical-translator"), Path("cache"))
    (path,) = Path("results/medical-translator/cards").iterdir()
    assert path.name == "healed.md"
    _, front, text = path.read_text(encoding="utf-8").split("---\n", 2)
    data = yaml.safe_load(front)
    assert data["license"] == "mit" and data["base_model"] == ["someone/base"] and data["pipeline_tag"] == "translation"
    results = data["model-index"][0]["results"]
    assert {r["dataset"]["name"] for r in results} == {"general", "medical"}
    assert {m["type"] for r in results for m in r["metrics"]} == {"bleu", "chrf"}
    for words in (
        "healed was trained from half",
        "| medical | ",
        "healed keeps balanced on medical within 1",
        "31 of 32 development rows come out word for word",
        "Asked with a beam of 5, its WER on up to 32 development rows is 12.50, with 2 empty answers",
        "base was trained before on opus",
        "someone/base: mit.",
        "Training data: medical-train; its licence is not known here",
        "from_pretrained",
    ):
        assert words in text, words
    assert "tuned/learning_rate" in text  # the runs that its average was made of


def test_cards_of_an_earlier_report_go(tree):
    folder = Path("results/medical-translator/cards")
    folder.mkdir()
    (folder / "gone.md").write_text("old")
    write_report(tree, Path("results/medical-translator"), Path("cache"))
    assert [path.name for path in folder.iterdir()] == ["healed.md"]
