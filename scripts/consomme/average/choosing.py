"""The best settings of a method on development sets: an average is made with each, and one is kept."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from consomme.average.methods.base import Mix, broken_limits, write_curve
from consomme.common.errors import ConsommeError
from consomme.common.log import say
from consomme.common.values import spell

Make = Callable[[Mix, Path], dict[str, Any]]  # fills an empty folder with a model; returns what was chosen, as JSON
COLUMNS = ("set", "metric", "value", "ci_low", "ci_high", "objective", "admissible", "chosen")


def best_settings(mix: Mix, tried: Sequence[Mapping[str, Any]], make: Make, folder: Path) -> dict[str, Any]:
    """Fill the empty `folder` with the average that is best on the development sets among those with the settings `tried`,
    of equals the first. At most two lie on the disk at a time.

    Averages that break a limit of choose_on are excluded; ConsommeError, with amounts, if all do. All evaluations are
    written to curve.tsv and returned."""
    from consomme.families import load

    judge = mix.judge()
    best, chosen, made = -math.inf, None, {}
    broken: dict[str, str] = {}
    curve: list[dict[str, Any]] = []
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.tried-") as place:
        kept = Path(place) / "kept"
        for i, settings in enumerate(tried):
            words, candidate = in_words(settings), Path(place) / str(i)
            candidate.mkdir()
            found = make(replace(mix, settings={**mix.settings, **settings}), candidate)
            model = load(candidate, judge.device)
            objective = judge.objective(model)
            keeps, limits = judge.admissible(model)
            for row in judge.rows(model):
                named = {**settings, "step": i + 1, "candidate": words}
                curve.append({**named, **row, "objective": objective, "admissible": keeps})
            if not keeps or objective == -math.inf:
                broken[words] = broken_limits(limits) or f"its {judge.choice.metric} is not finite"
            say(f"{words}: {judge.text(objective)}{', ' * (words in broken)}{broken.get(words, '')}")
            if words not in broken and objective > best:
                best, chosen, made = objective, settings, found
                _replace(candidate, kept)
        if chosen is None:
            raise ConsommeError(
                f"choose: no settings keep the limits of choose_on: {'; '.join(f'{w}: {why}' for w, why in broken.items())}. Allow "
                "more (lose_at_most), try others, or give more development data: the bound is one-sided at 95 %"
            )
        for path in kept.iterdir():
            os.replace(path, folder / path.name)
    names = dict.fromkeys(key for settings in tried for key in settings)  # points may name other keys than their like
    curve = [{**names, **row, "chosen": row["candidate"] == in_words(chosen)} for row in curve]
    write_curve(folder, (*names, *COLUMNS), curve)
    say(f"choose: {in_words(chosen)}")
    return {**made, "settings": dict(chosen), "metric": judge.choice.metric, "curve": curve}


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings as one text: density=0.2, scale=1."""
    return ", ".join(f"{key}={spell(value)}" for key, value in settings.items() if value is not None) or "the defaults"


def _replace(folder: Path, place: Path) -> None:
    """Move a folder to `place`; the one that was there before goes."""
    import shutil

    shutil.rmtree(place, ignore_errors=True)
    os.replace(folder, place)
