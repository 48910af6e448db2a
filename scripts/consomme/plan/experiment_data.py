"""The corpora of an experiment in one replicate: for training, for choosing, for reporting."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from consomme.plan import leaks
from consomme.plan.corpora import Corpora
from consomme.plan.items import Prepared
from consomme.plan.problems import among, fail
from consomme.plan.schema import Data, Experiment, Relabelled

VARIABLE = re.compile(r"\{([^{}]*)\}")
Sets = dict[str, dict[str, Prepared]]  # set -> corpus name -> corpus


class ExperimentData:
    """The corpora of an experiment in one replicate. The replicate's variables are filled into their names.

    make: (name, settings, path in the configuration) -> a corpus made by a model of the experiment's graph."""

    def __init__(
        self,
        experiment: Experiment,
        replicate: int,
        path: str,
        corpora: Corpora,
        make: Callable[[str, Relabelled, str], Prepared],
    ) -> None:
        self._experiment, self._replicate, self._path = experiment, replicate, path
        self._corpora, self._make = corpora, make
        self._languages = tuple(experiment.languages or ())
        repeat = experiment.repeat
        self._variables: dict[str, str] = dict(repeat[replicate]) if isinstance(repeat, Mapping) else {}
        self._made: dict[str, Prepared] = {}
        self._sound: set[Prepared] = set()  # corpora that no test set shares rows with, as far as that is known
        self.test = self._sets(experiment.data, "test", path)
        # the corpora of the test sets: corpus -> set
        self.reported = {c.name: t for t, s in self.test.items() for c in s.values()}
        for name in experiment.units if isinstance(experiment.units, dict) else ():
            among(f"{path}.units", name, self.test, "test set")
        self.sealed = list(experiment.sealed or ())
        for name in self.sealed:
            among(f"{path}.sealed", name, self.test, "test set")
        self.dev = self.development(experiment.data, path)

    @property
    def written(self) -> list[str]:
        """The languages of the development and test sets' references, as far as they are known."""
        corpora = [c for sets in (self.test, self.dev) for found in sets.values() for c in found.values()]
        spoken = [c.spoken for c in corpora if c.spoken] or [self._languages] * bool(self._languages)
        return list(dict.fromkeys(languages[-1] for languages in spoken))

    @property
    def open(self) -> Sets:
        """The test sets that aren't sealed."""
        return {name: corpora for name, corpora in self.test.items() if name not in self.sealed}

    def of(self, override: Data | None) -> Data:
        """The experiment's data, overridden by a node's own."""
        given = {k: getattr(override, k) for k in override.model_fields_set} if override else {}
        return self._experiment.data.model_copy(update={k: v for k, v in given.items() if v is not None})

    def development(self, data: Data, path: str) -> Sets:
        """The development sets of a node at `path`. ConfigurationError if one has rows of a test set."""
        path = self._owner(data, "dev", path)
        sets = self._sets(data, "dev", path)
        for name, corpora in sets.items():
            for corpus in corpora.values():
                where = f"{path}.data.dev.{name}"
                if corpus.name in self.reported:
                    fail(
                        where, f"'{corpus.name}' is in the test set '{self.reported[corpus.name]}' too; dev sets choose"
                    )
                self.refuse_alias(corpus, where)
        return sets

    def refuse_alias(self, corpus: Prepared, path: str) -> None:
        """ConfigurationError if the corpus is known to have rows of a test set, under another name."""
        if corpus in self._sound:
            return
        for test in {c.name: c for s in self.test.values() for c in s.values()}.values():
            if test.name != corpus.name and (common := leaks.in_common(corpus, test)):
                fail(
                    path,
                    f"'{corpus.name}' has rows of '{test.name}', which is in {self._path}.data.test.{self.reported[test.name]}, "
                    f"and test sets only report. corpora.{corpus.name} and corpora.{test.name}: {common}. Give one of them "
                    f"other rows: another file, a `where` that parts the two, or without: [{test.name}] in "
                    f"corpora.{corpus.name}",
                )
        self._sound.add(corpus)

    def training(
        self, data: Data, path: str, missing: str | None = None
    ) -> tuple[dict[str, float], dict[str, Prepared]]:
        """Weights and corpora of a node at `path`, by the corpora's filled-in names. missing: the side that a corpus may lack."""
        if not data.train:
            fail(f"{path}.data.train", "training data is needed: a corpus, or {corpus: weight}")
        path = f"{self._owner(data, 'train', path)}.data.train"
        weights: dict[str, float] = {}
        found: dict[str, Prepared] = {}
        for name, weight in data.train.items():
            corpus = self.trained_on(self._fill(name, path), path, missing)
            if corpus.name in self.reported:
                fail(path, f"'{corpus.name}' is a test set; test sets only report")
            self.refuse_alias(corpus, path)
            found[corpus.name] = corpus
            weights[corpus.name] = weight
        return weights, found

    def trained_on(self, name: str, path: str, written: str | None = None) -> Prepared:
        """A corpus to train on: prepared from its source, or made by a model of the graph. It must have both sides, except
        `written`, the side (source or target) that a model will write."""
        settings = self._corpora.settings_of(name, path)
        if not isinstance(settings, Relabelled):
            found = self._corpora.get(name, self._experiment.task, self._languages, path)
            return found if settings.missing == written else _whole(found, path)
        if name not in self._made:
            self._made[name] = self._corpora.add(self._make(name, settings, path))
        return self._made[name]

    def _owner(self, data: Data, key: str, path: str) -> str:
        """The path of what gave this part of a node's data: the experiment, or the node at `path`."""
        return self._path if getattr(data, key) is getattr(self._experiment.data, key) else path

    def _sets(self, data: Data, split: str, path: str) -> Sets:
        path = f"{path}.data.{split}"
        # only test sets: what else a corpus is used for is not computed anew because a report asks for columns
        by = self._experiment.by if split == "test" else []
        return {
            name: {c.name: c for c in (self._prepared(corpus, f"{path}.{name}", by) for corpus in corpora)}
            for name, corpora in (getattr(data, split) or {}).items()
        }

    def _prepared(self, name: str, path: str, by: Sequence[str]) -> Prepared:
        found = self._corpora.get(self._fill(name, path), self._experiment.task, self._languages, path, by=by)
        return _whole(found, path)

    def _fill(self, name: str, path: str) -> str:
        # not str.format, in which {x.y} and {x:>9} read Python's attributes and pad
        filled = VARIABLE.sub(lambda found: self._variables.get(found[1], found[0]), name)
        if "{" in filled or "}" in filled:
            known = ", ".join(f"{{{k}}}" for k in self._variables) or "none; `repeat` gives none"
            fail(path, f"'{name}' names a variable that replicate {self._replicate} doesn't have; it has: {known}")
        return filled


def _whole(corpus: Prepared, path: str) -> Prepared:
    """The corpus. ConfigurationError if it lacks a side."""
    if missing := corpus.settings.get("missing"):
        fail(
            path,
            f"'{corpus.name}' has no {missing} side; a corpus of source relabelled, corpus: {corpus.name}, "
            f"side: {missing} has a model write it",
        )
    return corpus
