"""The prepared corpora of a configuration."""

from __future__ import annotations

from collections.abc import Iterable

from consomme.data.sources.base import named_languages
from consomme.data.text import nfc
from consomme.plan import experiments
from consomme.plan.items import Prepared
from consomme.plan.load import Settings
from consomme.plan.problems import among, fail
from consomme.plan.schema import Corpus, Relabelled

KNOWN = ("speaker", "document", "language")  # every prepared corpus has them
# keys that came after the first digests, with their defaults
LATER = {"missing": None, "streaming": False, "language": None, "languages": None, "keep_audio": "samples"}


class Corpora:
    """The prepared corpora of a configuration, each planned once for all experiments."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.data_root = settings.data_root
        self._made: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], Prepared] = {}
        self._labelled: dict[str, Prepared] = {}

    def settings_of(self, name: str, path: str) -> Corpus | Relabelled:
        """The settings of the corpus of that name."""
        among(path, name, self._settings.corpora, "corpus")
        return self._settings.corpora[name]

    def get(
        self,
        name: str,
        task: str,
        languages: tuple[str, ...],
        path: str,
        chain: tuple[str, ...] = (),
        by: Iterable[str] = (),
    ) -> Prepared:
        """The prepared corpus of that name for a task. by: columns whose values it keeps for the report. ConfigurationError if
        a model makes it."""
        corpus = self.settings_of(name, path)
        if isinstance(corpus, Relabelled):
            fail(path, f"'{name}' is made by a model; such a corpus is for training (data.train) alone")
        if name in chain:
            fail(path, f"a cycle of `without`: {' → '.join([*chain, name])}")
        own = tuple(named_languages(corpus.model_dump(), task))
        columns = tuple(sorted({*map(nfc, by)} - {*KNOWN}))
        key = (name, task, own or languages, columns)
        if key not in self._made:
            experiments.check_corpus(corpus, task, languages, f"corpora.{name}")
            without = tuple(
                self.get(other, task, languages, f"corpora.{name}.without", (*chain, name)) for other in corpus.without
            )
            settings = corpus.model_dump(by_alias=True)
            # a corpus without these keys keeps the digest that it had before they existed
            settings = {key: value for key, value in settings.items() if key not in LATER or value != LATER[key]}
            parts = settings.pop("parts") or 1
            if columns:
                settings["by"] = list(columns)
            self._made[key] = Prepared(
                name, settings, task, own or languages, self._settings.data_root, without, parts=parts
            )
        return self._made[key]

    def add(self, corpus: Prepared) -> Prepared:
        """Register a corpus that a model makes. Returns the first one with the same digest."""
        return self._labelled.setdefault(corpus.id, corpus)

    def all(self) -> list[Prepared]:
        """Every corpus in use, those that models make last."""
        return [*self._made.values(), *self._labelled.values()]
