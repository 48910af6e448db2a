"""Languages of corpora in the plan: defaults, digests, errors before any job."""

import json

import pytest
import yaml

from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError

PAIRS = """
corpora:
  there: {source: generated, generator: dosage, domain: general, size: 20}
  back:  {source: generated, generator: dosage, domain: general, size: 20, languages: [fr, en]}
  mixed: {source: manifest, path: pairs.tsv, columns: {source_language: from, target_language: to}}
  dev:   {source: generated, generator: dosage, domain: general, split: dev, size: 10}
  test:  {source: generated, generator: dosage, domain: general, split: test, size: 10, languages: [fr, en]}
experiments:
  e:
    task: nmt
    languages: [en, fr]
    data: {train: [there, back], dev: dev, test: test}
    models:
      raw: {from: {folder: model}}
      tuned: {train: raw, max_steps: 4}
"""


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return yaml.safe_load(PAIRS)


def checkpoint(path, config, **files):
    path.mkdir()
    for name, content in {"config": config, **files}.items():
        (path / f"{name}.json").write_text(json.dumps(content))


def nllb(path, codes):
    config = {"model_type": "m2m_100", "architectures": ["M2M100ForConditionalGeneration"], "encoder_layers": 2}
    checkpoint(path, config, tokenizer_config={"src_lang": "xyz_Latn", "extra_special_tokens": codes})


def whisper(path, *codes):
    config = {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "encoder_layers": 2}
    checkpoint(path, config, generation_config={"lang_to_id": {f"<|{code}|>": 7 for code in codes}})


def test_a_corpus_is_prepared_in_its_own_languages_and_else_in_those_of_the_experiment(pairs):
    plan = Plan(pairs)
    spoken = {c.name: c.spoken for c in plan.corpora.values()}
    assert spoken == {"there": ("en", "fr"), "back": ("fr", "en"), "dev": ("en", "fr"), "test": ("fr", "en")}
    assert json.loads(next(c for c in plan.corpora.values() if c.name == "back").spec)["languages"] == ["fr", "en"]


def test_columns_leave_the_languages_of_a_corpus_open(pairs):
    pairs["experiments"]["e"]["data"]["train"] = "mixed"
    assert next(c for c in Plan(pairs).corpora.values() if c.name == "mixed").spoken is None


def test_a_corpus_with_another_language_is_another_corpus_and_makes_another_model(change, digests):
    before = digests(change({}))
    named = digests(change({"corpora/b-train/language": "en"}))
    other = digests(change({"corpora/b-train/language": "sv"}))
    for name, same in (("1/raw", True), ("1/base", True), ("1/soup", False), ("1/healed", False)):
        assert (before[name] == named[name]) is same and (named[name] == other[name]) is same


def test_a_temperature_is_part_of_a_training_and_1_is_as_without(change, digests):
    before, flat, tempered = (
        digests(change({"experiments/e/models/tuned/data": data} if data else {}))
        for data in (None, {"temperature": 1}, {"temperature": 5})
    )
    assert before == flat and before["1/base"] == tempered["1/base"] and before["1/soup"] != tempered["1/soup"]
    run = "experiments/e/models/tuned/sweep"
    assert "1/tuned/data.temperature=5.0" in digests(change({run: {"grid": {"data.temperature": [1, 5]}}}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"corpora/b-train/languages": ["en", "fr"]}, ["corpora.b-train.languages", "write language: CODE"]),
        ({"corpora/b-train/language": False}, ["corpora.b-train.language", 'write "no" in quotes']),
        ({"experiments/e/models/tuned/data": {"temperature": 0.5}}, ["data.temperature", "greater than or equal to 1"]),
        ({"experiments/e/languages": None, "experiments/e/models/raw": {"from": {"hub": "x/y"}}}, ["corpora.a-", "names no languages"]),
        ({"experiments/e/languages": None, **{f"corpora/{c}-{s}/language": "en" for c in "ab" for s in ("train", "dev", "test")}}, ["e.languages", "new model"]),
    ],
)  # fmt: skip
def test_what_can_be_known_before_a_job_is_said_before(change, settings, words):
    with pytest.raises(ConfigurationError) as error:
        Plan(change(settings))
    assert all(word in str(error.value) for word in words), error.value


def test_a_language_is_named_once(pairs):
    pairs["experiments"]["e"]["data"]["train"] = "mixed"
    pairs["corpora"]["mixed"]["languages"] = ["en", "fr"]
    with pytest.raises(ConfigurationError, match=r"corpora\.mixed: .* leave one of them out"):
        Plan(pairs)
    del pairs["corpora"]["mixed"]["columns"]["source_language"]  # the other side's is that of the corpus
    assert Plan(pairs).models


def test_a_language_that_the_model_has_no_code_for(pairs, tmp_path):
    nllb(tmp_path / "model", ["en_XX", "fr_XX"])
    assert Plan(pairs).models
    pairs["corpora"]["back"]["languages"] = ["fr", "sv"]
    with pytest.raises(ConfigurationError, match=r"corpora\.back\.languages: .*'sv' is unknown.*en_XX, fr_XX"):
        Plan(pairs)


def test_a_spoken_language_that_whisper_has_no_token_for(change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whisper(tmp_path / "model", "en", "fr")
    models = {"base": {"from": {"folder": "model"}}, "tuned": {"train": "base", "max_steps": 2}}
    settings = {"experiments/e/models": models, "experiments/e/claims": None}
    assert Plan(change({**settings, "corpora/a-test/language": "fr"})).models
    with pytest.raises(ConfigurationError, match=r"corpora\.a-test\.language: 'a-test' can't be for 'base': 'sv'"):
        Plan(change({**settings, "corpora/a-test/language": "sv"}))
    with pytest.raises(ConfigurationError, match=r"experiments\.e\.languages: .*'de'"):
        Plan(change({**settings, "experiments/e/languages": ["de"]}))


def back_translation(pairs, **corpus):
    pairs["corpora"]["made"] = {"source": "relabelled", "corpus": "there", "by": "tuned", "side": "source"}
    pairs["corpora"]["there"] |= corpus
    pairs["experiments"]["e"]["models"]["again"] = {"train": "tuned", "data": {"train": "made"}, "max_steps": 2}
    return pairs


def test_a_model_that_is_told_each_rows_languages_translates_back_by_itself(pairs, tmp_path):
    nllb(tmp_path / "model", ["en_XX", "fr_XX"])
    plan = Plan(back_translation(pairs, languages=["en", "fr"]))
    made = next(c for c in plan.corpora.values() if c.name == "made")
    assert made.spoken == ("en", "fr")  # the rows keep their direction


def test_a_model_of_one_direction_translates_back_what_it_has_learnt(pairs, tmp_path):
    checkpoint(tmp_path / "model", {"model_type": "marian", "architectures": ["MarianMTModel"]})
    assert Plan(back_translation(pairs, languages=["en", "fr"])).models  # `back` taught it French to English
    pairs["experiments"]["e"]["data"]["train"] = "there"
    with pytest.raises(ConfigurationError, match=r"corpora\.made\.by: .*languages: \[fr, en\]"):
        Plan(pairs)
