"""Pictures of the graph: well formed, no box over another, arrows downwards."""

import itertools
import random
import xml.etree.ElementTree as ET

import pytest

from consomme.report.charts import dag, layout

NODES = [
    {"name": "base", "verb": "start", "runs": 1, "parents": [], "detail": 'a <name> & "more"'},
    {"name": "tuned", "verb": "train", "runs": 6, "parents": ["base"]},
    {"name": "soup", "verb": "average", "runs": 1, "parents": ["tuned"], "detail": "greedy"},
    {"name": "balanced", "verb": "average", "runs": 1, "parents": ["base", "soup"]},
    {"name": "half", "verb": "prune", "runs": 1, "parents": ["balanced"]},
    {"name": "small", "verb": "export", "runs": 1, "parents": ["half"]},
]
DOT = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    node[shape=box, style=rounded, fontname=sans];
\t0[label = "all", color = "0.45 0.6 0.85", style="rounded"];
\t1[label = "train\\nnode: tuned", color = "0.14 0.6 0.85", style="rounded,dashed"];
\t2[label = "train\\nnode: soup", color = "0.14 0.6 0.85", style="rounded"];
\t1 -> 0
\t2 -> 0
}
"""


def apart(drawing):
    boxes = list(drawing.boxes.values())
    for (x1, y1, w1, h1), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1
    for x, y, w, h in boxes:
        assert x >= 0 and y >= 0 and x + w <= drawing.width and y + h <= drawing.height


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(seed):
    rng = random.Random(seed)
    count = rng.randint(1, 25)
    sizes = {f"n{i}": (rng.uniform(50, 220), rng.uniform(25, 80)) for i in range(count)}
    edges = [(f"n{a}", f"n{b}") for a, b in itertools.combinations(range(count), 2) if rng.random() < 0.12]
    drawing = layout.draw(sizes, edges)
    apart(drawing)
    assert set(drawing.routes) == set(edges)
    for (a, b), points in drawing.routes.items():
        heights = [y for _, y in points]
        assert heights == sorted(heights)
        assert points[0][1] == pytest.approx(drawing.boxes[a][1] + drawing.boxes[a][3])
        assert points[-1][1] == pytest.approx(drawing.boxes[b][1])
        for (x, y), (next_x, next_y) in itertools.pairwise(points):
            for name, (left, top, width, height) in drawing.boxes.items():
                if x == next_x and name not in (a, b):  # a straight part goes through no box
                    assert not (left < x < left + width and y < top + height and next_y > top)


def test_a_cycle_is_drawn_with_one_edge_going_up():
    """Rules may feed each other: train, average, train."""
    edges = [("s", "a"), ("a", "b"), ("b", "c"), ("c", "a")]
    drawing = layout.draw(dict.fromkeys("sabc", (50, 20)), edges)
    up = [edge for edge, points in drawing.routes.items() if points[0][1] > points[-1][1]]
    assert set(drawing.routes) == set(edges) and up == [("c", "a")]


def test_a_chain_is_straight():
    drawing = layout.draw(dict.fromkeys("abc", (50, 20)), [("a", "b"), ("b", "c")])
    assert len({round(left, 3) for left, *_ in drawing.boxes.values()}) == 1


def test_models_as_svg(tmp_path):
    text = dag.svg(dag.graph_of_spec({"nodes": NODES}))
    shown = " ".join(t for e in ET.fromstring(text).iter() for t in (e.text or "",) if t)
    assert "×6" in shown and 'from · a <name> & "more"' in shown and "average · greedy" in shown
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert text == dag.svg(dag.graph_of_spec({"nodes": NODES}))


def test_scores_stand_in_the_boxes(tmp_path):
    table = tmp_path / "scores.tsv"
    rows = [("soup", 1, "test", 40.0), ("soup", 2, "test", 42.0), ("soup", 1, "dev", 90.0)]
    rows += [(f"tuned/learning_rate={i}", 1, "test", 30.0 + i) for i in range(3)] + [("tuned/best", 1, "test", 99.0)]
    lines = ["model\treplicate\tsplit\tset\tmetric\tvalue"]
    lines += [f"{m}\t{r}\t{s}\tmedical\tbleu\t{v}" for m, r, s, v in rows]
    table.write_text("\n".join(lines) + "\n")
    graph = dag.graph_of_spec({"nodes": NODES, "scores": str(table), "metric": "bleu"})
    lines_of = {n.name: n.lines for n in graph.nodes}
    assert "medical 41.0" in lines_of["soup"]
    assert "medical 30.0 – 32.0" in lines_of["tuned"]


def test_mermaid():
    text = dag.mermaid(dag.graph_of_spec({"nodes": NODES}))
    assert text.startswith("flowchart TD\n") and "n0 --> n1" in text and "#lt;name>" in text


def test_rule_graph():
    root = ET.fromstring(dag.svg_from_dot(DOT))
    texts = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert [t.rstrip("\u200b") for t in texts if t].count("train") == 2
    assert "node: soup" in texts
    graph = dag.graph_of_dot(DOT)
    assert len(graph.nodes) == 3 and len(graph.edges) == 2
    ET.fromstring(dag.svg_from_dot("digraph { }"))
