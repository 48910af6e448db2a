"""Corpora made from a grammar: nothing to fetch, and the same everywhere."""

from __future__ import annotations

import hashlib
import importlib.metadata
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from consomme.common.errors import ConsommeError, nearest
from consomme.common.settings import Section
from consomme.common.values import Integer, Text
from consomme.data.sources.base import CACHE, Raw, Source

VERSION = 1
GENERATORS = {
    "spoken-numbers": {"task": "asr", "domains": ("clean", "shifted"), "packages": ("espeakng-loader",)},
    "dosage": {"task": "nmt", "domains": ("general", "medical"), "packages": ("babel", "num2words")},
}
PARTS = 10  # of ten sentences one is for development, one for testing, eight for training


class Settings(Section):
    """Made on the spot, row by row from the seed."""

    generator: Literal["spoken-numbers", "dosage"] = Field(description="spoken-numbers: asr; dosage: nmt, en and fr")
    domain: Text = Field(description="spoken-numbers: clean or shifted; dosage: general or medical")
    split: Text = Field("train", description="a name; sentences differ between train, dev and test")
    size: Integer = Field(ge=1, le=10**7, description="rows")
    seed: Integer = Field(1, description="other rows")


class Generated(Source):
    """{"generator": "spoken-numbers" | "dosage", "domain", "size", "seed", "split"}.

    Row i depends on seed, split, domain and i alone. Splits share no sentence: a hash of its words says whether a
    sentence is for a split with "test" in its name, with "dev" in its name, or for any other."""

    name = "generated"
    settings = Settings
    indifferent = ("size",)

    def unfit(self, corpus: Mapping[str, Any], task: str) -> tuple[str, str] | None:
        generator, domain = corpus["generator"], corpus["domain"]
        made = GENERATORS[generator]
        if made["task"] != task:
            return "generator", f"'{generator}' makes {made['task']} data, and the experiment's task is {task}"
        if domain not in made["domains"]:
            near = nearest(domain, made["domains"])
            return "domain", f"there is no domain '{domain}'{near}; allowed: {', '.join(made['domains'])}"
        return None

    def indivisible(self, corpus: Mapping[str, Any], task: str) -> str:
        if task == "asr":
            return ""  # what is spoken when a row is checked takes nearly all of the time
        return "texts are made as they are counted, and each job counts them all: several would save nothing"

    def content(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path, cache: Path = CACHE) -> Any:
        # other versions of these speak and spell otherwise
        return [VERSION, {p: importlib.metadata.version(p) for p in GENERATORS[corpus["generator"]]["packages"]}]

    def check(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        generator, domain = corpus["generator"], corpus["domain"]
        if generator not in GENERATORS:
            return [
                f"generator '{generator}' is unknown{nearest(generator, GENERATORS)}; there are {', '.join(GENERATORS)}"
            ]
        made = GENERATORS[generator]
        problems = []
        if domain not in made["domains"]:
            problems.append(
                f"generator '{generator}' has no domain '{domain}'{nearest(domain, made['domains'])}; it has "
                f"{', '.join(made['domains'])}"
            )
        wanted = ["en", "fr"]
        if made["task"] == "nmt" and sorted(languages) != wanted:
            problems.append(f"generator '{generator}' has the languages en and fr, not {', '.join(languages)}")
        return problems

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        problems = self.check(corpus, languages, data_root)
        made = GENERATORS.get(corpus["generator"], {})
        if made and made["task"] != task:
            problems.append(f"generator '{corpus['generator']}' is for {made['task']}, not {task}")
        if problems:
            raise ConsommeError("; ".join(problems))
        split, domain = str(corpus.get("split") or "train"), corpus["domain"]
        rows = _speech if task == "asr" else _pairs
        for i in range(int(corpus["size"])):
            rng = random.Random(f"{corpus.get('seed', 0)}/{split}/{domain}/{i}")
            yield rows(f"{split}-{i:06d}", split, domain, languages, rng)


def part_of(text: str) -> str:
    """Whether a sentence is for "train", "dev" or "test"."""
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % PARTS
    return {0: "test", 1: "dev"}.get(number, "train")


def _draw(make: Callable[[random.Random], Any], text: Callable[[Any], str], split: str, rng: random.Random) -> Any:
    wanted = next((part for part in ("test", "dev") if part in split.casefold()), "train")
    while part_of(text(made := make(rng))) != wanted:
        pass
    return made


def _speech(name: str, split: str, domain: str, languages: Sequence[str], rng: random.Random) -> Raw:
    from consomme.data.generate.spoken_numbers import sentence, utterance

    text = _draw(sentence, str, split, rng)
    spoken = utterance(text, domain, rng)
    fields = {"speaker": spoken.voice, "domain": domain}
    return Raw(name, target=text, audio=spoken, speaker=spoken.voice, fields=fields)


def _pairs(name: str, split: str, domain: str, languages: Sequence[str], rng: random.Random) -> Raw:
    from consomme.data.generate.dosage import pair

    english, french = _draw(lambda r: pair(domain, r), lambda p: p[0], split, rng)
    sides = {"en": english, "fr": french}
    return Raw(name, source=sides[languages[0]], target=sides[languages[1]], fields={"domain": domain})
