"""A layered drawing of a directed graph without cycles, top to bottom (Sugiyama, Tagawa and Toda 1981).

Longest-path layers and barycentre ordering. The positions in a layer are the nearest to the neighbours' without overlap,
found by isotonic regression.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Point = tuple[float, float]
Spot = Any  # a node, or where an edge passes through a layer: (from, to, layer)
Links = Mapping[Spot, Sequence[Spot]]
GAP = 28.0  # between boxes of a layer
RISE = 46.0  # between layers
MARGIN = 14.0
_SWEEPS = 24
_RELAXATIONS = 120
_STIFF = 8.0  # pull between two parts of one edge, against 1 between boxes


@dataclass(frozen=True)
class Drawing:
    """A finished layout, in pixels."""

    width: float
    height: float
    # node -> (left, top, width, height)
    boxes: Mapping[str, tuple[float, float, float, float]]
    # (from, to) -> points, joined by curves, or by straight lines if their x is equal
    routes: Mapping[tuple[str, str], Sequence[Point]]


def draw(sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]]) -> Drawing:
    """Place boxes of the given sizes (width, height). `edges` are (from, to); the order of `sizes` breaks ties."""
    edges = [e for e in dict.fromkeys(edges) if e[0] != e[1] and e[0] in sizes and e[1] in sizes]
    # an edge that closes a cycle (rules may depend on each other) is reversed for the layout, then turned back
    closing = _closing(list(sizes), edges)
    given = set(edges)
    edges = list(dict.fromkeys((b, a) if (a, b) in closing else (a, b) for a, b in edges))
    layer_of = _layers(list(sizes), edges)
    layers: list[list[Spot]] = [[] for _ in range(max(layer_of.values(), default=-1) + 1)]
    for node in sizes:
        layers[layer_of[node]].append(node)
    # an edge over several layers passes through a narrow box in each of them
    chains: dict[tuple[str, str], list[Spot]] = {}
    width: dict[Spot, float] = {node: size[0] for node, size in sizes.items()}
    for a, b in edges:
        chain: list[Spot] = [a]
        for layer in range(layer_of[a] + 1, layer_of[b]):
            passing = (a, b, layer)
            width[passing] = 6.0
            layers[layer].append(passing)
            chain.append(passing)
        chains[a, b] = [*chain, b]
    up: dict[Spot, list[Spot]] = {node: [] for node in width}
    down: dict[Spot, list[Spot]] = {node: [] for node in width}
    for chain in chains.values():
        for a, b in itertools.pairwise(chain):
            down[a].append(b)
            up[b].append(a)
    layers = _order(layers, up, down)
    x = _positions(layers, up, down, width)
    left = min((x[n] - width[n] / 2 for n in x), default=0.0) - MARGIN
    heights = [max((sizes[n][1] for n in layer if n in sizes), default=0.0) for layer in layers]
    tops = [MARGIN + sum(heights[:i]) + RISE * i for i in range(len(layers))]
    boxes = {}
    for layer, top, height in zip(layers, tops, heights, strict=True):
        for node in layer:
            if node in sizes:
                w, h = sizes[node]
                boxes[node] = (x[node] - left - w / 2, top + (height - h) / 2, w, h)
    routes = {}
    for (a, b), chain in chains.items():
        points = [(x[a] - left, boxes[a][1] + boxes[a][3])]
        for passing in chain[1:-1]:
            top = tops[passing[2]]
            points += [(x[passing] - left, top), (x[passing] - left, top + heights[passing[2]])]
        routes[a, b] = [*points, (x[b] - left, boxes[b][1])]
    for a, b in closing:
        routes[a, b] = routes[b, a][::-1]
        if (b, a) not in given:
            del routes[b, a]
    right = max((x[n] + width[n] / 2 for n in x), default=0.0) - left + MARGIN
    return Drawing(right, (tops[-1] + heights[-1] if tops else 0.0) + MARGIN, boxes, routes)


def _closing(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The back edges of a depth-first search from the sources."""
    down: dict[str, list[str]] = {n: [] for n in nodes}
    fed = {b for _, b in edges}
    for a, b in edges:
        down[a].append(b)
    found: list[tuple[str, str]] = []
    state: dict[str, int] = {}

    def walk(node: str) -> None:
        state[node] = 1
        for child in down[node]:
            if state.get(child) == 1:
                found.append((node, child))
            elif child not in state:
                walk(child)
        state[node] = 2

    for node in [*(n for n in nodes if n not in fed), *nodes]:
        if node not in state:
            walk(node)
    return found


def _layers(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Node -> layer: the length of the longest path from a source. Sources move down to just above their first child."""
    up: dict[str, list[str]] = {n: [] for n in nodes}
    down: dict[str, list[str]] = {n: [] for n in nodes}
    for a, b in edges:
        up[b].append(a)
        down[a].append(b)
    layer: dict[str, int] = {}
    waiting = {n: len(up[n]) for n in nodes}
    ready = [n for n in nodes if not waiting[n]]
    while ready:
        node = ready.pop(0)
        layer[node] = max((layer[p] + 1 for p in up[node]), default=0)
        for child in down[node]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    for node in nodes:
        if not up[node] and down[node]:
            layer[node] = min(layer[c] for c in down[node]) - 1
    return layer


def _order(layers: list[list[Spot]], up: Links, down: Links) -> list[list[Spot]]:
    best, fewest = [list(layer) for layer in layers], _crossings(layers, down)
    layers = [list(layer) for layer in layers]
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for i in range(1, len(layers)) if forward else range(len(layers) - 2, -1, -1):
            place = {n: p for p, n in enumerate(layers[i - 1 if forward else i + 1])}
            neighbours = up if forward else down
            keys = {}
            for p, node in enumerate(layers[i]):
                near = [place[m] for m in neighbours[node]]
                keys[node] = (sum(near) / len(near) if near else p, p)
            layers[i].sort(key=keys.__getitem__)
        count = _crossings(layers, down)
        if count < fewest:
            best, fewest = [list(layer) for layer in layers], count
    return best


def _crossings(layers: Sequence[Sequence[Spot]], down: Links) -> int:
    total = 0
    for upper, lower in itertools.pairwise(layers):
        place = {n: p for p, n in enumerate(lower)}
        ends = [place[m] for n in upper for m in sorted(down[n], key=place.__getitem__)]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def _positions(
    layers: Sequence[Sequence[Spot]], up: Links, down: Links, width: Mapping[Spot, float]
) -> dict[Spot, float]:
    x: dict[Spot, float] = {}
    for layer in layers:
        at = 0.0
        for node in layer:
            x[node] = at + width[node] / 2
            at += width[node] + GAP
        for node in layer:
            x[node] -= (at - GAP) / 2
    for sweep in range(_RELAXATIONS):
        forward = sweep % 2 == 0
        for i in range(len(layers)) if forward else range(len(layers) - 1, -1, -1):
            wanted, weights = [], []
            for node in layers[i]:
                # both sides in the last sweeps, so that parents are centred over their children
                near = [*up[node], *down[node]] if sweep >= _RELAXATIONS // 4 else (up if forward else down)[node]
                # long edges stay straight
                pull = [_STIFF if isinstance(node, tuple) and isinstance(m, tuple) else 1.0 for m in near]
                weights.append(sum(pull) or 0.01)
                wanted.append(sum(p * x[m] for p, m in zip(pull, near, strict=True)) / sum(pull) if near else x[node])
            x.update(zip(layers[i], _spread(wanted, weights, [width[n] for n in layers[i]]), strict=True))
    return x


def _spread(wanted: Sequence[float], weights: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Centres nearest to `wanted` (weighted least squares) that keep order and gaps: pool adjacent violators."""
    offsets, at = [], 0.0
    for i, w in enumerate(widths):
        at += 0.0 if i == 0 else widths[i - 1] / 2 + GAP + w / 2
        offsets.append(at)
    blocks: list[list[float]] = []  # mean, weight, count
    for target, weight, offset in zip(wanted, weights, offsets, strict=True):
        blocks.append([target - offset, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, heavy, count = blocks.pop()
            last = blocks[-1]
            last[0] = (last[0] * last[1] + mean * heavy) / (last[1] + heavy)
            last[1] += heavy
            last[2] += count
    flat = [mean for mean, _, count in blocks for _ in range(int(count))]
    return [f + o for f, o in zip(flat, offsets, strict=True)]
