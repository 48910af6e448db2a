"""Further ways of decoding the test sets, beside the experiment's own: what other software does with the same model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.files import read_json
from consomme.common.model_files import SOURCE
from consomme.families.windows import FULL, KEY, SHORT

if TYPE_CHECKING:
    from consomme.families.base import Segment

FULL_WINDOW, PREVIOUS_TEXT, TIMESTAMPS = "full window", "previous text", "timestamps"
LATE, LEAST = (
    0.5,
    0.5,
)  # sane timestamps: seconds that the last may lie behind the audio's end; share of the audio in segments


def ways(decoding: Mapping[str, Any], besides: Sequence[str], model: Path) -> dict[str, dict[str, Any]]:
    """Way -> its decoding settings, of the ways in which the model in a folder is tried.

    The full window: models trained on short windows. Previous text and timestamps: where `besides` names them, which are
    the keys of the experiment's trainings, and the model can do it."""
    from consomme.families import family_of

    exported = model / SOURCE
    config = (exported if exported.is_dir() else model) / "config.json"
    given = {k: v for k, v in decoding.items() if v is not None}
    found = {}
    if config.is_file() and not given.get("window") and read_json(config).get(KEY) == SHORT:
        found[FULL_WINDOW] = {**given, "window": FULL}
    if not besides or exported.is_dir() or not (family := family_of(model)).timed:
        return found
    if "previous_text" in besides:
        found[PREVIOUS_TEXT] = {**given, "previous_text": True}
    if "timestamps" in besides and family.processor(model).tokenizer.timestamps:
        found[TIMESTAMPS] = {**given, "timestamps": True}
    return found


def sane(segments: Sequence[Segment], seconds: float) -> bool:
    """Whether the timestamps of a hypothesis can be right for so many seconds of audio: each segment has both, none runs
    backwards, none begins before the one before it has ended, the last ends at most half a second behind the audio, and
    together they cover half of it or more."""
    place = covered = 0.0
    for start, end, _ in segments:
        if end is None or not place <= start <= end <= seconds + LATE:
            return False
        covered, place = covered + end - start, end
    return covered >= LEAST * seconds
