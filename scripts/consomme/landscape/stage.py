"""The landscape stage: the development loss along straight lines between models, and of means of more and more of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.files import read_json, write_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.provenance import model_content, unfinished
from consomme.common.stage import build_once

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.data.prepared import Rows
    from consomme.weights.candidates import Candidates

ROWS = 32  # of all development sets together: a sweep of sixteen runs is evaluated some hundred times
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)  # the other model's share
ORDERS = 3  # drawn at random
SEED = 0  # of the rows and the orders

Loss = Callable[["PreTrainedModel"], float]


def run(job: Job) -> None:
    """Write `job.out`, a JSON file:

    ingredients: the names of the models, in the order given; left_out: name -> why; sets: development set -> weight,
    rows (number used) and of (number there are); losses: name -> loss in nats per token, the weighted mean over
    the sets; best: the name of the least; alphas, lines: for each other model the loss of (1 - alpha) * best +
    alpha * other; ranked, orders: {order: names, losses: of the mean of the first k} by loss and at random.

    A killed job repeats no finished evaluation: the evaluator stores them by content."""
    left_out = unfinished(job.labelled("parent"))
    parents = {name: path for name, path in job.labelled("parent").items() if name not in left_out}
    # what is made is a file, which lies in the folder of all landscapes
    build_once(
        replace(job, out=job.out.parent),
        key(job, parents),
        lambda folder, work: write_json(folder / job.out.name, measured(job, parents, left_out)),
    )


def key(job: Job, parents: Mapping[str, Path]) -> dict[str, Any]:
    """What the result depends on, besides the code: the settings and the contents of the inputs."""
    from consomme.evaluate.batch_norms import needed

    read = job.labelled("statistics") if needed(job, next(iter(parents.values()))) else {}
    return {
        "digest": job.spec["digest"],
        "statistics": {n: read_json(p / "prepared.json")["fingerprint"] for n, p in read.items()},
        "given": list(job.labelled("parent")),
        "parents": [[name, model_content(path)] for name, path in parents.items()],
        "dev": {n: read_json(p / "prepared.json")["fingerprint"] for n, p in job.labelled("corpus").items()},
    }


def measured(job: Job, parents: Mapping[str, Path], left_out: Mapping[str, str]) -> dict[str, Any]:
    """The contents of the file that `run` writes."""
    import torch

    from consomme.evaluate import choice as choosing
    from consomme.evaluate.batch_norms import Statistics, needed
    from consomme.evaluate.evaluator import Evaluator, rows_of
    from consomme.families import device_named
    from consomme.weights.candidates import Candidates

    torch.set_num_threads(job.threads)
    choice = choosing.Choice.parse(job.spec["settings"]["choose_on"])
    whole = {name: rows_of(job, corpora) for name, corpora in job.spec["dev"].items()}
    rows = {name: some(found, ROWS // len(whole)) for name, found in whole.items()}
    donor = next(iter(parents.values()))
    evaluator = Evaluator.open(job, rows, donor)
    renew = Statistics(job, donor).renew if needed(job, donor) else None

    def loss(model: PreTrainedModel) -> float:
        return -choosing.objective(evaluator, model, choice)

    with Candidates(parents, device_named(job.device), renew) as candidates:
        losses = of_each(candidates, loss)
        best = min(losses, key=lambda name: losses[name])  # of equals the first given
        return {
            "ingredients": list(parents),
            "left_out": dict(left_out),
            "sets": {n: {"weight": choice.weights[n], "rows": len(rows[n]), "of": len(whole[n])} for n in rows},
            "losses": losses,
            "best": best,
            "alphas": ALPHAS,
            "lines": lines(candidates, losses, best, loss),
            **means(candidates, losses, loss),
        }


def some(rows: Rows, most: int) -> Rows:
    """At most `most` rows, always the same ones, drawn by a hash of their ids."""
    return rows if len(rows) <= most else rows.share(max(most, 1) / len(rows), SEED)


def of_each(candidates: Candidates, loss: Loss) -> dict[str, float]:
    """The loss of each model."""
    losses = {}
    for number, name in enumerate(candidates.models, 1):
        losses[name] = loss(candidates.single(name))
        say(f"model {number} of {len(candidates.models)}, {name}: loss {losses[name]:.4f}")
    return losses


def lines(candidates: Candidates, losses: Mapping[str, float], best: str, loss: Loss) -> dict[str, list[float]]:
    """For each model but the best: the losses at ALPHAS on the straight line from the best to it."""
    found = {}
    others = [name for name in losses if name != best]
    for number, name in enumerate(others, 1):
        at, reached = candidates.line(best, name), []
        for alpha in ALPHAS[1:-1]:
            reached.append(loss(at(alpha)))
            say(f"line {number} of {len(others)}, {best} to {name}, at {alpha:g}: loss {reached[-1]:.4f}")
        found[name] = [losses[best], *reached, losses[name]]
    return found


def means(candidates: Candidates, losses: Mapping[str, float], loss: Loss) -> dict[str, Any]:
    """`ranked` and `orders`: the loss of the mean of the first k models, k = 1, 2, ..., by loss and in random orders.

    A set of models that two orders both begin with is evaluated once."""
    known = {frozenset([name]): value for name, value in losses.items()}
    ranked = sorted(losses, key=lambda name: losses[name])  # stable: of equals the first given
    orders = {"ranked": ranked} | {f"order {i}": o for i, o in enumerate(random_orders(list(losses)), 1)}
    found = []
    for title, order in orders.items():
        running = candidates.running(order[0])
        for k, name in enumerate(order[1:], 2):
            together = frozenset(order[:k])
            if together not in known:
                known[together] = loss(running.with_one_more(name))
                say(f"{title}, mean of {k}, with {name}: loss {known[together]:.4f}")
            if k < len(order):
                running.keep(name)
        found.append({"order": order, "losses": [known[frozenset(order[:k])] for k in range(1, len(order) + 1)]})
    return {"ranked": found[0], "orders": found[1:]}


def random_orders(names: Sequence[str]) -> list[list[str]]:
    """ORDERS different orders, or all that there are; the same for the same names in the same places."""
    found: list[list[str]] = []
    stream = random.Random(SEED)
    while len(found) < min(ORDERS, math.factorial(len(names))):
        order = stream.sample(list(names), len(names))
        if order not in found:
            found.append(order)
    return found
