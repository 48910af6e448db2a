"""The result tables of a run as pandas frames, for a notebook.

    from consomme.results import load
    results = load("results")
    results.scores.query("split == 'test'").pivot_table("value", "model", ["experiment", "set"])

`python -m consomme.results` prints the meaning of each column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consomme.results.experiments import Results, load

__all__ = ["Results", "load"]


def __getattr__(name: str) -> Any:
    # imports pandas only when needed: the columns' names are available without it
    if name not in __all__:
        raise AttributeError(f"module 'consomme.results' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module("consomme.results.experiments"), name)
