"""Sampled subwords and words left out."""

import io
from pathlib import Path

import numpy as np
import pytest

from consomme.train.augment import (
    Context,
    subwords,
    words,
)

HERE = Context(rate=16000, stride=2, root=Path())


def draws(seed=0):
    return np.random.default_rng(seed)


SENTENCES = [
    f"{a} {b} the {c} house"
    for a in ("green", "greener", "greenest")
    for b in ("over", "under")
    for c in ("old", "colder")
]


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def spm(request):
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5), model_writer=model, model_type=request.param, vocab_size=60,
        hard_vocab_limit=False, eos_id=0, unk_id=1, bos_id=-1, pad_id=-1, minloglevel=2,
    )  # fmt: skip
    return request.param, sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def test_without_chance_the_pieces_are_those_of_sentencepiece(spm):
    from consomme.families.settings import pieces

    kind, model = spm
    found, scores = pieces(model, {model.id_to_piece(i) for i in range(len(model))})
    assert found == kind and "<unk>" not in scores and "</s>" not in scores
    for text in [*SENTENCES, "  the  Ωmega 北京 greens ", "", "zz"]:
        spelled = model.normalize(text)
        if kind == "unigram":
            mine = subwords.sample(spelled, scores, 1000.0, draws(), max(map(len, scores)))
        else:
            mine = subwords.merge(spelled, scores, 0.0, draws())
        assert subwords.joined(mine, scores) == model.encode(text, out_type=str)


def test_a_unigram_model_is_sampled_in_proportion_to_its_weights():
    scores = {"a": -1.0, "b": -1.5, "ab": -2.0, "ba": -1.2, "aba": -3.0}
    alpha, text = 0.7, "abab"

    def ways(rest):
        return [[p, *more] for p in scores if rest.startswith(p) for more in ways(rest[len(p) :])] if rest else [[]]

    weights = {tuple(way): np.exp(alpha * sum(scores[p] for p in way)) for way in ways(text)}
    generator, counts = draws(), dict.fromkeys(weights, 0)
    for _ in range(20000):
        counts[tuple(subwords.sample(text, scores, alpha, generator, 3))] += 1
    for way, weight in weights.items():
        assert counts[way] / 20000 == pytest.approx(weight / sum(weights.values()), abs=0.012)


def test_merges_are_left_out_as_often_as_asked():
    scores = {"ab": -1.0}
    generator = draws()
    whole = [subwords.merge("ab", scores, 0.3, generator) == ["ab"] for _ in range(5000)]
    assert np.mean(whole) == pytest.approx(0.7, abs=0.02)
    assert subwords.merge("▁ab▁ab", scores, 1.0, generator) == list("▁ab▁ab")


def test_sampled_ids_spell_the_same_text_on_either_side(translator):
    from consomme.families import family_named

    family = family_named("marian")
    processor = family.processor(translator)
    context = Context(subwords=lambda side: family.subwords(processor, side))
    settings = {"sides": ["source", "target"], "alpha": 0.1, "dropout": 0.1}
    encoders = subwords.build(settings, context)
    plain = {
        "source": lambda t: list(family.features(processor, t)),
        "target": lambda t: family.labels(processor, t, []),
    }
    for side, encode in encoders.items():
        sampled = [encode("one two three", draws(seed)) for seed in range(30)]
        assert sampled == [encode("one two three", draws(seed)) for seed in range(30)]
        assert len({tuple(ids) for ids in sampled}) > 5
        assert {processor.decode(ids, skip_special_tokens=True) for ids in sampled} == {"one two three"}
        assert all(ids[-1] == processor.eos_token_id for ids in sampled)
        exact = subwords.build({**settings, "alpha": 1000.0}, context)[side]("one two three", draws())
        assert exact == plain[side]("one two three")


def test_words_are_left_out_in_order_and_never_all():
    change, generator = words.build(0.4, HERE), draws()
    text = " ".join(map(str, range(10)))
    left = [change(text, generator).split() for _ in range(2000)]
    assert all(w == sorted(w, key=int) and w for w in left)
    assert np.mean([len(w) for w in left]) == pytest.approx(6, abs=0.15)
    assert {change("a b", generator) for _ in range(200)} == {"a", "b", "a b"}
    assert change("", generator) == "" and words.build(0.001, HERE)(text, draws(1)) is text


# -- examples --------------------------------------------------------------------------------------------------------------
