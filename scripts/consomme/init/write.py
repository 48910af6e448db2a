"""From the command's options to a file that plans."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from consomme.common.errors import ConsommeError
from consomme.common.files import write_text
from consomme.init.data import look
from consomme.init.settings import Corpora, Settings, base_named, choose, scratch
from consomme.init.text import configuration
from consomme.plan.plan import Plan

NEEDED = {
    "dev": "the development set chooses among runs. On rows of the training data it would choose the most overfitted run",
    "test": "the test set decides the claims. On rows that trained or chose a model, results are too good",
}


@dataclass(frozen=True)
class Asked:
    """The options of `consomme init`."""

    task: str
    languages: Sequence[str]
    goal: str
    train: Path
    dev: Path | None = None
    test: Path | None = None
    general_dev: Path | None = None
    general_test: Path | None = None
    base: str | None = None


def init(asked: Asked, out: Path, force: bool = False) -> tuple[Settings, Plan]:
    """Write a configuration for the data to `out`, if it can be planned. ConsommeError for missing options, for an
    existing file (unless `force`), and for data that can't be used."""
    if out.exists() and not force:
        raise ConsommeError(f"{out}: the file exists already; --force replaces it, --out names another")
    _check(asked)
    settings = _settings(asked)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", out.stem).strip("-") or "mine"
    text = configuration(name, settings)
    plan = Plan(yaml.safe_load(text))
    if problems := plan.problems():
        raise ConsommeError("\n".join(problems))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    return settings, plan


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check(asked: Asked) -> None:
    wanted = 2 if asked.task == "nmt" else 1
    if len(asked.languages) != wanted:
        example = "--language en --language fr, source and target" if wanted == 2 else "--language sv"
        raise ConsommeError(f"--language: {asked.task} needs {example}; given: {' '.join(asked.languages) or 'none'}")
    for name, why in NEEDED.items():
        if getattr(asked, name) is None:
            raise ConsommeError(
                f"--{name} is needed: {why}. Split what you have by speaker, document or date, not row by row, because rows "
                f"of one speaker or document are similar; a few hundred rows each for dev and test, a tenth at most"
            )
    given = {name: getattr(asked, name) for name in ("train", "dev", "test", "general_dev", "general_test")}
    seen: dict[Path, str] = {}
    for name, path in given.items():
        if path is not None and (other := seen.setdefault(path.resolve(), name)) != name:
            raise ConsommeError(
                f"{_option(other)} and {_option(name)} are both {path}; each is data of its own. Where one table has a column that says "
                "which row is what, write a table for each, or use `where` in a configuration"
            )
    general = [name for name in ("general_dev", "general_test") if given[name] is None]
    if asked.goal == "balanced" and asked.base is None:
        raise ConsommeError("--goal balanced keeps what a base can do already, so --base is needed")
    if asked.goal == "balanced" and general:
        raise ConsommeError(
            f"{_option(general[0])} is needed for --goal balanced: data on which the base is good and should stay "
            "good, such as everyday sentences or read speech of other speakers"
        )
    if asked.goal != "balanced" and len(general) < 2:
        raise ConsommeError(f"--general-dev and --general-test belong to --goal balanced; the goal is {asked.goal}")


def _settings(asked: Asked) -> Settings:
    base = base_named(asked.base, asked.task) if asked.base else None
    if base and asked.goal == "balanced" and not base.scored:
        raise ConsommeError(
            f"--base {asked.base}: it has no output layer yet, so it has no quality that --goal balanced could keep. (For a "
            "name on the hub, its config.json is read if it is on this machine: `hf download NAME config.json`)"
        )
    paths = {name: path for name, path in vars(asked).items() if isinstance(path, Path)}
    seen = {n: look(path, asked.task, asked.languages, _option(n)) for n, path in paths.items()}
    corpora = Corpora(**seen)
    return choose(asked.task, list(asked.languages), asked.goal, base or scratch(asked.task, corpora.train), corpora)
