"""The smallest model that keeps the limits of choose_on: a choice of one parent, not an average."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from consomme.average.methods.base import Method, Mix
from consomme.common.log import say
from consomme.common.settings import Section
from consomme.formats import weights_of


class Settings(Section):
    """Settings of smallest."""

    size: Literal["parameters", "bytes"] | None = Field(
        None, description="what is small: parameters (default), or the bytes of the files, in which exports differ"
    )


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Evaluate each parent and link the files of the one with the fewest parameters, or bytes, that keeps the limits of
    choose_on.

    Of equally small ones the best, of equals the first. ConsommeError, with amounts, if none keeps the limits. All
    evaluations are written to curve.tsv and returned."""
    from consomme.average.methods import within

    judge, by = mix.judge(), mix.settings.get("size") or "parameters"
    candidates = within.evaluated(mix, judge)
    sizes = {c.name: _bytes(c.folder) if by == "bytes" else c.parameters for c in candidates}
    chosen = min(within.able("smallest", candidates), key=lambda c: (sizes[c.name], -c.objective))
    say(f"smallest: {chosen.name}, {sizes[chosen.name]:,} {by}")
    return within.take(chosen, candidates, judge, folder, {c.name: {} for c in candidates})


def _bytes(folder: Path) -> int:
    """Of the weights."""
    weights = folder / "model.safetensors"
    return sum(path.stat().st_size for path in ([weights] if weights.is_file() else weights_of(folder)))


SMALLEST = Method("smallest", build, settings=Settings, chooses=lambda settings: True, mixes=False, needs_limits=True)
