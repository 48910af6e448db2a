"""Strings of recordings: single recordings of one speaker joined into longer utterances."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from consomme.common.errors import ConsommeError


def strings_of(recordings: Sequence[Any], length: tuple[int, int], uses: int, rng: random.Random) -> list[list[Any]]:
    """Deal `recordings` (distinct) into strings of `length[0]` to `length[1]`, each recording in exactly `uses` of
    them and never twice in one. What is left at the end makes shorter strings: one, where `uses` is 1."""
    low, high = length
    deck = [r for _ in range(uses) for r in rng.sample(recordings, len(recordings))]
    strings: list[list[Any]] = []
    current: list[Any] = []
    wanted = rng.randint(low, high)
    for k in range(len(deck)):
        # where one round of the deck meets the next, a recording may come that the string has: take the next other one
        fits = next((j for j in range(k, len(deck)) if deck[j] not in current), None)
        if fits is None:
            strings.append(current)
            current, wanted, fits = [], rng.randint(low, high), k
        deck[k], deck[fits] = deck[fits], deck[k]
        current.append(deck[k])
        if len(current) == wanted:
            strings.append(current)
            current, wanted = [], rng.randint(low, high)
    return [*strings, current] if current else strings


def join_plan(
    speakers: Mapping[str, Sequence[int]], join: Mapping[str, Any]
) -> list[tuple[str, list[int], list[float]]]:
    """Every string to make: its id, its rows, and the seconds of silence before, between and after them.

    `speakers` has the row numbers of each. A speaker's strings depend on that speaker's rows, their order and `join`
    ({"length": [low, high], "uses", "gap", "edge": [low, high] seconds, "seed"}) alone."""
    low, high = join["length"]
    gap, edge = join.get("gap") or [0.0, 0.0], join.get("edge") or [0.0, 0.0]
    uses = int(join.get("uses", 1))
    if not 1 <= low <= high or uses < 1 or not (0 <= gap[0] <= gap[1] and 0 <= edge[0] <= edge[1]):
        raise ConsommeError(
            f"join: length {join['length']}, uses {uses}, gap {gap}, edge {edge}: wanted 1 <= shortest <= longest, "
            "uses from 1, 0 <= shortest gap <= longest gap, likewise edge"
        )
    plan = []
    for speaker in sorted(speakers):
        rng = random.Random(f"{join.get('seed', 1)}:{speaker}")
        for number, rows in enumerate(strings_of(speakers[speaker], (low, high), uses, rng), 1):
            gaps = [rng.uniform(*gap) for _ in rows[1:]]
            plan.append((f"{speaker}-{number:05d}", rows, [rng.uniform(*edge), *gaps, rng.uniform(*edge)]))
    return plan
