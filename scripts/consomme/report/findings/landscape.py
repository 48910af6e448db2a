"""Findings from landscapes: lines and means for the charts, and sentences with the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from consomme.common.files import read_json

BARRIER = 0.02  # nats per token; a lower rise isn't called a barrier


@dataclass(frozen=True)
class Line:
    """The loss on the line from the best run (share 0) to another one (share 1)."""

    replicate: str
    # the best run of this replicate
    best: str
    other: str
    # (share, nats per token)
    losses: tuple[tuple[float, float], ...]

    @property
    def barrier(self) -> float:
        """The rise of the line above its worse end, in nats per token; 0 if there is none."""
        values = [loss for _, loss in self.losses]
        return max(values) - max(values[0], values[-1])

    @property
    def dips(self) -> bool:
        """Whether some point between is better than both ends."""
        values = [loss for _, loss in self.losses]
        return min(values) < min(values[0], values[-1])


@dataclass(frozen=True)
class Landscape:
    """The landscapes of one node's runs, of all replicates."""

    node: str
    # the averages of exactly these runs
    averages: tuple[str, ...]
    # the largest number of runs in a replicate
    count: int
    # of all replicates
    lines: tuple[Line, ...]
    # loss of the mean of the first 1, 2, ... runs minus the best run's loss: best first, one tuple per replicate
    ranked: tuple[tuple[float, ...], ...]
    # the same in random order, one tuple per replicate and order
    drawn: tuple[tuple[float, ...], ...]
    # per replicate: set -> {weight, rows, of}
    sets: tuple[Mapping[str, Mapping[str, Any]], ...]

    @property
    def title(self) -> str:
        """The runs and their averages, as a title."""
        return f"{self.count} runs of {self.node}, of which {listed(self.averages)} {'is' if len(self.averages) == 1 else 'are'} made"

    @property
    def steps(self) -> list[dict[str, float]]:
        """For each number of ingredients, over replicates: the mean loss best first, and its mean and standard deviation in
        random order, each minus the best run's loss."""
        found = []
        for k in range(1, self.count + 1):
            ranked = [row[k - 1] for row in self.ranked if len(row) >= k]
            drawn = [row[k - 1] for row in self.drawn if len(row) >= k]
            found.append(
                {"k": k, "ranked": float(np.mean(ranked)), "mean": float(np.mean(drawn)), "sd": float(np.std(drawn))}
            )
        return found


def landscapes(spec: Mapping[str, Any]) -> list[Landscape]:
    """The landscapes in the files of the report's spec, those with the most runs first. A file has no lines if all runs
    but one diverged or were stopped, and is left out."""
    by_runs: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}
    for entry in spec.get("landscapes", []):
        # fetched models are the same in every replicate
        by_runs.setdefault((entry["node"], tuple(entry["averages"])), {}).setdefault(
            entry["path"], str(entry["replicate"])
        )
    found = []
    for (node, averages), paths in by_runs.items():
        made = [(replicate, record) for path, replicate in paths.items() if (record := read_json(path))["lines"]]
        if made:
            found.append(_landscape(node, averages, made))
    return sorted(found, key=lambda landscape: (-landscape.count, landscape.node, landscape.averages))


def _landscape(node: str, averages: tuple[str, ...], made: Sequence[tuple[str, Mapping[str, Any]]]) -> Landscape:
    lines = [
        Line(replicate, record["best"], other, tuple(zip(record["alphas"], losses, strict=True)))
        for replicate, record in made
        for other, losses in record["lines"].items()
    ]

    def above(record: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[float, ...]:
        return tuple(loss - record["losses"][record["best"]] for loss in row["losses"])

    return Landscape(
        node,
        averages,
        max(len(record["ingredients"]) for _, record in made),
        tuple(lines),
        tuple(above(record, record["ranked"]) for _, record in made),
        tuple(above(record, order) for _, record in made for order in record["orders"]),
        tuple(record["sets"] for _, record in made),
    )


# -- in words --------------------------------------------------------------------------------------------------------


def basin_words(landscape: Landscape) -> str:
    """Whether the runs share a basin: the fraction of lines without a barrier, the highest barrier, the conclusion."""
    lines = landscape.lines
    high = [line for line in lines if line.barrier > BARRIER]
    free = len(lines) - len(high)
    dips = sum(line.dips for line in lines)
    worst = max(lines, key=lambda line: line.barrier)
    where = f"{worst.other}{f' in replicate {worst.replicate}' if worst.replicate else ''}"
    share = f"{free} of {len(lines)} lines ({100 * free / len(lines):.0f} %) have no barrier"
    if not high:
        words = f"{share}: nowhere does the loss rise more than {BARRIER:g} nats per token above the worse end, so the runs share a basin."
    elif free:
        words = f"{share}. The highest, {worst.barrier:.2f} nats per token, lies before {where}. Runs behind a barrier lie in another basin than the best one, and a mean with them suffers."
    else:
        words = f"A barrier lies on {'the one line' if len(lines) == 1 else f'each of the {len(lines)} lines'}; the highest, {worst.barrier:.2f} nats per token, before {where}. The runs share no basin, and a plain mean of them is no good."
    return f"{words} {_dipping(dips, len(lines))}"


def _dipping(dips: int, lines: int) -> str:
    if not dips:
        return "On none of them is a mix better than both ends."
    each = "each of them" if dips == lines > 1 else f"{dips} of them"
    return f"On {each} some mix is better than both ends."


def steps_words(landscape: Landscape) -> str:
    """The loss of the mean of all runs against the best run's, and the lowest loss of a mean of the best runs."""
    steps = landscape.steps
    whole, first, least = steps[-1], steps[0], min(steps, key=lambda step: step["ranked"])
    several = "" if len(landscape.sets) == 1 else f", mean over {len(landscape.sets)} replicates"
    words = f"In random order the loss goes from {_against(first['mean'])} with one run to {_against(whole['mean'])} with all {landscape.count}{several}."
    if least["k"] == 1:
        return f"{words} Best first, no mean is below the best run alone."
    return f"{words} Best first, it is least with {least['k']}: {_against(least['ranked'])}."


def _against(difference: float) -> str:
    if abs(difference) < 0.0005:
        return "as much as the best run's"
    return f"{abs(difference):.3f} {'above' if difference > 0 else 'below'} the best run's"


def rows_words(landscape: Landscape) -> str:
    """The rows of the measurement: `64 of 200 rows of general, all 90 of domain`."""
    parts = []
    for name in landscape.sets[0]:
        used = sorted({(sets[name]["rows"], sets[name]["of"]) for sets in landscape.sets if name in sets})
        counts = " or ".join(f"all {of}" if rows == of else f"{rows} of {of}" for rows, of in used)
        parts.append(f"{counts} development rows of {name}")
    return listed(parts)


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
