"""What the language of an experiment decides: its metrics, tokenizers, normalisers, and the digests that hold them."""

import subprocess
import sys

import pytest
import yaml

from consomme.evaluate.metrics import bleu
from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError

PAIRS = """
corpora: {a: {source: parallel, path: p}, b: {source: parallel, path: q}, c: {source: parallel, path: r}}
experiments:
  e:
    task: nmt
    languages: [en, fr]
    data: {train: a, dev: b, test: c}
    models:
      raw: {from: {scratch: {family: marian}, tokenizer: {vocab_size: 60}}}
      runs: {train: raw, max_steps: 2, sweep: {grid: {seed: [1, 2]}}}
"""


def translator(target, **more):
    raw = yaml.safe_load(PAIRS)
    raw["experiments"]["e"] |= {"languages": ["en", target], **more}
    return Plan(raw)


@pytest.mark.parametrize("language", ["zh", "ja", "tha_Thai", "lo", "km", "my"])
def test_a_language_without_spaces_is_scored_by_character(change, language):
    study = Plan(change({"experiments.e.languages": [language]})).studies["e"]
    assert (study.first.metric, study.first.metrics) == ("cer", ["cer", "wer"])
    assert study.claims[0]["metric"] == "cer"


def test_a_metric_that_is_given_stays(change):
    study = Plan(change({"experiments.e.languages": ["th"], "experiments.e.metric": "wer"})).studies["e"]
    assert study.first.metric == "wer"


@pytest.mark.parametrize(
    ("target", "metric", "cut"),
    [("fr", "bleu", None), ("zh", "bleu", {"bleu": "zh"}), ("th", "bleu", {"bleu": "char"}), ("zh", "chrf", None)],
)
def test_what_was_chosen_with_another_tokenizer_is_another_model(target, metric, cut):
    best = translator(target, metric=metric, metrics=[metric]).studies["e"].models[-1]
    assert best.name == "runs/best"
    assert best.identity.get("tokenizers") == cut


def test_a_tokenizer_that_is_not_installed_stops_the_plan(monkeypatch):
    monkeypatch.setattr(bleu, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigurationError, match=r"experiments.e.metric: BLEU of 'ja' .* pip install 'sacrebleu\[ja\]'"
    ):
        translator("ja")
    assert translator("ja", metric="chrf", metrics=["chrf", "bleu-char"]).studies["e"].first.metric == "chrf"


def test_a_recording_is_prepared_by_language_only_where_its_normaliser_is(change):
    def digest(normaliser, language):
        corpora = Plan(change({"corpora.b-dev.normaliser": normaliser, "experiments.e.languages": [language]})).corpora
        return next(c.digest for c in corpora.values() if c.name == "b-dev")

    assert digest("basic", "en") == digest("basic", "de")
    assert digest("basic", "en") != digest("basic", "tr")  # I is the capital of ı there
    assert digest("numbers+basic", "en") != digest("numbers+basic", "de")


def test_planning_imports_nothing_heavy(tmp_path):
    (tmp_path / "c.yaml").write_text(PAIRS.replace("[en, fr]", "[en, zho_Hans]"))
    heavy = ["numpy", "torch", "pandas", "sacrebleu", "jiwer", "transformers"]
    code = "import sys, yaml; from consomme.plan.plan import Plan; Plan(yaml.safe_load(open(sys.argv[1])))"
    code += f"; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "c.yaml"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
