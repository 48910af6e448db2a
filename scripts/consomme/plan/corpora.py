"""The prepared corpora of a configuration."""

from __future__ import annotations

from consomme.plan import capabilities
from consomme.plan.items import Prepared
from consomme.plan.load import Settings
from consomme.plan.problems import among, fail


class Corpora:
    """The prepared corpora of a configuration, each made once however many experiments ask for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.data_root = settings.data_root
        self._made: dict[tuple[str, str, tuple[str, ...]], Prepared] = {}

    def get(self, name: str, task: str, languages: tuple[str, ...], path: str, chain: tuple[str, ...] = ()) -> Prepared:
        """The prepared corpus of that name for a task."""
        among(path, name, self._settings.corpora, "corpus")
        if name in chain:
            fail(path, f"a cycle of `without`: {' → '.join([*chain, name])}")
        key = (name, task, languages)
        if key not in self._made:
            corpus = self._settings.corpora[name]
            capabilities.corpus(corpus, task, f"corpora.{name}")
            without = tuple(
                self.get(other, task, languages, f"corpora.{name}.without", (*chain, name)) for other in corpus.without
            )
            self._made[key] = Prepared(
                name, corpus.model_dump(by_alias=True), task, languages, self._settings.data_root, without
            )
        return self._made[key]

    def all(self) -> list[Prepared]:
        """Every corpus that was asked for."""
        return list(self._made.values())
