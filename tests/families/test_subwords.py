"""Pieces drawn anew: without chance they are the tokenizer's own, with it they spell the same text."""

import pickle

import numpy as np
import pytest

from consomme.families import TABLE, family_named
from consomme.train.augment import Context, subwords

TRANSLATORS = [name for name in TABLE if TABLE[name].task == "nmt" and TABLE[name].scratch]
SENTENCES = ["the cat sat on a mat", "le chat  est assis", "Hello, Ωmega world 7?", "ça va ?", "mat 北京 cat"]


@pytest.mark.parametrize("name", TRANSLATORS)
def test_pieces_without_chance_are_the_tokenizers_own(name, folders):
    family = family_named(name)
    processor = family.processor(folders(name))
    plain = {
        "source": lambda t: list(family.features(processor, t)),
        "target": lambda t: family.labels(processor, t, []),
    }
    settings = {"sides": ["source", "target"], "alpha": 1000.0, "dropout": 0.0}
    context = Context(subwords=lambda side: family.subwords(processor, side))
    for side, encode in subwords.build(settings, context).items():
        encode = pickle.loads(pickle.dumps(encode))
        for text in SENTENCES:
            assert encode(text, np.random.default_rng(0)) == plain[side](text), (side, text)
    for side, encode in subwords.build({**settings, "alpha": 0.1, "dropout": 0.3}, context).items():
        drawn = [encode("the cat sat on a mat", np.random.default_rng(seed)) for seed in range(20)]
        assert len({tuple(ids) for ids in drawn}) > 5
        plain_text = processor.decode(plain[side]("the cat sat on a mat"), skip_special_tokens=True)
        assert {processor.decode(ids, skip_special_tokens=True) for ids in drawn} == {plain_text}
