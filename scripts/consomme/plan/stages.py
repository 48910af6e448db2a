"""The version of each stage's results.

A version is part of every digest that the stage makes. Raise it only when a change to the code changes the stage's
results for the same settings. `tests/plan/test_stages.py` names the stages that a changed file can
affect.
"""

from __future__ import annotations

VERSIONS: dict[str, int] = {
    "data": 3,
    "start": 4,
    "train": 7,
    "average": 4,
    "prune": 4,
    "evaluate": 4,
    "landscape": 2,
    "relabel": 2,
    "export": 2,
    "report": 14,
}
