"""The losses of transducers against the sum over all alignments, one by one; what is decoded and what is refused."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.evaluate.losses import nll
from consomme.families import family_named
from consomme.train.checks import problems

NAMES = ["parakeet_rnnt", "parakeet_tdt"]
BLANK, TOKENS, DURATIONS = 4, 5, [0, 1, 2]


def alignments(frames, tokens, durations):
    """Every way through the lattice to its end: lists of (frame, tokens so far, is a token, index of the duration)."""
    ways = []

    def walk(t, u, steps):
        if t == frames and u == tokens and not steps[-1][2]:
            ways.append(steps)
        if t >= frames:
            return
        for n, lasts in enumerate(durations):
            if u < tokens:
                walk(t + lasts, u + 1, [*steps, (t, u, True, n)])
            if lasts:
                walk(t + lasts, u, [*steps, (t, u, False, n)])

    walk(0, 0, [])
    return ways


def rnnt_alignments(frames, tokens):
    """RNN-T: a token stays in its frame, a blank goes on by one, and the last one is a blank."""
    ways = []
    for where in itertools.combinations_with_replacement(range(frames), tokens):
        steps, u = [], 0
        for t in range(frames):
            for _ in range(where.count(t)):
                steps.append((t, u, True, None))
                u += 1
            steps.append((t, u, False, None))
        ways.append(steps)
    return ways


def summed(logits, labels, frames, durations):
    """The negative log of the sum over alignments of the product of their probabilities, in float64."""
    said = logits.double()
    token = said[..., :TOKENS].log_softmax(-1)
    lasting = said[..., TOKENS:].log_softmax(-1) if durations else None
    ways = alignments(frames, len(labels), durations) if durations else rnnt_alignments(frames, len(labels))
    total = 0.0
    for way in ways:
        found = 0.0
        for t, u, spoken, n in way:
            found += token[t, u, labels[u] if spoken else BLANK].item()
            found += lasting[t, u, n].item() if durations else 0.0
        total += math.exp(found)
    return -math.log(total)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_the_sum_over_all_alignments(name):
    """Several lengths in one padded batch, a transcript without tokens and one longer than its frames among them."""
    durations = DURATIONS if name == "parakeet_tdt" else []
    family = family_named(name)
    model = SimpleNamespace(
        config=SimpleNamespace(vocab_size=TOKENS, blank_token_id=BLANK, durations=durations, pad_token_id=0)
    )
    said, frames = [[1, 1, 2], [3], [], [2, 3, 1]], [4, 3, 4, 2]
    labels = torch.tensor([row + [-100] * (3 - len(row)) for row in said])
    logits = torch.randn(4, 5, 4, TOKENS + len(durations), generator=torch.Generator().manual_seed(0)) * 2
    logits.requires_grad_(True)
    found = family.lattice_nll(model, logits, labels, torch.tensor(frames))
    exact = [summed(logits[i].detach(), said[i], frames[i], durations) for i in range(4)]
    assert found.tolist() == pytest.approx(exact, rel=1e-5)
    found.sum().backward()
    assert torch.isfinite(logits.grad).all() and logits.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_losses_do_not_depend_on_the_batch(bundle, folders, name):
    found = bundle(name, folders(name))
    family, processor = found.family, found.processor
    said = [[5, 6, 7], []]
    with torch.no_grad():
        together, counts = nll(family, found.model, family.collate(processor, found.features, said))
        alone = [
            nll(family, found.model, family.collate(processor, [feature], [labels]))[0].item()
            for feature, labels in zip(found.features, said, strict=True)
        ]
    assert together.tolist() == pytest.approx(alone, rel=1e-4) and counts.tolist() == [3, 0]


def test_a_model_that_never_goes_on_says_the_same_alone(bundle, folders):
    """A token of no duration for ever: transformers stops it by the longest example of a batch."""
    found = bundle("parakeet_tdt", folders("parakeet_tdt"))
    with torch.no_grad():
        found.model.joint.head.bias[7] += 1e4
        found.model.joint.head.bias[found.model.config.vocab_size] += 1e4

    def said(features):
        batch = found.family.collate(found.processor, features, None)
        return found.family.generate(found.model, found.processor, batch, ["en"], {})

    both = said(found.features)
    assert both == said(found.features[:1]) + said(found.features[1:])
    assert len(both[0]) > len(both[1]) > 0
    with pytest.raises(ConsommeError, match="num_beams: 2 given; parakeet_tdt decodes greedily"):
        found.family.generate(found.model, found.processor, found.inputs, ["en"], {"num_beams": 2})


def test_what_does_not_fit_is_refused(bundle, folders):
    found = bundle("parakeet_tdt", folders("parakeet_tdt"))
    family, config, processor = found.family, found.model.config, found.processor
    assert family.misfit(config, processor) is None
    blank, config.durations = config.durations, [1, 2]
    assert "without 0 and 1" in family.misfit(config, processor)
    config.durations, config.blank_token_id = blank, 9
    assert "blank_token_id is 9 in its config.json, and 2" in family.misfit(config, processor)
    config.blank_token_id = 10_000
    assert "blank_token_id is 10000, and the head has" in family.misfit(config, processor)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_transducer_is_not_trained_with_is_refused(name):
    settings = {
        "ctc_weight": 0.3,
        "label_smoothing_factor": 0.1,
        "distil": {"weight": 0.5},
        "intermediate_ctc": {"layers": [1], "weight": 0.3},
        "decoder_layerdrop": 0.1,
    }
    found = dict(problems(settings, family_named(name), None))
    assert set(found) == {
        "ctc_weight",
        "label_smoothing_factor",
        "distil_from",
        "intermediate_ctc",
        "decoder_layerdrop",
    }
    assert "corpus of source relabelled" in found["distil_from"]
