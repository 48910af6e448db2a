"""A small results tree made on the spot: prepared corpora, hypotheses, evaluations, and the report's spec."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from pathlib import Path

import pyarrow as pa
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
DECODING = "0123abcd"
WORDS = [
    "the",
    "patient",
    "received",
    "daily",
    "dose",
    "of",
    "trial",
    "drug",
    "and",
    "blood",
    "pressure",
    "fell",
    "without",
    "any",
    "sign",
    "pain",
    "in",
    "group",
    "after",
    "weeks",
    "we",
    "went",
    "to",
    "house",
    "by",
    "sea",
    "last",
    "summer",
    "she",
    "gave",
    "him",
    "book",
    "about",
    "old",
    "town",
    "near",
    "river",
]


def prepare(folder: Path, name: str, rows: list[dict], task: str = "nmt") -> None:
    """A prepared corpus in the contract's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "id": pa.array([r["id"] for r in rows]),
        "speaker": pa.array([r.get("speaker") for r in rows], pa.string()),
        "document": pa.array([r.get("document") for r in rows], pa.string()),
        "recordings": pa.array([r.get("recordings", []) for r in rows], pa.list_(pa.string())),
        "source": pa.array([r["source"] for r in rows]),
        "target": pa.array([r["target"] for r in rows]),
    }
    table = pa.table(columns)
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    facts = {"task": task, "name": name, "fingerprint": f"fp-{name}", "rows": len(rows), "seconds": 0.0}
    facts |= {"read": len(rows), "skipped": {}, "version": 1}
    (folder / "prepared.json").write_text(json.dumps(facts))
    (folder / "skipped.tsv").write_text("id\treason\tdetail\n")


def sentences(name: str, count: int, seed: int, documents: int | None = None) -> list[dict]:
    """Rows with random sentences; several rows a document if asked for."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        words = rng.choices(WORDS, k=rng.randint(5, 14))
        row = {"id": f"{name}-{i}", "source": " ".join(reversed(words)), "target": " ".join(words)}
        if documents:
            row["document"] = f"{name}-doc{i % documents}"
        rows.append(row)
    return rows


def corrupt(text: str, share: float, rng: random.Random) -> str:
    """The text with about that share of its words replaced by others."""
    return " ".join(rng.choice(WORDS) if rng.random() < share else w for w in text.split())


# share of wrong words by set: general, medical
QUALITY = {
    "base": (0.20, 0.40),
    "tuned/learning_rate=1e-05": (0.28, 0.27),
    "tuned/learning_rate=3e-05": (0.34, 0.24),
    "tuned/learning_rate=0.0001": (0.42, 0.26),
    "soup": (0.30, 0.22),
    "balanced": (0.23, 0.25),
    "half": (0.38, 0.45),
    "healed": (0.27, 0.28),
}
PARENTS = {
    "soup": [n for n in QUALITY if n.startswith("tuned/")],
    "balanced": ["base", "soup"],
    "half": ["balanced"],
    "healed": ["half"],
    "tuned/best": [n for n in QUALITY if n.startswith("tuned/")],
}
VERBS = {"base": "start", "soup": "average", "balanced": "average", "half": "prune", "healed": "train"}


def build(root: Path, replicates: tuple[int, ...] = (1, 2, 3), count: int = 120, claims: list | None = None) -> dict:
    """Lay the tree under `root` (paths in the spec are relative to it) and return the report's spec."""
    corpora = {}
    rows = {}
    for number, name in enumerate(["medical-train", "general-dev", "medical-dev", "general-test", "medical-test"]):
        rows[name] = sentences(name, count, number, documents=count // 2 if name == "medical-test" else None)
        corpora[name] = f"results/data/{name}"
    rows["medical-train"][0] |= {k: rows["medical-test"][3][k] for k in ("source", "target")}
    for name, content in rows.items():
        prepare(root / corpora[name], name, content)
    sets = {split: {s: [f"{s}-{split}"] for s in ("general", "medical")} for split in ("dev", "test")}
    models = []
    for replicate in replicates:
        for name in [*QUALITY, "tuned/best"]:
            models.append(_model(root, name, replicate, rows))
    spec = {
        "stage": "report",
        "version": 1,
        "digest": "feedbeef",
        "experiment": "medical-translator",
        "task": "nmt",
        "metric": "bleu",
        "metrics": ["bleu", "chrf"],
        "normaliser": "verbatim",
        "decoding_digest": DECODING,
        "replicates": list(replicates),
        "sets": {str(r): sets for r in replicates},
        "train": {str(r): {"tuned": ["medical-train"], "healed": ["medical-train"]} for r in replicates},
        "models": models,
        "claims": claims
        if claims is not None
        else [
            {"model": "soup", "hypothesis": "beats", "against": "tuned/best", "on": "medical", "metric": "bleu"},
            {"model": "balanced", "hypothesis": "beats", "against": "base", "on": "medical", "metric": "bleu"},
            {"model": "balanced", "hypothesis": "keeps", "against": "base", "on": "general", "margin": 12.0},
            {"model": "healed", "hypothesis": "keeps", "against": "balanced", "on": "medical", "margin": 1.0},
        ],
        "corpora": corpora,
        "costs": "results/medical-translator/costs.tsv",
    }
    out = root / "results/medical-translator"
    (root / "spec.json").write_text(json.dumps(spec))
    sizes = {"half": (51_000_000, 51.0), "healed": (51_000_000, 50.5)}
    lines = ["model replicate parameters bytes flops speed speed_unit memory device".replace(" ", "\t")]
    for model in models:
        size, speed = sizes.get(model["name"], (74_000_000, 32.0))
        cells = [model["name"], model["replicate"], size, size * 4, size * 2, speed, "tokens/s", 900, "cpu"]
        lines.append("\t".join(map(str, cells)))
    (out / "costs.tsv").write_text("\n".join(lines) + "\n")
    return spec


def _model(root: Path, name: str, replicate: int, rows: dict) -> dict:
    answers = "tuned/learning_rate=3e-05" if name == "tuned/best" else name
    node, _, run = name.partition("/")
    out = root / "results/medical-translator"
    digest = f"{hash_name(f'{name}{replicate}'):012x}"
    folder = out / "models" / f"{node}-{digest}"
    folder.mkdir(parents=True)
    settings = {"learning_rate": 3e-5, "max_steps": 400} if node == "tuned" else {"method": "uniform"}
    more = {"verb": VERBS.get(node, "train"), "settings": settings, "packages": {"torch": "2.11"}}
    if name == "balanced":
        curve = [
            {"alpha": a / 4, "set": s, "metric": "bleu", "value": low + (high - low) * (a / 4) + a * (4 - a)}
            for a in range(5)
            for s, low, high in (("general", 58.0, 44.0), ("medical", 28.0, 54.0))
        ]
        more["chosen"] = {"alpha": 0.5, "curve": curve}
    (folder / "provenance.json").write_text(json.dumps(more))
    place = out / "hypotheses" / f"{node}-{digest}"
    entries = []
    for split in ("dev", "test"):
        for column, name_of_set in enumerate(("general", "medical")):
            corpus = f"{name_of_set}-{split}"
            rng = random.Random(hash_name(f"{answers}{replicate}{corpus}"))
            path = place / split / f"{name_of_set}@{DECODING}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "w") as stream:
                for row in rows[corpus]:
                    said = corrupt(row["target"], QUALITY[answers][column], rng)
                    stream.write(json.dumps({"id": row["id"], "reference": row["target"], "hypothesis": said}) + "\n")
            entries.append(
                {"split": split, "set": name_of_set, "decoding": DECODING, "path": str(path.relative_to(root))}
                | {"n": len(rows[corpus]), "corpora": [corpus], "fingerprint": f"fp-{corpus}"}
            )
    (place / "index.json").write_text(json.dumps({"weights": digest, "sets": entries}))
    swept = {"learning_rate": run.partition("=")[2]} if "=" in run else {}
    return {
        "name": name,
        "node": node,
        "run": run or None,
        "verb": "average" if name == "tuned/best" else VERBS.get(node, "train"),
        "replicate": replicate,
        "digest": digest,
        "folder": str(folder.relative_to(root)),
        "evaluation": str((place / "index.json").relative_to(root)),
        "parents": PARENTS.get(name, ["base"] if name != "base" else []),
        "swept": swept,
    }


def hash_name(text: str) -> int:
    """A number that is the same in every process."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)


def data_of(page: str, name: str):
    """What a block of JSON on the page holds."""
    return json.loads(re.search(rf'<script type="application/json" id="data-{name}">(.*?)</script>', page)[1])


@pytest.fixture(scope="session")
def builder():
    """`build` itself."""
    return build


@pytest.fixture(scope="session")
def corpus():
    """`prepare` itself."""
    return prepare


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A built tree, with the working directory in it; returns its spec."""
    monkeypatch.chdir(tmp_path)
    return build(tmp_path)


@pytest.fixture
def build_tree(tmp_path, monkeypatch):
    """`build` for other shapes, in a temporary working directory."""
    monkeypatch.chdir(tmp_path)
    return lambda **options: build(tmp_path, **options)
