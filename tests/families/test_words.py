"""Times of words: pieces into words, tokens along the audio, and the words of models."""

import itertools

import numpy as np
import pytest
import torch

from consomme.families import TABLE, load, surgery, whisper_words
from consomme.families.base import Hypothesis, Segment
from consomme.families.whisper_words import Audio, begun, heads, with_words
from consomme.families.words import gathered, laid


def spoken(*pieces):
    """Each piece takes a second."""
    return [(word.text, word.start, word.end) for word in gathered((p, i, i + 1) for i, p in enumerate(pieces))]


def test_a_space_parts_words():
    assert spoken(" A", "b", " ", "c", " d", "e") == [("Ab", 0, 2), ("c", 3, 4), ("de", 4, 6)]
    assert spoken("a ", "b", "", "c") == [("a", 0, 1), ("bc", 1, 4)]
    assert spoken(" ", " ") == spoken() == []


def test_a_word_ends_where_the_marks_behind_it_begin():
    assert spoken(" well", "-", "known", ",", " 50", "%", "!", "”") == [("well-known,", 0, 3), ("50%!”", 4, 6)]
    (late,) = gathered([("a", 1.0, 1.0), (",", 1.0, 2.5)])  # it would take no time
    assert (late.start, late.end) == (1.0, 2.5)


def test_letters_of_scripts_without_spaces_are_words():
    assert [text for text, *_ in spoken(" 我", "们", "，", "用", " GPU", "算", "。")] == [
        "我",
        "们，",
        "用",
        "GPU",
        "算。",
    ]
    assert [text for text, *_ in spoken("กา", "ดี")] == ["กา", "ดี"]


def every_way(tokens, frames):
    """All ways through a matrix from corner to corner, by steps to the next token, the next frame, or both."""
    if (tokens, frames) == (1, 1):
        return [[(0, 0)]]
    before = [(tokens - 1, frames - 1), (tokens - 1, frames), (tokens, frames - 1)]
    return [[*way, (tokens - 1, frames - 1)] for t, f in before if t and f for way in every_way(t, f)]


@pytest.mark.parametrize(("tokens", "frames"), [(1, 1), (1, 4), (4, 1), (3, 5), (5, 3), (4, 4)])
def test_tokens_are_laid_on_the_cheapest_of_all_ways(tokens, frames):
    for seed in range(5):
        cost = np.random.default_rng(seed).standard_normal((tokens, frames))
        best = min(every_way(tokens, frames), key=lambda way: sum(cost[cell] for cell in way))
        assert laid(cost).tolist() == [min(f for t, f in best if t == token) for token in range(tokens)]


def test_attention_tells_where_tokens_begin():
    """Two heads look at the token's own stretch, a third one anywhere; a frame's outlier is smoothed away."""
    begins, frames = [0, 12, 20, 41], 60
    weights = np.random.default_rng(0).random((3, 4, frames)) / 10
    for token, (a, b) in enumerate(itertools.pairwise([*begins, frames])):
        weights[:2, token, a:b] += 1
    weights[0, 0, 50] += 3
    assert begun(weights.astype(np.float32), 7) == begins


class Letters:
    """Tokens are letters."""

    def decode(self, ids):
        return "".join(map(chr, ids))


def spell(text):
    return [ord(letter) for letter in text]


def test_segments_are_laid_in_windows_of_the_audio():
    asked = []

    def starts(first, last, ids):
        asked.append((first, last, "".join(map(chr, ids))))
        return np.linspace(0, (last - first) / 2, len(ids) + 1).tolist()

    parts = [Segment(0.0, 2.0, "ab"), Segment(2.0, 3.0, ""), Segment(3.0, 4.0, "c d"), Segment(9.0, None, "e")]
    long = with_words(Hypothesis("", segments=parts), Audio(1000, 500, 0.01), Letters(), spell, starts)
    assert asked == [(0, 400, " ab c d"), (900, 1000, " e")]
    assert [[(w.text, w.start, w.end) for w in own] for own in long.words] == [
        [("ab", pytest.approx(4 / 7), pytest.approx(12 / 7))],
        [],
        [("c", 3.0, 3.0), ("d", pytest.approx(24 / 7), 4.0)],  # no earlier than their segment
        [("e", 9.5, 10.0)],
    ]
    asked.clear()
    short = with_words(Hypothesis("a b"), Audio(400, 500, 0.01), Letters(), spell, starts)
    assert asked == [(0, 400, " a b")] and [word.text for word in short.words[0]] == ["a", "b"]
    assert with_words(Hypothesis(""), Audio(400, 500, 0.01), Letters(), spell, starts).words == [[]]


def test_tokens_that_share_a_letter_are_one_piece():
    class Bytes:
        def decode(self, ids):
            return bytes(ids).decode("utf-8", errors="replace")

    said = with_words(
        Hypothesis("né"), Audio(10, 10, 0.01), Bytes(), lambda text: list(text.encode()), lambda *_: [0, 1, 2, 3, 5]
    )
    assert [(w.text, w.start, w.end) for w in said.words[0]] == [("né", 0.02, 0.1)]


# -- models ------------------------------------------------------------------------------------------------------------


def test_heads_are_those_that_are_named_and_there(folders):
    family, whole = TABLE["whisper"], load(folders("whisper"))
    last = [(layer, head) for layer in (1, 2) for head in range(4)]
    assert heads(whole) == last  # none are named: all of the last half of three layers
    whole.generation_config.alignment_heads = [[0, 1], [2, 0]]
    assert heads(whole) == [(0, 1), (2, 0)]
    whole = surgery.keep_layers(whole, family, {"decoder": [1, 2]})
    assert heads(whole) == [(1, 0)]  # by its new number
    whole.generation_config.alignment_heads = [[0, 1], [2, 0]]  # of the decoder that it was
    assert heads(whole) == [(1, head) for head in range(4)]
    whole.generation_config.alignment_heads = [[1, 0]]
    whole = surgery.keep_layers(whole, family, {"decoder": [0]})
    assert heads(whole) == [(0, head) for head in range(4)]


def test_whispers_words_are_those_of_the_text_within_the_audio(folders, bundle):
    whisper = bundle("whisper", folders("whisper"))
    own = whisper.model.config._attn_implementation
    plain, timed = (
        whisper.family.decode(whisper.model, whisper.processor, whisper.inputs, ["en"], {"max_new_tokens": 20, **more})
        for more in ({}, {"words": True})
    )
    assert [one.text for one in plain] == [one.text for one in timed] and not any(one.words for one in plain)
    assert whisper.model.config._attn_implementation == own
    for said, seconds in zip(timed, (1.0, 9000 / 16000), strict=True):
        (words,) = said.words
        assert " ".join(word.text for word in words) == " ".join(said.text.split())
        times = [time for word in words for time in (word.start, word.end)]
        assert times == sorted(times) and times[0] >= 0 and times[-1] <= seconds + 0.02


def test_attention_is_that_of_one_pass_and_cut_where_positions_end(folders, bundle):
    whisper = bundle("whisper", folders("whisper"))
    model, heard = whisper.model, whisper.inputs["input_features"][:1]
    model.generation_config.alignment_heads = [[0, 1], [2, 0]]
    with torch.no_grad(), whisper.family.fitted(model, {"input_features": heard}):
        states = model.get_encoder()(heard)
        found = whisper_words.attended(model, states, [1, 2, 3], [4, 5])
        model.set_attn_implementation("eager")
        whole = model(heard, decoder_input_ids=torch.tensor([[1, 2, 3, 4, 5]]), output_attentions=True)
    expected = torch.stack([whole.cross_attentions[0][0, 1, 2:], whole.cross_attentions[2][0, 0, 2:]])
    assert torch.allclose(found, expected, atol=1e-6) and found.shape[1] == 3  # two tokens, and the end
    much = Hypothesis("the cat sat on a mat " * 20)
    said = whisper.family._worded(model, whisper.processor, much, whisper.inputs["input_features"][0], ["en"])
    assert len(said.words[0]) == 120 and said.words[0][-1].end == pytest.approx(1.0, abs=0.05)


CTC = [name for name, family in TABLE.items() if family.objective == "ctc" and family.scratch]
SECONDS = {"ctc": 0.03, "parakeet": 0.04}  # of a frame, by what the architectures say; 20 ms elsewhere


@pytest.mark.parametrize("name", CTC)
def test_words_of_ctc_lie_where_their_frames_are(folders, bundle, name):
    ctc = bundle(name, folders(name))
    assert ctc.family.word_times
    second = ctc.family.frame_seconds(ctc.model, ctc.processor)
    assert second == pytest.approx(SECONDS.get(name, 0.02))
    ids = ctc.family.labels(ctc.processor, "le chat", ctc.languages)
    blank, frames = ctc.processor.tokenizer.pad_token_id, int(ctc.family.frames(ctc.model, ctc.inputs)[0])
    each = 2 if len(ids) * 3 + 2 <= frames else 1
    path = [blank, blank, *itertools.chain.from_iterable([*[token] * each, blank] for token in ids)]
    path = torch.tensor([[*path, *[blank] * (frames - len(path))]])

    class Says:
        def __call__(self, **batch):
            logits = torch.nn.functional.one_hot(path, ctc.model.config.vocab_size).float()
            return type("Output", (), {"logits": logits})

        def __getattr__(self, key):
            return getattr(ctc.model, key)

    one = {key: value[:1] for key, value in ctc.inputs.items()}
    (said,) = ctc.family.decode(Says(), ctc.processor, one, ctc.languages, {"words": True})
    assert said.text == "le chat" and [word.text for word in said.words[0]] == ["le", "chat"]
    le, chat = said.words[0]
    assert le.start == pytest.approx(2 * second)
    assert chat.end == pytest.approx((2 + len(ids) * (each + 1) - 1) * second)
    assert le.end <= chat.start
    assert ctc.family.decode(Says(), ctc.processor, one, ctc.languages, {}) == [Hypothesis("le chat")]
