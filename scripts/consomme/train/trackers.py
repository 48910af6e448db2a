"""Where a training's figures go beside the log and progress.jsonl. A tracker never fails a training: one that can't be opened,
or raises, is switched off with a line in the log.

Servers, projects' owners and keys are those of each tracker's own environment variables; nothing of them is written here.
Importing this imports nothing heavy: the plan reads the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.common.log import say


@dataclass(frozen=True)
class Run:
    """A training, as a tracker knows it."""

    project: str  # the experiment
    name: str
    key: str  # the same when the training is resumed, and of no other
    settings: Mapping[str, Any]
    first: int  # the step after which it begins or goes on
    work: Path  # its folder until it ends


@dataclass(frozen=True)
class Opened:
    """A tracker that has a run open."""

    log: Callable[[Mapping[str, float], int], Any]  # (figures by name, step)
    close: Callable[[], Any]


@dataclass(frozen=True)
class Tracker:
    """A tracker of the table."""

    open: Callable[[Run], Opened]
    extra: str | None = None  # the optional package that it needs


def _tensorboard(run: Run) -> Opened:
    from tensorboardX import SummaryWriter

    board = SummaryWriter(str(run.work / TENSORBOARD), purge_step=run.first + 1 if run.first else None)

    def log(figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            board.add_scalar(f"train/{name}", value, step)
        board.flush()

    return Opened(log, board.close)


def _mlflow(run: Run) -> Opened:
    import mlflow

    mlflow.set_experiment(run.project)
    known = run.work / "mlflow-run"  # mlflow names its runs by itself
    if known.is_file():
        mlflow.start_run(run_id=known.read_text(encoding="utf-8"))
    else:
        known.write_text(mlflow.start_run(run_name=run.name).info.run_id, encoding="utf-8")
        mlflow.log_params(dict(run.settings))
    return Opened(lambda figures, step: mlflow.log_metrics(dict(figures), step=step), mlflow.end_run)


def _wandb(run: Run) -> Opened:
    import wandb

    opened = wandb.init(project=run.project, name=run.name, id=run.key, resume="allow", config=dict(run.settings))
    return Opened(lambda figures, step: opened.log(dict(figures), step=step), opened.finish)


def _trackio(run: Run) -> Opened:
    import trackio

    name = f"{run.name} {run.key[:6]}"  # its runs are known by name alone
    opened = trackio.init(run.project, name, config=dict(run.settings), resume="allow", embed=False)
    return Opened(lambda figures, step: opened.log(dict(figures), step=step), trackio.finish)


TENSORBOARD = "tensorboard"  # also the folder of its files, which every training writes
TABLE = {
    TENSORBOARD: Tracker(_tensorboard),
    "mlflow": Tracker(_mlflow, "mlflow"),
    "wandb": Tracker(_wandb, "wandb"),
    "trackio": Tracker(_trackio, "trackio"),
}


class Trackers:
    """TensorBoard's files, and another tracker if `wanted` names one."""

    def __init__(self, wanted: str | None) -> None:
        self.wanted = dict.fromkeys([TENSORBOARD, *([wanted] if wanted else [])])
        self.opened: dict[str, Opened] = {}

    def open(self, run: Run) -> None:
        """Begin, or go on with, the run of a training."""
        for name in self.wanted:
            if (found := self._safely(name, TABLE[name].open, run)) is not None:
                self.opened[name] = found

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Hand on the figures of a step."""
        for name, tracker in list(self.opened.items()):
            self._safely(name, tracker.log, figures, step)

    def close(self) -> None:
        """End the run."""
        for name, tracker in list(self.opened.items()):
            self._safely(name, tracker.close)
        self.opened = {}

    def _safely(self, name: str, call: Callable[..., Any], *given: Any) -> Any:
        try:
            return call(*given)
        except Exception as error:  # whatever a tracker raises, the training goes on
            self.opened.pop(name, None)
            words = next(iter(str(error).splitlines()), "")
            say(f"track: {name} is switched off, training goes on: {type(error).__name__}: {words}")
            return None


def flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by dotted key, without those that are not given."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        elif value is not None:
            found[f"{above}{key}"] = value
    return found
