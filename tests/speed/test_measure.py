"""Measuring one model."""

from pathlib import Path

import pytest

from consomme.speed import measure

SAID = ["the cat sat on a mat", "le chat est assis", "hello world, how are you?", "bonjour le monde, ça va ?"]


def test_operations_are_counted_only_when_asked(models):
    spec = {
        "languages": ["en", "fr"],
        "decoding": {"num_beams": 1, "max_new_tokens": 8},
        "sets": ["dev"],
        "corpora": {"dev": "dev"},
    }
    first, later = (measure.measure(Path("base"), spec, "cpu", 1, count) for count in (True, False))
    assert first["flops"] > 0 and later["flops"] is None
    assert measure.together([first, later])["flops"] == first["flops"]


def test_attention_counts_whichever_kernel_computes_it():
    import torch

    query = torch.randn(2, 4, 50, 8)
    with measure.flop_counter() as counter, torch.inference_mode():
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
    by_hand = 2 * (2 * 4) * 50 * 50 * 8 * 2  # two products of matrices for each of two rows' four heads
    assert counter.get_total_flops() == by_hand


@pytest.mark.parametrize("loudest", ["</s>", "<unk>"])
def test_silence_and_babble_are_timed_for_the_same_number_of_tokens(models, loudest):
    """A model that ends at once, and one that never does."""
    import torch

    from consomme.families import family_of, load

    family, model = family_of(Path("base")), load("base")
    processor = family.processor(Path("base"), ["en", "fr"])
    with torch.no_grad():
        model.final_logits_bias[0, processor.convert_tokens_to_ids(loudest)] = 100.0
    written, plain = [], model.generate
    model.generate = lambda **given: written.append(plain(**given)) or written[-1]
    batch = family.collate(processor, [family.features(processor, t) for t in SAID], None)
    for limit, tokens in ((20, 7), (5, 7)):
        family.generate(model, processor, batch, ["en", "fr"], measure.as_long({"max_new_tokens": limit}, tokens))
        assert written[-1].shape == (len(SAID), 1 + min(limit, tokens))  # the start stands before them


@pytest.mark.parametrize("name", ["ctc", "wav2vec2"])
def test_weights_that_are_computed_from_others_are_measured(tmp_path, folders, speech, name):
    """The convolution of positions in wav2vec 2.0 has weight norm."""
    speech(tmp_path / "dev")
    spec = {
        "languages": ["en"],
        "corpora": {"dev": str(tmp_path / "dev")},
        "sets": ["dev"],
        "decoding": {"num_beams": 1},
    }
    found = measure.measure(folders(name), spec, "cpu", 1)
    assert found["flops"] > 0 and found["speed"] > 0
