"""Averages within one run, over the weights that its training kept in `checkpoints/` (key `checkpoints` of train).

`last`: Vaswani et al. 2017, arXiv 1706.03762; `best`: by the development objective during training; `ema`: Polyak
averaging with a decay; `window`: the mean over a window of steps, from two running means as in icefall: mean(a, b] = (b · M(b) - a · M(a)) / (b - a)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import Field, model_validator

from consomme.average.methods.base import Method, Mix
from consomme.common.errors import ConsommeError
from consomme.common.files import link_file, read_json
from consomme.common.model_files import KEPT, inherited
from consomme.common.settings import Section
from consomme.common.values import Integer

WEIGHTS = "model.safetensors"


class Count(Section):
    """Settings of last and best."""

    count: Integer | None = Field(None, ge=1, description="number of checkpoints; default: all that were kept")


class Window(Section):
    """Settings of window."""

    from_step: Integer | None = Field(None, ge=0, description="the window begins after this step; default 0")
    to_step: Integer | None = Field(None, ge=1, description="last step of the window; default: the last that was kept")

    @model_validator(mode="after")
    def _not_empty(self) -> Window:
        if self.to_step is not None and (self.from_step or 0) >= self.to_step:
            raise ValueError(f"the window after step {self.from_step} up to step {self.to_step} is empty")
        return self


def _last(mix: Mix, folder: Path) -> dict[str, Any]:
    name, run = _one(mix)
    return _mean(folder, run, name, _taken(mix, _kept(run, "last")))


def _best(mix: Mix, folder: Path) -> dict[str, Any]:
    """The mean of the best ones, by the training's `choose_on`."""
    name, run = _one(mix)
    found = _taken(mix, _kept(run, "best"), first=True)
    return _mean(folder, run, name, found) | {"scores": {str(e["step"]): e["objective"] for e in found}}


def _ema(mix: Mix, folder: Path) -> dict[str, Any]:
    name, run = _one(mix)
    return _mean(folder, run, name, [_kept(run, "ema")]) | {"decay": _kept(run, "ema")["decay"]}


def _window(mix: Mix, folder: Path) -> dict[str, Any]:
    name, run = _one(mix)
    kept = {e["step"]: e for e in _kept(run, "mean")}
    start, end = int(mix.setting("from_step", 0)), int(mix.setting("to_step", max(kept)))
    for word, step in (("from_step", start), ("to_step", end)):
        if step not in kept and not (word == "from_step" and step == 0):
            raise ConsommeError(
                f"{word}: {step}: {name} kept no mean there; it has {', '.join(map(str, sorted(kept)))}"
            )
    if start >= end:
        raise ConsommeError(f"window: from_step {start} to to_step {end} is empty; to_step must be the larger one")
    made = [kept[end], *([kept[start]] if start else [])]
    return _mean(folder, run, name, made, [end, -start][: len(made)], end - start) | {
        "from_step": start,
        "to_step": end,
    }


def _one(mix: Mix) -> tuple[str, Path]:
    (pair,) = mix.parents.items()
    return pair


def _kept(run: Path, kind: str) -> Any:
    """The index entries of a kind that a run kept. ConsommeError, with the settings to keep it, if there are none."""
    index = run / KEPT / f"{KEPT}.json"
    found = read_json(index).get(kind) if index.is_file() else None
    if not found:
        wanted = {"last": "last: 5", "best": "best: 5", "ema": "ema: 0.999", "mean": "mean: true"}[kind]
        raise ConsommeError(f"{run}: its training kept none; train it with checkpoints: {{every: 100, {wanted}}}")
    return found


def _taken(mix: Mix, found: Sequence[Mapping[str, Any]], first: bool = False) -> Sequence[Mapping[str, Any]]:
    """The first or last `count` of the kept entries; all if it is not given."""
    count = int(mix.setting("count", len(found)))
    if count > len(found):
        raise ConsommeError(
            f"count: {count} given; {len(found)} were kept: steps {', '.join(str(e['step']) for e in found)}"
        )
    return found[:count] if first else found[-count:]


def _mean(
    folder: Path,
    run: Path,
    name: str,
    entries: Sequence[Mapping[str, Any]],
    coefficients: Sequence[float] | None = None,
    divisor: float = 1.0,
) -> dict[str, Any]:
    from consomme.weights.compatibility import config
    from consomme.weights.mean import write_mean

    with _as_models(folder, run, entries) as models:
        write_mean(folder, models, coefficients, divisor)
    if config(folder).get("pruned_heads"):
        from consomme.weights.zeroed_copy import write_zeroed_copy

        write_zeroed_copy(folder)
    steps = [e["step"] for e in entries if "step" in e]
    return {"ingredients": [name], **({"checkpoints": steps} if steps else {})}


@contextmanager
def _as_models(folder: Path, run: Path, entries: Sequence[Mapping[str, Any]]) -> Generator[dict[str, Path]]:
    """Each file of weights as a temporary model folder below `folder`, with the run's other files."""
    with TemporaryDirectory(prefix=".checkpoints-", dir=folder) as place:
        found = {}
        for entry in entries:
            model = Path(place) / Path(entry["file"]).stem
            model.mkdir()
            for path in inherited(run):
                (model / path).parent.mkdir(parents=True, exist_ok=True)
                link_file((run / path).resolve(), model / path)
            link_file(run / KEPT / entry["file"], model / WEIGHTS)
            found[model.name] = model
        yield found


LAST = Method("last", _last, most=1, settings=Count, keeps="last")
BEST = Method("best", _best, most=1, settings=Count, keeps="best")
EMA = Method("ema", _ema, most=1, keeps="ema")
WINDOW = Method("window", _window, most=1, settings=Window, keeps="mean")
