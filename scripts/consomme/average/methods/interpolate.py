"""The line between two models, (1 - alpha) * first + alpha * second: WiSE-FT, Wortsman et al. 2021, arXiv 2109.01903."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.average.methods.base import Method, Mix, broken_limits, write_curve
from consomme.common.errors import ConsommeError
from consomme.common.log import say
from consomme.common.settings import Section
from consomme.common.values import Integer, Number

COLUMNS = ("alpha", "set", "metric", "value", "ci_low", "ci_high", "objective", "admissible", "chosen")


class Settings(Section):
    """Settings of interpolate."""

    alpha: Number | None = Field(
        None, ge=0, le=1, description="0 is the first model, 1 the second; default: chosen on the development sets"
    )
    points: Integer = Field(11, ge=2, le=1001, description="number of alphas to try if none is given")


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write the model at `alpha`; without one, at the best of `points` alphas from 0 to 1 that keep the limits of choose_on.

    The whole development curve is written to curve.tsv and returned. Of equal points, the one nearest to the first model
    is chosen. If no point keeps the limits, the result is the first model if the limits refer to it, else
    ConsommeError."""
    from consomme.weights.mean import write_mean

    alpha, curve = mix.settings.get("alpha"), []
    if alpha is None:
        alpha, curve = _search(mix)
    alpha = float(alpha)
    if not 0 <= alpha <= 1:
        raise ConsommeError(f"alpha: {alpha} given; allowed: 0 (the first model) to 1 (the second)")
    write_mean(folder, mix.parents, [1 - alpha, alpha])
    chosen: dict[str, Any] = {"ingredients": list(mix.parents), "alpha": alpha}
    if curve:
        write_curve(folder, COLUMNS, curve)
        chosen |= {"metric": mix.settings["choose_on"]["metric"], "curve": curve}
    return chosen


def _search(mix: Mix) -> tuple[float, list[dict[str, Any]]]:
    """The chosen alpha and the rows of the curve."""
    from consomme.weights.candidates import Candidates

    judge = mix.judge()
    points = int(mix.settings.get("points") or 11)
    tried: list[tuple[float, float, bool]] = []
    curve: list[dict[str, Any]] = []
    with Candidates(mix.parents, judge.device, mix.renew) as candidates:
        line = candidates.line(*mix.parents)
        for alpha in (i / (points - 1) for i in range(points)):
            model = line(alpha)
            objective = judge.objective(model)
            able, limits = judge.admissible(model)
            tried.append((alpha, objective, able))
            for row in judge.rows(model):
                curve.append({"alpha": alpha, **row, "objective": objective, "admissible": able})
            broken = broken_limits(limits)
            say(f"alpha {alpha:.3g}: {judge.text(objective)}{', ' * bool(broken)}{broken}")
    able = [(objective, -alpha) for alpha, objective, keeps in tried if keeps]
    if able:
        chosen = -max(able)[1]
    elif {limit.of for limit in judge.choice.limits.values()} == {next(iter(mix.parents))}:
        chosen = 0.0
        say(
            f"interpolate: no point keeps the limits of choose_on; {next(iter(mix.parents))} itself is chosen (alpha 0)"
        )
    else:
        raise ConsommeError(
            f"interpolate: no point between {' and '.join(mix.parents)} keeps the limits of choose_on; allow more "
            f"(lose_at_most), or give more development data: the bound is one-sided at 95 %"
        )
    for row in curve:
        row["chosen"] = row["alpha"] == chosen
    say(f"interpolate: alpha {chosen:.3g}")
    return abs(chosen), curve


def _chooses(settings: Mapping[str, Any]) -> bool:
    return settings.get("alpha") is None


INTERPOLATE = Method("interpolate", build, least=2, most=2, settings=Settings, searching=("points",), chooses=_chooses)
