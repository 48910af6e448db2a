"""Corpora that a model of the graph makes: whose model, in which digest, and what is refused."""

import json
import re
from copy import deepcopy

import pytest
import yaml

from consomme.plan.items import given
from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError

TWO_WAYS = """
corpora:
  pairs: {source: generated, generator: dosage, domain: general, size: 20}
  mono:  {source: generated, generator: dosage, domain: medical, size: 20, missing: source}
  dev:   {source: generated, generator: dosage, domain: general, split: dev, size: 5}
  test:  {source: generated, generator: dosage, domain: general, split: test, size: 5}
  back:  {source: relabelled, corpus: mono, by: backward/tuned/best, side: source, tag: <BT>, keep: {share: 0.5}}
.models: &models
  untrained: {from: {scratch: {family: marian}}}
  base:  {train: untrained, max_steps: 3}
  tuned: {train: base, max_steps: 3, sweep: {grid: {seed: [1, 2]}}}
experiments:
  forward:
    task: nmt
    languages: [en, fr]
    repeat: [1, 2]
    data: {train: pairs, dev: dev, test: test}
    models: {<<: *models, more: {train: base, data: {train: {pairs: 1, back: 2}}, max_steps: 3}}
  backward:
    task: nmt
    languages: [fr, en]
    repeat: [1, 2, 3]
    decoding: {num_beams: 2, max_new_tokens: 50}
    data: {train: pairs, dev: dev, test: test}
    models: *models
"""
PSEUDO = {"source": "relabelled", "corpus": "a-train", "by": "soup", "keep": {"confidence": "9/10", "wer": 20}}
HEARD = {"source": "folder", "path": "recordings", "pattern": "{speaker}_{index}.wav", "missing": "target"}
STUDENT = {"train": "raw", "data": {"train": {"b-train": 1, "pseudo": 2}}, "max_steps": 5}


@pytest.fixture
def pseudo(change):
    """`pseudo({"corpora/pseudo/by": ...})`: a recogniser that learns from what the soup hears, something changed."""

    def build(settings=(), **keys):
        raw = change(
            {
                "corpora/heard": HEARD,
                "corpora/pseudo": {**PSEUDO, **keys},
                "experiments/e/models/student": dict(STUDENT),
            }
        )
        for dotted, value in dict(settings).items():
            here = raw
            *parents, last = dotted.split("/")
            for part in parents:
                here = here[part]
            here[last] = value
        return raw

    return build


@pytest.fixture
def two_ways():
    raw = yaml.safe_load(TWO_WAYS)
    return lambda **back: (raw["corpora"]["back"].update(back), deepcopy(raw))[1]


def made(plan, name="pseudo", model="student"):
    """The corpus as each replicate's model is trained on it."""
    found = {m.replicate: m.corpora[name] for m in plan.models.values() if m.node == model and name in m.corpora}
    return found if len(found) > 1 else next(iter(found.values()))


def test_the_job_reads_the_corpus_and_the_model_and_the_training_reads_the_job(pseudo):
    plan = Plan(pseudo())
    corpus = made(plan)
    (soup,) = (m for m in plan.models.values() if m.node == "soup")
    (origin,) = (c for c in plan.corpora.values() if c.name == "a-train")
    assert corpus.inputs == {"corpus/a-train": origin.marker, "model/e/soup": soup.content}
    spec = json.loads(corpus.spec)
    assert spec["inputs"] == list(corpus.inputs) and spec["digest"] == corpus.digest == corpus.id[-12:]
    assert spec["settings"]["keep"] == {"confidence": 0.9, "wer": 20} and spec["languages"] == ["en"]
    (student,) = (m for m in plan.models.values() if m.node == "student")
    assert student.inputs["corpus/pseudo"] == corpus.marker and plan.corpora[corpus.id] is corpus
    assert student.identity["train"] == {"b-train": 1, "pseudo": 2}
    # which rule makes which corpus
    assert re.fullmatch(plan.corpus_pattern("relabel"), corpus.id)
    assert not re.fullmatch(plan.corpus_pattern("data"), corpus.id)
    assert re.fullmatch(plan.corpus_pattern("data"), origin.id)


def test_a_swept_node_or_a_list_is_an_ensemble_however_it_is_listed(pseudo):
    assert len(made(Plan(pseudo(by="tuned"))).models) == 4
    one = made(Plan(pseudo(by=["base", "tuned/best"])))
    assert {m.name for m in one.models} == {"base", "tuned/best"}
    assert made(Plan(pseudo(by=["tuned/best", "base", "base"]))).digest == one.digest
    assert made(Plan(pseudo(by="base"))).digest != one.digest


TOUCHED = [
    {"corpora/pseudo/keep": {"confidence": 0.8}},
    {"corpora/pseudo/normaliser": "basic"},
    {"corpora/pseudo/max_characters": 50},
    {"corpora/pseudo/decoding": {"max_new_tokens": 9}},
    {"corpora/a-train/size": 41},
    {"experiments/e/models/tuned/max_steps": 5},  # the soup's ingredients
    {"experiments/e/decoding": {"max_new_tokens": 9}},
    {"experiments/e/normaliser": "verbatim"},  # keep.wer counts with it
]
UNTOUCHED = [
    {"corpora/pseudo/keep": {"wer": "20.0", "confidence": 0.9}},
    {"corpora/pseudo/decoding": {"num_beams": 1}},  # as it is
    {"corpora/b-train/size": 20},
    {"corpora/a-test/size": 11},
    {"experiments/e/models/healed/max_steps": 9},
    {"experiments/e/models/mean/method": "greedy"},
    {"experiments/e/claims": []},
]


@pytest.mark.parametrize("settings", TOUCHED + UNTOUCHED, ids=lambda s: next(iter(s)).replace("/", "."))
def test_its_digest_holds_what_it_depends_on_and_nothing_else(pseudo, settings):
    before, after = Plan(pseudo()), Plan(pseudo(settings))
    assert (made(before).digest != made(after).digest) == (settings in TOUCHED)
    students = [next(m.digest for m in p.models.values() if m.node == "student") for p in (before, after)]
    assert (students[0] != students[1]) == (settings in TOUCHED)


def test_the_normaliser_matters_only_where_errors_do(pseudo):
    plans = [Plan(pseudo({"experiments/e/normaliser": n}, keep={"share": 0.5})) for n in ("basic", "verbatim")]
    assert made(plans[0]).digest != made(plans[1]).digest  # the soup was chosen by it
    plans = [
        Plan(pseudo({"experiments/e/normaliser": n}, keep={"share": 0.5}, by="base")) for n in ("basic", "verbatim")
    ]
    assert made(plans[0]).digest == made(plans[1]).digest


def test_a_back_translator_is_the_model_of_the_same_replicate_or_the_only_one(two_ways):
    plan = Plan(two_ways())
    found = made(plan, "back", "more")
    assert {r: c.models[0].replicate for r, c in found.items()} == {"1": "1", "2": "2"}
    assert found["1"].digest != found["2"].digest and found["1"].languages == ("fr", "en")
    assert {m.experiment for c in found.values() for m in c.models} == {"backward"}
    # as the back-translator's own experiment decodes, unless the corpus says otherwise
    assert given(found["1"].decoding) == {"num_beams": 2, "max_new_tokens": 50, "length_penalty": 1.0}
    found = made(Plan(two_ways(decoding={"num_beams": 5})), "back", "more")
    assert given(found["1"].decoding) == {"num_beams": 5, "max_new_tokens": 50, "length_penalty": 1.0}
    raw = two_ways()
    raw["experiments"]["backward"]["repeat"] = [7]
    corpus = made(Plan(raw), "back", "more")
    assert len({c.id for c in corpus.values()}) == 1 and corpus["1"].models[0].replicate == "7"
    raw["experiments"]["backward"]["repeat"] = [7, 8]
    with pytest.raises(ConfigurationError, match=r"backward has no replicate 1, and more than one: 7, 8"):
        Plan(raw)


def test_two_experiments_may_take_turns(two_ways):
    """Iterative back-translation: each direction's second model learns from the other's first."""
    raw = two_ways()
    raw["experiments"]["backward"]["repeat"] = [1, 2]
    raw["corpora"]["forth"] = {"source": "relabelled", "corpus": "pairs", "by": "forward/more", "side": "source"}
    turn = {"train": "base", "data": {"train": ["pairs", "forth"]}, "max_steps": 3}
    raw["experiments"]["backward"]["models"] = {**raw["experiments"]["backward"]["models"], "again": turn}
    plan = Plan(raw)
    assert {m.experiment for m in made(plan, "forth", "again")["1"].models} == {"forward"}
    # but not in a ring
    raw["corpora"]["back"]["by"] = "backward/again"
    with pytest.raises(ConfigurationError) as error:
        Plan(raw)
    assert "forward/more → corpus back → backward/again → corpus forth → forward/more" in str(error.value)


def test_labels_may_be_made_of_labels(pseudo):
    again = {"source": "relabelled", "corpus": "pseudo", "by": "student"}
    raw = pseudo({"corpora/again": again, "experiments/e/models/second": {**STUDENT, "data": {"train": "again"}}})
    corpus = made(Plan(raw), "again", "second")
    assert corpus.origin.name == "pseudo" and corpus.inputs["corpus/pseudo"] == corpus.origin.marker
    # the soup was chosen on b alone
    assert set(corpus.behind) == {"pseudo", "a-train", "b-train", "b-dev"}


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"corpora/pseudo/by": "student"}, ["student", "a cycle: student → corpus pseudo → student"]),
        ({"experiments/e/models/base/data": {"train": "pseudo"}}, ["a cycle", "base → corpus pseudo → soup", "→ base"]),
        ({"experiments/e/data/train": "pseudo"}, ["a cycle: tuned → corpus pseudo → soup → tuned"]),
        ({"corpora/pseudo/by": "sup"}, ["corpora.pseudo.by", "no model 'sup'", "did you mean 'soup'"]),
        ({"corpora/pseudo/by": "f/soup"}, ["corpora.pseudo.by", "no model 'f'", "e/NODE"]),
        ({"corpora/pseudo/by": "tuned/seed=1"}, ["no run of tuned 'seed=1'"]),
        ({"corpora/pseudo/by": "out"}, ["'out' is an export"]),
        ({"corpora/pseudo/by": "raw"}, ["'raw' has random weights"]),
        ({"corpora/pseudo/by": []}, ["corpora.pseudo.by"]),
        ({"corpora/pseudo/corpus": "a-trian"}, ["corpora.pseudo.corpus", "did you mean 'a-train'"]),
        ({"corpora/pseudo/corpus": "pseudo"}, ["corpus pseudo → corpus pseudo"]),
        ({"corpora/pseudo/corpus": "a-test"}, ["corpora.pseudo.corpus", "'a-test' is in the test set 'a' of e", "only report"]),
        ({"experiments/e/data/dev": {"a": "pseudo", "b": "b-dev"}}, ["data.dev.a", "'pseudo' is made by a model", "data.train"]),
        ({"experiments/e/data/test": {"a": "pseudo", "b": "b-test"}}, ["data.test.a", "'pseudo' is made by a model"]),
        ({"corpora/b-train/without": ["pseudo"]}, ["corpora.b-train.without", "'pseudo' is made by a model"]),
        ({"corpora/pseudo/side": "source"}, ["corpora.pseudo.side", "asr"]),
        ({"corpora/pseudo/tag": "<BT>"}, ["corpora.pseudo.tag", "asr"]),
        ({"corpora/pseudo/tag": "two words"}, ["corpora.pseudo.tag"]),
        ({"corpora/pseudo/max_ratio": 3}, ["corpora.pseudo.max_ratio", "asr"]),
        ({"corpora/pseudo/keep": {"chrf": 40}}, ["corpora.pseudo.keep.chrf", "no metric of asr", "wer, cer"]),
        ({"corpora/pseudo/keep": {"confidence": 1.5}}, ["corpora.pseudo.keep.confidence"]),
        ({"corpora/pseudo/keep": {"confident": 0.5}}, ["did you mean 'confidence'"]),
        ({"corpora/pseudo/decoding": {"num_beams": 4}}, ["decoding.num_beams", "'ctc' decodes greedily"]),
        ({"corpora/pseudo/normaliser": "basik"}, ["did you mean 'basic'"]),
        ({"corpora/pseudo/limit": 3}, ["corpora.pseudo.limit", "unknown key"]),
        ({"corpora/pseudo/corpus": "heard"}, ["pseudo.keep.wer", "'heard' has no target side"]),
        ({"corpora/a-train/missing": "source"}, ["a-train.missing", "transcripts"]),
        ({"corpora/b-train/missing": "target"}, ["'b-train' has no target side", "relabelled"]),
        ({"corpora/b-dev/missing": "target"}, ["data.dev.b", "'b-dev' has no target side"]),
    ],
)  # fmt: skip
def test_mistakes_stop_before_any_job(pseudo, settings, wanted):
    with pytest.raises(ConfigurationError) as error:
        Plan(pseudo(settings))
    assert not [piece for piece in wanted if piece not in str(error.value)], str(error.value)


@pytest.mark.parametrize(
    ("back", "wanted"),
    [
        ({"by": "base"}, ["languages: [fr, en]", "forward has [en, fr]"]),
        ({"corpus": "pairs", "side": "target"}, ["languages: [en, fr]", "backward has [fr, en]"]),
        ({"side": "target"}, ["'mono' has no source side"]),
        ({"by": ["backward/base", "base"]}, ["one experiment's models", "backward, forward"]),
        ({"by": "backwards/base"}, ["did you mean"]),
        ({"keep": {"wer": 10}}, ["no metric of nmt", "chrf"]),
        ({"keep": {"chrf": 10}}, ["'mono' has no source side"]),
        ({"corpus": "test"}, ["is in the test set 'test' of forward"]),
    ],
)
def test_a_wrong_direction_is_refused(two_ways, back, wanted):
    with pytest.raises(ConfigurationError) as error:
        Plan(two_ways(**back))
    assert not [piece for piece in wanted if piece not in str(error.value)], str(error.value)


def test_a_name_that_is_a_model_and_an_experiment_is_refused(two_ways):
    raw = two_ways()
    raw["experiments"]["forward"]["models"]["backward"] = {"train": "base", "max_steps": 2}
    with pytest.raises(ConfigurationError, match="a model of forward and an experiment too"):
        Plan(raw)


@pytest.mark.parametrize("what", ["train", "dev", "origin"])
def test_a_labeller_that_saw_the_test_set_is_refused(two_ways, what):
    """Test sentences may not come in by way of another experiment's model."""
    raw = two_ways()
    raw["corpora"]["other"] = {**raw["corpora"]["test"], "seed": 5}
    backward = raw["experiments"]["backward"]["data"] = {"train": "pairs", "dev": "dev", "test": "other"}
    assert Plan(raw).models
    if what == "origin":  # the other experiment's own test set
        raw["corpora"]["back"]["corpus"] = "other"
    else:
        backward[what] = "test"
    with pytest.raises(ConfigurationError, match="test sets only report"):
        Plan(raw)


def test_no_job_that_leads_to_a_model_reads_a_test_set(pseudo, two_ways):
    """Through every corpus that a model made, back to the sources."""
    for raw in (pseudo(), two_ways()):
        plan = Plan(raw)
        for study in plan.studies.values():
            for graph in study.graphs.values():
                tests = {c.marker for s in graph.data.test.values() for c in s.values()}
                jobs = {m.content: m for m in plan.models.values()} | {c.marker: c for c in plan.corpora.values()}
                for model in graph.models:
                    waiting, seen = list(model.inputs.values()), set()
                    while waiting:
                        path = waiting.pop()
                        if path not in seen:
                            seen.add(path)
                            waiting += jobs[path].inputs.values()
                    assert not tests & seen, model.name


def test_equal_corpora_of_two_experiments_are_made_once(pseudo):
    raw = pseudo()
    raw["experiments"]["f"] = deepcopy(raw["experiments"]["e"])
    plan = Plan(raw)
    assert [c.models[0].experiment for c in plan.corpora.values() if c.stage == "relabel"] == ["e"]
    assert len({m.digest for m in plan.models.values() if m.node == "student"}) == 1


def test_the_picture_shows_who_labelled(pseudo):
    nodes = {n["name"]: n for n in Plan(pseudo()).studies["e"].picture["nodes"]}
    assert nodes["student"]["parents"] == ["raw", "soup"] and nodes["student"]["detail"] == "5 steps, on pseudo"


def test_a_missing_side_changes_no_other_corpus(small, change):
    before, after = (
        {c.name: c.digest for c in Plan(raw).corpora.values()} for raw in (small, change({"corpora.a-train.seed": 1}))
    )
    assert before == after and not any("missing" in c.spec for c in Plan(small).corpora.values())


def test_a_recogniser_that_learns_from_its_teacher_alone_needs_no_transcripts(change):
    heard = {"source": "generated", "generator": "spoken-numbers", "domain": "clean", "size": 9, "missing": "target"}
    healed = {"train": "half", "distil_from": "line", "max_steps": 3, "data": {"train": "heard"}}
    node = "experiments/e/models/healed"
    alone = {**healed, "distil": {"weight": 1.0}}
    plan = Plan(change({"corpora/heard": heard, node: alone}))
    (model,) = [m for m in plan.studies["e"].models if m.node == "healed"]
    assert list(model.identity["train"]) == ["heard"]
    for settings, words in (
        ({node: {**healed, "distil": {"weight": 0.9}}}, "'heard' has no target side"),
        ({node: {**healed, "train": "base", "distil_from": "base"}}, "'heard' has no target side"),
        (
            {node: alone, "experiments/e/models/raw/from": {"scratch": {"family": "whisper"}}},
            "decoder of 'whisper' is given them",
        ),
    ):
        with pytest.raises(ConfigurationError, match=words):
            Plan(change({"corpora/heard": heard, **settings}))
