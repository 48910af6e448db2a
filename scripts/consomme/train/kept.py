"""Checkpoints kept for averaging: the last ones, the best ones, running means of the weights.

They are in `checkpoints/` in the model's folder, weights only, each as large as the model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from consomme.common.files import hash_file, link_file, read_json, write_json
from consomme.common.model_files import KEPT
from consomme.train import checkpoints

if TYPE_CHECKING:
    from torch import Tensor

    from consomme.train.running import Running

INDEX = "checkpoints.json"
EMA, MEAN = "ema", "mean"


class Kept(TrainerCallback):
    """Keeps weights in `folder`. settings: every, last, best, ema, mean (schema: `Checkpoints`).

    Means are float64, because the mean over a window of steps is a difference of two of them. Trainer's checkpoints
    store them, so that a resumed training has them."""

    trainer: Running  # set before the training begins

    def __init__(self, settings: Mapping[str, Any], folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.means: dict[str, dict[str, Tensor]] = {}
        self.counted = 0

    # -- during the training -----------------------------------------------------------------------------------------
    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("*-*.safetensors"):  # of a killed attempt that got further: written again
            if int(path.stem.rpartition("-")[2]) > state.global_step:
                path.unlink()
        wanted = [kind for kind in (EMA, MEAN) if self.settings.get(kind)]
        if wanted and not self.means:
            now = {name: p.detach().double() for name, p in self._weights()}
            # the EMA starts from the initial weights, the mean from the first step
            self.means = {
                kind: {n: t.clone() if kind == EMA else torch.zeros_like(t) for n, t in now.items()} for kind in wanted
            }

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        weights = {n: p.double() for n, p in self._weights()} if self.means else {}
        self.counted += 1
        for kind, mean in self.means.items():
            share = 1 - self.settings[EMA] if kind == EMA else 1 / self.counted
            torch._foreach_lerp_([mean[name] for name in weights], list(weights.values()), share)
        last = state.global_step >= state.max_steps or control.should_training_stop
        if state.global_step % self.settings["every"] and not last:
            return
        self.trainer.require_finite()
        if self.settings.get("last") or self.settings.get("best"):
            self._write(f"step-{state.global_step}", None)
        if MEAN in self.means:
            self._write(f"{MEAN}-{state.global_step}", self.means[MEAN])
        self._forget(state)

    def _write(self, name: str, mean: Mapping[str, Tensor] | None) -> None:
        """Write the weights: those of `mean`, or the model's if it is None."""
        with swapped(self.trainer.whole, mean):
            checkpoints.write_plain(self.trainer.whole, self.folder / f"{name}.safetensors")

    def _forget(self, state: Any) -> None:
        """Remove weights that are neither among the last nor among the best. Trainer's newest checkpoint may be older: a
        resumed training then writes them again."""
        keep = set(self._last()) | set(self._best(state))
        for step, path in self._steps().items():
            if step not in keep:
                path.unlink()

    def _last(self) -> list[int]:
        return sorted(self._steps())[-self.settings["last"] :] if self.settings.get("last") else []

    def _best(self, state: Any) -> list[int]:
        from consomme.train.development import KEY, evaluations

        if not self.settings.get("best"):
            return []
        steps = self._steps()
        found = sorted((-e[KEY], e["step"]) for e in evaluations(state.log_history) if e["step"] in steps)
        return [step for _, step in found[: self.settings["best"]]]

    def _steps(self) -> dict[int, Path]:
        return {int(p.stem.removeprefix("step-")): p for p in self.folder.glob("step-*.safetensors")}

    def _weights(self) -> list[tuple[str, Tensor]]:
        return [(n, p) for n, p in self.trainer.model.named_parameters() if p.requires_grad]

    # -- Trainer's checkpoints ---------------------------------------------------------------------------------------
    def save(self, folder: Path) -> None:
        """Write the means into a checkpoint of the training."""
        from safetensors.torch import save_file

        for kind, mean in self.means.items():
            save_file({n: t.contiguous() for n, t in mean.items()}, folder / f"{kind}.safetensors")
        write_json(folder / "kept.json", {"counted": self.counted})

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        from safetensors.torch import load_file

        self.counted = read_json(folder / "kept.json")["counted"]
        device = self.trainer.model.device
        for kind in (EMA, MEAN):
            if self.settings.get(kind):
                self.means[kind] = {n: t.to(device) for n, t in load_file(folder / f"{kind}.safetensors").items()}

    # -- at the end --------------------------------------------------------------------------------------------------
    def drop(self) -> None:
        """Remove everything: the means contain the weights of a diverged run."""
        self.means = {}
        for path in self.folder.glob("*.safetensors"):
            path.unlink()

    def finish(self, folder: Path, state: Any) -> dict[str, Any]:
        """Link the kept weights into `folder`/checkpoints. Returns the index, with kind and step of each file."""
        from consomme.train.development import KEY, evaluations

        if EMA in self.means:
            self._write(EMA, self.means[EMA])
        self._forget(state)
        values = {e["step"]: e[KEY] for e in evaluations(state.log_history)}
        best = set(self._best(state)) if self.settings.get("best") else set()
        last = set(self._last())
        index: dict[str, Any] = {"last": [], "best": [], "mean": [], "ema": None, "steps": state.global_step}
        for step in sorted(self._steps()):
            entry = {**self._entry(f"step-{step}"), "step": step, "objective": values.get(step)}
            if step in last:
                index["last"].append(entry)
            if step in best and step in values:
                index["best"].append(entry)
        index["best"].sort(key=lambda e: -e["objective"])
        for path in sorted(self.folder.glob(f"{MEAN}-*.safetensors"), key=lambda p: int(p.stem.split("-")[1])):
            index["mean"].append({**self._entry(path.stem), "step": int(path.stem.split("-")[1])})
        if EMA in self.means:
            index["ema"] = {**self._entry(EMA), "decay": self.settings[EMA]}
        place = folder / KEPT
        place.mkdir()
        for path in sorted(self.folder.glob("*.safetensors")):
            link_file(path, place / path.name)
        write_json(place / INDEX, index)
        return index

    def _entry(self, name: str) -> dict[str, Any]:
        path = self.folder / f"{name}.safetensors"
        return {"file": path.name, "weights": hash_file(path)}


class swapped:
    """A context in which the trained parameters have the given values; with None, their own."""

    def __init__(self, model: torch.nn.Module, values: Mapping[str, Tensor] | None) -> None:
        self.model, self.values, self.own = model, values or {}, {}

    @torch.no_grad()
    def __enter__(self) -> None:
        for name, parameter in self.model.named_parameters():
            if name in self.values:
                self.own[name] = parameter.detach().clone()
                parameter.copy_(self.values[name])

    @torch.no_grad()
    def __exit__(self, *exception: object) -> None:
        for name, parameter in self.model.named_parameters():
            if name in self.own:
                parameter.copy_(self.own[name])
