"""A run of a sweep with optuna: the values that it is trained with.

Its job has the best of the runs before it (`study/NODE`) among its inputs, whose provenance says them (average/trials.py)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.provenance import NAME
from consomme.common.values import spell


def settled(job: Job) -> Job:
    """The job with the values that its study has found for it: in its settings, and under `trial` in its spec. Other jobs as
    they are."""
    if not (trial := job.spec.get("trial")):
        return job
    studies = list(job.labelled("study").values())
    if len(studies) != 1:
        raise ConsommeError(f"inputs: one study/NODE is needed; the inputs are {list(job.inputs)}")
    study = read_json(studies[0] / NAME)["chosen"]["study"]
    values: dict[str, Any] = study["next"][trial["place"]]
    spec = deepcopy(job.spec) | {"trial": {"number": trial["number"], "values": values}}
    for key, value in values.items():
        *parents, last = study["space"][key]["path"]
        here = spec
        for part in parents:
            here = here[part]
        here[last] = value
    say(f"trial {trial['number']}: {', '.join(f'{key}={spell(value)}' for key, value in values.items())}")
    return replace(job, spec=spec)
