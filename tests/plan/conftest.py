"""A small configuration to change in one place and look at what follows."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml

from consomme.plan.plan import Plan

SMALL = """
corpora:
  a-train: {source: generated, generator: spoken-numbers, domain: clean, size: 40}
  b-train: {source: generated, generator: spoken-numbers, domain: shifted, size: 20}
  a-dev: {source: generated, generator: spoken-numbers, domain: clean, split: dev, size: 10}
  b-dev: {source: generated, generator: spoken-numbers, domain: shifted, split: dev, size: 10}
  a-test: {source: generated, generator: spoken-numbers, domain: clean, split: test, size: 10}
  b-test: {source: generated, generator: spoken-numbers, domain: shifted, split: test, size: 10}
experiments:
  e:
    task: asr
    languages: [en]
    data:
      train: b-train
      dev: {a: a-dev, b: b-dev}
      test: {a: a-test, b: b-test}
    models:
      raw: {from: {scratch: {family: ctc, num_hidden_layers: 6}}, data: {train: a-train}}
      base: {train: raw, data: {train: a-train}, max_steps: 10}
      tuned:
        train: base
        sweep: {grid: {learning_rate: [1e-5, 3e-5], data.share: [0.5, 1.0]}}
        max_steps: 4
      soup: {average: tuned, method: greedy, choose_on: {b: best}}
      mean: {average: tuned}
      line: {average: [base, soup], method: interpolate, choose_on: {b: best, a: {lose_at_most: 1, of: base}}}
      half: {prune: line, layers: {encoder: {drop: 1/2, by: uniform}}}
      healed: {train: half, distil_from: line, max_steps: 3}
      out: {export: healed}
    claims:
      - {model: soup, beats: tuned/best, on: b}
      - {model: healed, keeps: line, on: b, margin: 2}
"""


@pytest.fixture
def small() -> dict[str, Any]:
    """The raw configuration."""
    return yaml.safe_load(SMALL)


@pytest.fixture
def change(small):
    """`change({"experiments.e.models.tuned.max_steps": 5})`: the raw configuration with some keys set (or removed: None)."""

    def changed(settings: dict[str, Any]) -> dict[str, Any]:
        raw = deepcopy(small)
        for dotted, value in settings.items():
            here = raw
            *parents, last = dotted.split("/") if "/" in dotted else dotted.split(".")
            for part in parents:
                here = here[part]
            if value is None:
                del here[last]
            else:
                here[last] = value
        return raw

    return changed


@pytest.fixture
def digests():
    """Replicate/NODE[/RUN] -> digest of a plan, or of a raw configuration."""

    def found(plan: Plan | dict[str, Any]) -> dict[str, str]:
        plan = plan if isinstance(plan, Plan) else Plan(plan)
        return {f"{m.replicate}/{m.name}": m.digest for s in plan.studies.values() for m in s.models}

    return found
