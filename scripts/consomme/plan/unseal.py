"""Breaking the seal of test sets, once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from consomme.plan.items import Model
from consomme.plan.plan import Plan, Study
from consomme.plan.problems import among, fail
from consomme.register.entry import declare


def unseal(plan: Plan, experiment: str | None, repository: Path) -> bool:
    """Open the sealed test sets of an experiment, or of all, for the models that claims on them name, and write so into the
    register. Prints a sentence for each sealed set. Returns whether any was opened now: what was opened before stays as it is.

    ConfigurationError, and nothing is opened, if there is no such set, no claim is on it, or a model isn't made yet.
    repository: a folder in the repository of the configuration."""
    if experiment is not None:
        among("EXPERIMENT", experiment, plan.studies, "experiment")
    studies = [s for name, s in plan.studies.items() if experiment in (None, name) and s.first.data.sealed]
    if not studies:
        fail(f"experiments.{experiment or next(iter(plan.studies))}", "no test set is sealed; `sealed: [SET]` does it")
    todo = {study.name: _models(study) for study in studies}
    for study in studies:
        if new := todo[study.name]:
            declare(study.report, repository, {test: [m.id for m in models] for test, models in new.items()})
        for test in study.first.data.sealed:
            named = ", ".join(dict.fromkeys(m.name for m in new.get(test, ())))
            once = "was opened before, and that is done once; nothing is changed (`consomme run` makes what is missing)"
            print(f"{study.name}: {test} {f'is opened for {named}' if named else once}")
    return any(todo.values())


def _models(study: Study) -> dict[str, Sequence[Model]]:
    """Test set that is still sealed -> the models of the claims on it, in all replicates."""
    found = {}
    for test in study.first.data.sealed:
        if test in study.opened:
            continue
        names = [claim[side] for claim in study.claims if claim["on"] == test for side in ("model", "against")]
        where = f"experiments.{study.name}.sealed"
        if not names:
            fail(where, f"no claim is on '{test}', and only models of claims are decoded; declare claims first")
        models = [g.one(name, where) for g in study.graphs.values() for name in dict.fromkeys(names)]
        missing = dict.fromkeys(m.name for m in models if not Path(m.marker).exists())
        if missing:
            fail(where, f"not made yet: {', '.join(missing)}; `consomme run` makes them, and '{test}' is opened once")
        found[test] = models
    return found
