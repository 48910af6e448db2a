"""What a search for layers doesn't compute again, for every architecture: the answers stay the same to the bit."""

import pytest
import torch

from consomme.families import surgery
from consomme.prune.replay import Replay
from consomme.prune.search import shared_copy

PLACE = ("dev", (0, 1))


def without(base, layer):
    return [n for n in base if n != layer]


def logits(model, tiny, context=None):
    model.eval()
    with torch.no_grad(), tiny.family.fitted(model, tiny.forward):
        if context is None:
            return model(**tiny.forward).logits
        with context:
            return model(**tiny.forward).logits


def counted(model, stack):
    """How many layers really run: each has a first part of its own."""
    ran = []
    for layer in surgery.layers(model, stack):
        next(layer.children()).register_forward_hook(lambda *_: ran.append(1))
    return ran


def test_every_candidate_says_what_the_whole_model_says(tiny):
    for side, stack in tiny.family.stacks.items():
        replay, saved = Replay(tiny.family, side), 0
        depth = len(surgery.layers(tiny.model, stack))
        for base in ([*range(depth)], without(range(depth), 1), [*range(depth)]):
            replay.near(base)
            for kept in [without(base, layer) for layer in base]:
                model = surgery.keep_layers(shared_copy(tiny.model), tiny.family, {side: kept})
                plain = logits(model, tiny)
                ran = counted(model, stack)
                again = logits(model, tiny, replay.playing(model, kept, PLACE))
                assert torch.equal(plain, again), (side, base, kept)
                saved += len(kept) - len(ran)
                known = next((i for i, (a, b) in enumerate(zip(base, kept, strict=False)) if a != b), len(kept))
                # all that is in common but its last layer was there before, or all of it
                assert len(ran) <= len(kept) - known + 1 + stack.anchored
                assert torch.equal(logits(model, tiny), plain)  # nothing of it stays in the model
        assert saved > 0


@pytest.mark.parametrize("name, side", [("wav2vec2", "encoder"), ("whisper", "encoder"), ("whisper", "decoder")])
def test_convolutions_and_for_a_decoder_the_encoder_run_once(bundle, folders, monkeypatch, name, side):
    tiny, ran, forward = bundle(name, folders(name)), [], torch.nn.Conv1d.forward

    def counting(self, *arguments):
        ran.append(self)
        return forward(self, *arguments)

    monkeypatch.setattr(torch.nn.Conv1d, "forward", counting)
    replay = Replay(tiny.family, side)
    for convolutions in ({"wav2vec2": 5, "whisper": 2}[name], 0):
        model, encoder = shared_copy(tiny.model), []
        surgery.layers(model, tiny.family.stacks["encoder"])[0].register_forward_hook(lambda *_: encoder.append(1))  # noqa: B023
        logits(model, tiny, replay.playing(model, range(3), PLACE))
        assert len(ran) == convolutions
        assert len(encoder) == (side == "encoder" or convolutions > 0)
        ran.clear()


def test_another_batch_is_another_answer(bundle, folders):
    tiny = bundle("ctc", folders("ctc"))
    replay = Replay(tiny.family, "encoder")
    replay.near(range(4))
    logits(tiny.model, tiny, replay.playing(tiny.model, range(4), PLACE))
    tiny.forward["input_features"] = tiny.forward["input_features"] + 1
    plain = logits(tiny.model, tiny)
    assert torch.equal(logits(tiny.model, tiny, replay.playing(tiny.model, range(4), ("dev", (2, 3)))), plain)
    assert not torch.equal(logits(tiny.model, tiny, replay.playing(tiny.model, range(4), PLACE)), plain)


@pytest.mark.parametrize("states", [0, 1, 2.5, 4])
def test_memory_has_a_limit(bundle, folders, capsys, states):
    """Room for no, one, two states instead of four, beside what runs before them."""
    tiny = bundle("ctc", folders("ctc"))
    free = Replay(tiny.family, "encoder")
    logits(tiny.model, tiny, free.playing(tiny.model, range(4), PLACE))
    front = free.bytes
    free.near(range(4))
    logits(tiny.model, tiny, free.playing(tiny.model, range(4), PLACE))
    one = (free.bytes - front) // 4
    capsys.readouterr()
    limit = int(front + states * one) if states else 1
    replay = Replay(tiny.family, "encoder", limit)
    replay.near(range(4))
    for kept in ([0, 1, 2, 3], [0, 1, 2], [0, 1, 3], [0, 2, 3]):
        model = surgery.keep_layers(shared_copy(tiny.model), tiny.family, {"encoder": kept})
        plain = logits(model, tiny)
        assert torch.equal(logits(model, tiny, replay.playing(model, kept, PLACE)), plain)
        assert replay.bytes <= limit
    said = capsys.readouterr().err
    assert ("more than" in said) == (states < 4)
    assert ("in full" in said) == (states == 0)
    assert (replay.bytes - front == {1: 1, 2.5: 2, 4: 4}[states] * one) if states else replay.bytes == 0


def test_a_copy_shares_the_tensors_and_nothing_else(tiny):
    before, same = tiny.model.config.to_dict(), logits(tiny.model, tiny)
    small = shared_copy(tiny.model)
    pointers = {n: p.data_ptr() for n, p in tiny.model.named_parameters(remove_duplicate=False)}
    assert {n: p.data_ptr() for n, p in small.named_parameters(remove_duplicate=False)} == pointers
    assert not {id(m) for m in small.modules()} & {id(m) for m in tiny.model.modules()}
    assert torch.equal(logits(small, tiny), same)
    surgery.keep_layers(small, tiny.family, {side: [1, 2] for side in tiny.family.stacks})
    assert tiny.model.config.to_dict() == before
    assert torch.equal(logits(tiny.model, tiny), same)
