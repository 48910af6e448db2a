"""An experiment as the register sees it: a report's spec, prepared corpora and indices of hypotheses, without any model."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from consomme.common.digest import digest
from consomme.register import chain
from consomme.register.entry import declare
from consomme.register.standing import Standing, standing

DECODING = "0123abcd"
A = {"model": "soup", "hypothesis": "beats", "against": "base", "on": "t", "metric": "wer", "margin": 0.0}
B = {"model": "half", "hypothesis": "keeps", "against": "soup", "on": "t", "metric": "wer", "margin": 3.0}
C = {"model": "half", "hypothesis": "beats", "against": "base", "on": "t", "metric": "wer", "margin": 0.0}


@dataclass
class Place:
    """The working directory, and what is done in it."""

    experiment: str = "e"
    claims: list[dict[str, Any]] = field(default_factory=lambda: [A, B])
    # model -> what its digest is made of
    models: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(("base", "soup", "half"), 1))
    tests: dict[str, str] = field(default_factory=lambda: {"t": "t-corpus", "u": "u-corpus"})
    sealed: list[str] = field(default_factory=list)
    opened: dict[str, list[str]] = field(default_factory=dict)
    normaliser: str = "basic"

    @property
    def folder(self) -> Path:
        return Path("results") / self.experiment

    @property
    def register(self) -> Path:
        return self.folder / chain.NAME

    def id(self, model: str) -> str:
        return f"{model}-{digest([model, self.models[model]])}"

    @property
    def spec(self) -> dict[str, Any]:
        closed = [t for t in self.sealed if t not in self.opened]
        return {
            "experiment": self.experiment,
            "normaliser": self.normaliser,
            "decoding_digest": DECODING,
            "replicates": [""],
            "models": [
                {"name": m, "replicate": "", "digest": self.id(m).partition("-")[2], "evaluation": "there"}
                | {"folder": f"{self.folder}/models/{self.id(m)}"}
                for m in self.models
            ],
            "sets": {"": {"test": {t: [c] for t, c in self.tests.items() if t not in closed}}},
            "claims": [c for c in self.claims if c["on"] not in closed],
            "register": {
                "path": str(self.register),
                "tests": {t: [[[c, f"results/prepared/{c}"]]] for t, c in self.tests.items()},
                "sealed": self.sealed,
                "claims": [c for c in self.claims if c["on"] in closed],
                "opened": self.opened,
            },
        }

    def prepare(self, content: str = "") -> None:
        """The test sets, with rows of this content."""
        for corpus in self.tests.values():
            folder = Path("results/prepared") / corpus
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "prepared.json").write_text(json.dumps({"fingerprint": f"rows of {corpus}{content}"}))

    def score(self, *models: str, content: str = "") -> None:
        """What jobs do: prepare the test sets, and decode them with models."""
        self.prepare(content)
        for model in models:
            folder = self.folder / "hypotheses" / self.id(model)
            entries = []
            for test, corpus in self.tests.items():
                if test in self.sealed and self.id(model) not in self.opened.get(test, ()):
                    continue
                path = folder / "test" / f"{test}@{DECODING}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"what {model} says of {corpus}{content}")
                entry = {"split": "test", "set": test, "decoding": DECODING, "path": str(path)}
                entry |= {"fingerprint": f"rows of {corpus}{content}"}
                if mark := chain.read(self.register).head:
                    entry["register"] = mark
                entries.append(entry)
            index = folder / f"{digest([e['set'] for e in entries])}.json"
            index.write_text(json.dumps({"sets": entries}))

    def start(self, **more: Any) -> None:
        """The start of a workflow, or its end."""
        declare(self.spec, Path(), **more)

    def run(self, *models: str, content: str = "") -> None:
        """A whole run: the line before, scores of these models or of all, the line behind."""
        self.start()
        self.score(*(models or self.models), content=content)
        self.start()

    def standing(self) -> Standing:
        return standing(self.spec)

    def kinds(self) -> list[str]:
        return [found.kind for found in self.standing().claims]

    def withdrawn(self) -> list[dict[str, Any]]:
        return [dict(claim) for claim, _ in self.standing().withdrawn]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.register.read_text().splitlines()]

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Lines as they are given."""
        self.register.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def chain(self, lines: list[dict[str, Any]]) -> None:
        """Lines chained anew, as one does who knows how."""
        os.remove(self.register)
        for line in lines:
            chain.append(self.register, {k: v for k, v in line.items() if k not in ("before", "hash")})


@pytest.fixture
def place(tmp_path, monkeypatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place()
