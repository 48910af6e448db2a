"""Pictures of the graph: models as SVG and as Mermaid text, and Snakemake's rule graph as SVG.

    python -m consomme.report.charts.dag --spec FILE --out DIR

No graphviz or other system package is needed.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from consomme.common.files import write_text
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.shown import one_line
from consomme.common.stage import main
from consomme.report.charts import layout
from consomme.results.columns import SCORES
from consomme.results.frames import read

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'DejaVu Sans', sans-serif"
# readable on white and on near-black
COLOURS = {"from": "#878d96", "train": "#4589d6", "average": "#e0762b", "prune": "#2f9e6b", "export": "#9a6ad0"}
_NARROW, _WIDE = set("iljtf.,:;|!'()[]/ 1"), set("mwMWGOQ@%—")
_STACK = 5.0


@dataclass(frozen=True)
class Node:
    """A box of the graph."""

    name: str
    # decides colour and shape
    verb: str = ""
    # small lines under the name
    lines: tuple[str, ...] = ()
    # number of runs that the box stands for
    runs: int = 1
    colour: str = ""


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]


def text_width(text: str, size: float) -> float:
    """The approximate width of the text in a sans-serif font, in pixels; rather too wide, because fonts differ."""
    ems = sum(0.40 if c in _NARROW else 0.92 if c in _WIDE else 0.68 if c.isupper() else 0.62 for c in text)
    return ems * size


def graph_of_models(
    models: Sequence[Mapping[str, Any]], values: Mapping[str, Mapping[str, float]] | None = None
) -> Graph:
    """The graph of a report's models: one box for all replicates, one stack for the runs of a node.

    values: model -> {test set: mean value}, shown under the name (for a stack, the range)."""
    box_of = {m["name"]: m["name"] if m.get("run") in (None, "", "best") else m["node"] for m in models}
    members: dict[str, dict[str, Mapping[str, Any]]] = {}
    for model in models:
        members.setdefault(box_of[model["name"]], {}).setdefault(model["name"], model)
    nodes, edges = [], []
    for box, runs in members.items():
        one = next(iter(runs.values()))
        verb = "from" if one["verb"] == "start" else one["verb"]
        parents = dict.fromkeys(box_of.get(p, p) for m in runs.values() for p in m.get("parents", []))
        edges += [(p, box) for p in parents if p in members and p != box]
        detail = "the best run" if box.endswith("/best") else one.get("detail") or ""
        count = len(runs) if one.get("run") not in (None, "", "best") else 1
        nodes.append(Node(box, verb, _lines(verb, detail, [(values or {}).get(name, {}) for name in runs]), count))
    return Graph(tuple(nodes), tuple(edges))


def graph_of_spec(spec: Mapping[str, Any]) -> Graph:
    """The graph of a spec's nodes {name, verb, runs, parents, detail}, with the scores of its table, if any."""
    table = _scores(spec.get("scores"), spec.get("metric"), spec.get("decoding"))
    names = {n["name"] for n in spec["nodes"]}
    nodes, edges = [], []
    for node in spec["nodes"]:
        name, verb = node["name"], "from" if node["verb"] == "start" else node["verb"]
        # a run is NODE/KEY=VALUE; NODE/best isn't one
        mine = [v for model, v in table.items() if model == name or (model.startswith(f"{name}/") and "=" in model)]
        nodes.append(Node(name, verb, _lines(verb, node.get("detail") or "", mine), int(node.get("runs") or 1)))
        edges += [(p, name) for p in node.get("parents", []) if p in names]
    return Graph(tuple(nodes), tuple(edges))


def _lines(verb: str, detail: str, values: Sequence[Mapping[str, float]]) -> tuple[str, ...]:
    lines = [f"{verb} · {detail}" if detail else verb]
    for name in dict.fromkeys(s for v in values for s in v):
        found = [v[name] for v in values if name in v]
        low, high = f"{min(found):.1f}", f"{max(found):.1f}"
        lines.append(f"{name} {low}" if low == high else f"{name} {low} – {high}")
    return tuple(lines)


def _scores(path: str | None, metric: str | None, decoding: str | None) -> dict[str, dict[str, float]]:
    """Model -> {test set: mean of one metric over replicates}; empty if there is no table yet."""
    if not path or not Path(path).exists():
        return {}
    table = read(path, SCORES)
    test = table[(table["split"] == "test") & (table["metric"] == (metric or table["metric"].iloc[0]))]
    test = test[test["decoding"] == decoding] if decoding else test
    found: dict[str, dict[str, float]] = {}
    for model, name, value in test.groupby(["model", "set"])["value"].mean().reset_index().itertuples(index=False):
        found.setdefault(model, {})[name] = value
    return found


# -- SVG -------------------------------------------------------------------------------------------------------------


def svg(graph: Graph) -> str:
    """The graph as an SVG document for light and dark pages."""
    sizes = {n.name: _size(n) for n in graph.nodes}
    drawing = layout.draw(sizes, graph.edges)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width:.0f} {drawing.height:.0f}" '
        f'width="{drawing.width:.0f}" height="{drawing.height:.0f}" role="img" class="cg">',
        "<title>graph</title>",
        "<style>.cg text{font-family:" + FONT + ";fill:#22252a;text-anchor:middle}.cg .s{fill:#6a7079}.cg .e{fill:none;"
        "stroke:#9aa0a8;stroke-width:1.3}.cg .h{fill:#9aa0a8}.cg .b{fill:#fdfcfa}"
        "@media(prefers-color-scheme:dark){.cg text{fill:#e6e4df}.cg .s{fill:#9aa0a8}.cg .e{stroke:#6a7079}"
        ".cg .h{fill:#6a7079}.cg .b{fill:#17191c}}</style>",
    ]
    for points in drawing.routes.values():
        parts.append(_curve(points))
    for node in graph.nodes:
        parts += _box(node, drawing.boxes[node.name])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _size(node: Node) -> tuple[float, float]:
    widest = max([text_width(node.name, 14) * 1.06, *(text_width(line, 11.5) for line in node.lines)])
    if node.runs > 1:
        widest = max(widest, text_width(node.name, 14) * 1.06 + 2 * text_width(f" ×{node.runs}", 12))
    extra = 2 * _STACK if node.runs > 1 else 0.0
    return max(72.0, widest + 34) + extra, 30.0 + 15.0 * len(node.lines) + extra


def _box(node: Node, box: tuple[float, float, float, float]) -> list[str]:
    left, top, width, height = box
    colour = node.colour or COLOURS.get(node.verb, "#878d96")
    parts = []
    if node.runs > 1:
        width, height = width - 2 * _STACK, height - 2 * _STACK
        for back in (2, 1):
            outline = _outline(node.verb, left + back * _STACK, top + (2 - back) * _STACK, width, height)
            parts.append(f'<path class="b" d="{outline}" stroke="{colour}" stroke-opacity=".55"/>')
        top += 2 * _STACK
    outline = _outline(node.verb, left, top, width, height)
    parts.append(f'<path class="b" d="{outline}"/>')
    parts.append(f'<path d="{outline}" fill="{colour}" fill-opacity=".13" stroke="{colour}" stroke-width="1.5"/>')
    middle = left + width / 2
    more = f'<tspan class="s" font-size="12" font-weight="400"> ×{node.runs}</tspan>' if node.runs > 1 else ""
    parts.append(
        f'<text x="{middle:.1f}" y="{top + 20:.1f}" font-size="14" font-weight="600">{escape(one_line(node.name))}{more}</text>'
    )
    for i, line in enumerate(node.lines):
        parts.append(
            f'<text x="{middle:.1f}" y="{top + 36 + 15 * i:.1f}" font-size="11.5" class="s">{escape(one_line(line))}</text>'
        )
    return parts


def _outline(verb: str, x: float, y: float, w: float, h: float) -> str:
    """The shape of a verb: a starting point is a hexagon, a training a box, an average rounded; a pruned model has cut
    corners, an export one folded corner."""
    r, b = x + w, y + h
    if verb == "from":
        c = 11
        return _polygon([(x + c, y), (r - c, y), (r, y + h / 2), (r - c, b), (x + c, b), (x, y + h / 2)])
    if verb == "prune":
        c = 9
        corners = [(x + c, y), (r - c, y), (r, y + c), (r, b - c), (r - c, b), (x + c, b), (x, b - c), (x, y + c)]
        return _polygon(corners)
    if verb == "export":
        c = 13
        return _polygon([(x, y), (r - c, y), (r, y + c), (r, b), (x, b)])
    k = min(h / 2, 22.0) if verb == "average" else 5.0
    return (
        f"M{x + k:.1f} {y:.1f}H{r - k:.1f}Q{r:.1f} {y:.1f} {r:.1f} {y + k:.1f}V{b - k:.1f}Q{r:.1f} {b:.1f} {r - k:.1f} "
        f"{b:.1f}H{x + k:.1f}Q{x:.1f} {b:.1f} {x:.1f} {b - k:.1f}V{y + k:.1f}Q{x:.1f} {y:.1f} {x + k:.1f} {y:.1f}Z"
    )


def _polygon(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"


def _curve(points: Sequence[tuple[float, float]]) -> str:
    (x, y), tip = points[0], points[-1]
    path = f"M{x:.1f} {y:.1f}"
    inner = [*points[1:-1], (tip[0], tip[1] - 7)]
    for next_x, next_y in inner:
        if abs(next_x - x) < 0.05:
            path += f"V{next_y:.1f}"
        else:
            middle = (y + next_y) / 2
            path += f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}"
        x, y = next_x, next_y
    head = f"M{tip[0]:.1f} {tip[1] - 1:.1f}l-4 -7.5h8Z"
    return f'<path class="e" d="{path}"/><path class="h" d="{head}"/>'


# -- other spellings -------------------------------------------------------------------------------------------------


def mermaid(graph: Graph) -> str:
    """The graph as Mermaid text."""
    shapes = {"from": '{{"%s"}}', "train": '["%s"]', "average": '(["%s"])', "prune": '[/"%s"\\]', "export": '[["%s"]]'}
    number = {n.name: f"n{i}" for i, n in enumerate(graph.nodes)}
    lines = ["flowchart TD"]
    for node in graph.nodes:
        label = node.name + (f" ×{node.runs}" if node.runs > 1 else "")
        texts = map(one_line, (label, *node.lines))
        text = "<br/>".join(t.replace('"', "#quot;").replace("<", "#lt;") for t in texts)
        shape = shapes.get(node.verb, '["%s"]') % text
        lines.append(f"    {number[node.name]}{shape}:::{node.verb or 'rule'}")
    lines += [f"    {number[a]} --> {number[b]}" for a, b in graph.edges]
    for verb in dict.fromkeys(n.verb for n in graph.nodes):
        lines.append(f"    classDef {verb or 'rule'} stroke:{COLOURS.get(verb, '#878d96')},fill:#8881")
    return "\n".join(lines) + "\n"


_DOT_NODE = re.compile(r'^\s*("[^"]*"|\w+)\s*\[(.*)\]\s*;?\s*$')
_DOT_EDGE = re.compile(r'^\s*("[^"]*"|\w+)\s*->\s*("[^"]*"|\w+)\s*(?:\[.*\])?\s*;?\s*$')
_DOT_LABEL = re.compile(r'label\s*=\s*"((?:[^"\\]|\\.)*)"')
_DOT_COLOUR = re.compile(r'color\s*=\s*"([\d.]+)[ ,]+([\d.]+)[ ,]+([\d.]+)"')


def graph_of_dot(text: str) -> Graph:
    """A graph from the output of `snakemake --rulegraph dot` or `--dag dot`, which has one node or edge per line."""
    nodes: dict[str, Node] = {}
    edges = []
    for line in text.splitlines():
        if edge := _DOT_EDGE.match(line):
            edges.append((edge[1].strip('"'), edge[2].strip('"')))
        elif (found := _DOT_NODE.match(line)) and found[1] not in ("graph", "node", "edge"):
            key = found[1].strip('"')
            label = _DOT_LABEL.search(found[2])
            first, *rest = (label[1] if label else key).replace('\\"', '"').split("\\n")
            colour = _DOT_COLOUR.search(found[2])
            rgb = colorsys.hsv_to_rgb(float(colour[1]), 0.55, 0.72) if colour else (0.53, 0.55, 0.59)
            nodes[key] = Node(key, "", (first, *rest), 1, "#" + "".join(f"{round(255 * c):02x}" for c in rgb))
    for key in dict.fromkeys(k for e in edges for k in e):
        nodes.setdefault(key, Node(key, "", (key,)))
    # boxes are identified by their names; two jobs of one rule must remain two boxes
    labels: dict[str, int] = {}
    shown: dict[str, Node] = {}
    for key, node in nodes.items():
        name = node.lines[0]
        labels[name] = labels.get(name, 0) + 1
        unique = name + "\u200b" * (labels[name] - 1)  # zero-width spaces make the names different
        shown[key] = Node(unique, node.verb, node.lines[1:], 1, node.colour)
    return Graph(tuple(shown.values()), tuple((shown[a].name, shown[b].name) for a, b in edges))


def svg_from_dot(dot_text: str) -> str:
    """Snakemake's rule graph as an SVG document."""
    return svg(graph_of_dot(dot_text))


def run(job: Job) -> None:
    """Write models.svg and models.mmd into `job.out`."""
    graph = graph_of_spec(job.spec)
    for name, text in (("models.svg", svg(graph)), ("models.mmd", mermaid(graph))):
        write_text(job.out / name, text)
        say(f"wrote {job.out / name}")


if __name__ == "__main__":
    main(run, "Draw the graph of models.")
