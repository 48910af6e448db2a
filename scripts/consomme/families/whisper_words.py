"""Times of words from Whisper's cross-attention, as its authors do it: https://github.com/openai/whisper, timing.py. The text is
read once more, some heads' attention to the audio is made comparable over the tokens and smoothed, and the tokens are laid
along it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from consomme.families.base import Hypothesis, Segment
from consomme.families.words import gathered, laid

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

TICK = 2  # frames of the input for one of the encoder


@dataclass(frozen=True)
class Audio:
    """What was heard. frames: of it; window: those that the model hears at once; tick: seconds of a frame."""

    frames: int
    window: int
    tick: float


Spell = Callable[[str], Sequence[int]]  # a text -> token ids
# (first frame, frame behind the last, token ids) -> the encoder's frame in which each token, and the end, begins [tokens + 1],
# counted from the first
Starts = Callable[[int, int, Sequence[int]], Sequence[int]]


def with_words(said: Hypothesis, audio: Audio, tokenizer: Any, spell: Spell, starts: Starts) -> Hypothesis:
    """`said` with the words of its segments, or of the whole where it has none. Segments that fit into one window are laid along
    it together; words stay within their segments."""
    parts = list(said.segments) or [Segment(0.0, None, said.text)]
    words: list[list[Segment]] = []
    for first, last, count in _windows(parts, audio):
        own = parts[len(words) : len(words) + count]
        texts = [spell(f" {part.text}") if part.text else [] for part in own]
        ids = list(chain.from_iterable(texts))
        times = [(first + TICK * frame) * audio.tick for frame in (starts(first, last, ids) if ids else [0])]
        place = 0
        for part, text in zip(own, texts, strict=True):
            behind = place + len(text)
            found = gathered(_pieces(tokenizer, text, times[place : behind + 1]))
            words.append([_within(word, part, last * audio.tick) for word in found])
            place = behind
    return said._replace(words=words)


def _windows(parts: Sequence[Segment], audio: Audio) -> list[tuple[int, int, int]]:
    """The first frame, the one behind the last, and the number of segments, of each stretch that is heard at once."""
    if audio.frames <= audio.window:
        return [(0, audio.frames, len(parts))]
    found: list[tuple[int, int, int]] = []
    for part in parts:
        begin = min(round(part.start / audio.tick), audio.frames - TICK)
        end = audio.frames if part.end is None else min(round(part.end / audio.tick), audio.frames)
        if found and end - found[-1][0] <= audio.window:
            first, last, count = found[-1]
            found[-1] = (first, max(last, end), count + 1)
        else:
            found.append((begin, min(max(end, begin + TICK), begin + audio.window), 1))
    return found


def _pieces(tokenizer: Any, ids: Sequence[int], times: Sequence[float]) -> list[tuple[str, float, float]]:
    """The text of each token with its times; tokens that share a letter are one piece."""
    found, begin = [], 0
    for i in range(len(ids)):
        text = tokenizer.decode(ids[begin : i + 1])
        if "\ufffd" not in text or i == len(ids) - 1:
            found.append((text, times[begin], times[i + 1]))
            begin = i + 1
    return found


def _within(word: Segment, part: Segment, end: float) -> Segment:
    """The word, no earlier and no later than its segment."""
    low, high = part.start, end if part.end is None else part.end
    return word._replace(start=min(max(word.start, low), high), end=min(max(word.end or 0.0, low), high))


def heads(model: Any) -> list[tuple[int, int]]:
    """The cross-attention heads (layer, head), from 0, that say where in the audio a token is: those that the generation config
    names, or, where it names none or some that aren't there, as of a decoder that was longer once, all heads of the last half
    of the decoder's layers."""
    there = [layer.encoder_attn.num_heads for layer in model.model.decoder.layers]
    named = [(layer, head) for layer, head in getattr(model.generation_config, "alignment_heads", None) or ()]
    if named and all(layer < len(there) and head < there[layer] for layer, head in named):
        return named
    return [(layer, head) for layer in range(len(there) // 2, len(there)) for head in range(there[layer])]


def attended(model: Any, heard: Any, prefix: Sequence[int], ids: Sequence[int]) -> Tensor:
    """The attention of `heads` [heads, tokens + 1, frames] to the encoder's output, in the steps that write each token and the
    end. prefix: the tokens before the text."""
    import torch

    with _shown(model):
        given = torch.tensor([[*prefix, *ids]], device=model.device)
        found = model(encoder_outputs=heard, decoder_input_ids=given, output_attentions=True, use_cache=False)
    weights = [found.cross_attentions[layer][0, head] for layer, head in heads(model)]
    return torch.stack(weights)[:, len(prefix) - 1 :].float()


@contextmanager
def _shown(model: Any) -> Generator[None]:
    """Within the block the model computes attention in the one way that can show it."""
    own = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(own)


def begun(weights: np.ndarray, smoothed: int) -> list[int]:
    """The frame in which each token begins [tokens], by the attention of some heads [heads, tokens, frames]. smoothed: frames
    of the median."""
    import numpy as np
    from scipy.ndimage import median_filter

    spread = weights.std(axis=1, keepdims=True)
    even = (weights - weights.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    return laid(-median_filter(even, (1, 1, smoothed), mode="mirror").mean(0).astype(np.float64)).tolist()
