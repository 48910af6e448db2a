"""The models' hypotheses on each set, as sufficient statistics by resampling unit."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.evidence import KINDS, unit_of
from consomme.common.files import hash_file, read_json, whole_file
from consomme.common.log import say
from consomme.evaluate.bootstrap import unit_sums
from consomme.evaluate.metrics import details_of, metric_named
from consomme.evaluate.metrics.base import Metric
from consomme.evaluate.ways import FULL_WINDOW
from consomme.report.commands import Failed, commands
from consomme.report.terms import GLOSSARY, RARE, glossary, metric_of, rare_words

CACHE_VERSION = 2
_POOL_FROM = 24  # sheets to count before a second process pays for its start


@dataclass(frozen=True)
class Sheet:
    """One model's hypotheses on one set."""

    model: str
    kind: str
    replicate: str
    split: str
    set: str
    decoding: str
    # of the hypotheses file, relative to the working directory
    path: Path
    # hash of the file
    content: str
    # identity of the decoded rows
    rows: str
    corpora: tuple[str, ...]
    # number of rows
    n: int
    # ids of the rows that the model could not take, and of those whose hypothesis was cut at the most tokens allowed
    unheard: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    # how it was decoded if not as the experiment says: full window, previous text, timestamps
    way: str = ""
    # percent of rows whose timestamps can be right
    sane_timestamps: float = math.nan


@dataclass
class Outcomes:
    """All sheets of an experiment, and their statistics, read or counted on first use."""

    # of the report
    spec: Mapping[str, Any]
    # folder for counts
    cache: Path
    # {name: prepared folder} -> Rows; for tests
    open_rows: Callable[[Mapping[str, Path]], Any] | None = None
    # processes for counting
    threads: int = 1
    _statistics: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)
    _units: dict[tuple[str, ...], dict[str, NDArray[np.int64]]] = field(default_factory=dict)
    _rows: dict[tuple[str, ...], Any] = field(default_factory=dict)
    _overlaps: dict[tuple[str, tuple[str, ...]], dict[str, NDArray[np.bool_]]] = field(default_factory=dict)
    _languages: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def models(self) -> list[dict[str, Any]]:
        """The models of the spec, each once per replicate."""
        return [dict(m, replicate=str(m["replicate"])) for m in self.spec["models"]]

    @cached_property
    def diverged(self) -> list[tuple[str, str, int]]:
        """(model, replicate, step) of the runs whose training diverged."""
        found = []
        for model in self.models:
            record = Path(model.get("folder") or ".") / "provenance.json"
            if model["verb"] == "train" and record.is_file() and (what := read_json(record).get("diverged")):
                found.append((model["name"], model["replicate"], int(what["step"])))
        return found

    @cached_property
    def stopped(self) -> dict[tuple[str, str], int]:
        """(model, replicate) -> step, of the runs that their sweep stopped early."""
        found = {}
        for model in self.models:
            record = Path(model.get("folder") or ".") / "provenance.json"
            if model["verb"] == "train" and record.is_file() and (what := read_json(record).get("stopped")):
                found[model["name"], model["replicate"]] = int(what["step"])
        return found

    @cached_property
    def chosen(self) -> dict[tuple[str, str], dict[str, Any]]:
        """(model, replicate) -> what its provenance says of the choice, for the models that were chosen."""
        found = {}
        for model in self.models:
            record = Path(model.get("folder") or ".") / "provenance.json"
            chosen = read_json(record).get("chosen") if record.is_file() else None
            if isinstance(chosen, dict):
                found[model["name"], model["replicate"]] = chosen
        return found

    @cached_property
    def chance(self) -> dict[str, list[str]]:
        """Caution about a choice -> the models chosen so."""
        found: dict[str, list[str]] = {}
        for (name, _), chosen in self.chosen.items():
            for what in chosen.get("cautions") or ():
                if name not in found.setdefault(what, []):
                    found[what].append(name)
        return found

    @cached_property
    def replicates(self) -> list[str]:
        return [str(r) for r in self.spec["replicates"]]

    @cached_property
    def sheets(self) -> dict[tuple[str, str, str, str], Sheet]:
        """(model, replicate, split, set) -> sheet in the experiment's decoding, in the order of the spec."""
        main = self.spec.get("decoding_digest")
        return {(s.model, s.replicate, s.split, s.set): s for s in self._all if main in (None, s.decoding)}

    @cached_property
    def others(self) -> list[Sheet]:
        """The sheets of the further ways of decoding."""
        main = list(self.sheets.values())
        return [s for s in self._all if s not in main]

    @cached_property
    def _all(self) -> list[Sheet]:
        found, main = [], self.spec.get("decoding_digest")
        hashes: dict[Path, str] = {}
        for model in self.models:
            if not model.get("evaluation"):
                continue
            index = read_json(model["evaluation"])
            wanted = self.spec["sets"][model["replicate"]]
            for entry in index["sets"]:
                split, name = entry["split"], entry["set"]
                if name not in wanted.get(split, {}):
                    continue
                path = Path(entry["path"])
                if path not in hashes:
                    hashes[path] = hash_file(path)
                if entry.get("content", hashes[path]) != hashes[path]:
                    raise ConsommeError(
                        f"{path}: damaged, or edited: not what the model said. Remove {model['evaluation']} and run again: it "
                        "is decoded anew"
                    )
                rows = digest([entry.get("fingerprint"), entry["n"]])
                sheet = Sheet(
                    *(model["name"], model["verb"], model["replicate"], split, name, entry["decoding"]),
                    *(path, hashes[path], rows, tuple(entry["corpora"]), int(entry["n"])),
                    *(tuple(entry.get(key, ())) for key in ("unheard", "cut")),
                    # before there were other ways, this one had no name
                    way=entry.get("way", "" if main in (None, entry["decoding"]) else FULL_WINDOW),
                    sane_timestamps=100 * entry["sane"] / max(int(entry["n"]), 1) if "sane" in entry else math.nan,
                )
                found.append(sheet)
        return found

    def sheet(self, model: str, replicate: str, split: str, name: str) -> Sheet:
        """The sheet. ConsommeError, with the missing evaluation, if there is none."""
        try:
            return self.sheets[model, replicate, split, name]
        except KeyError:
            known = sorted({s.model for s in self.sheets.values()})
            raise ConsommeError(
                f"replicate {replicate}: {model} has no answers on the {split} set '{name}'; "
                f"models with answers: {', '.join(known) or 'none'}. Run its evaluation, or correct the claim."
            ) from None

    def sets(self, split: str) -> list[str]:
        """Names of the sets of a split: first those of the claims, in the claims' order, then the others."""
        names: dict[str, None] = {}
        for replicate in self.replicates:
            names.update(dict.fromkeys(self.spec["sets"][replicate].get(split, {})))
        claimed = dict.fromkeys(claim["on"] for claim in self.spec.get("claims", []))
        return [*(name for name in claimed if name in names), *(name for name in names if name not in claimed)]

    @cached_property
    def metrics(self) -> list[str]:
        """The experiment's metrics that can be counted from hypotheses, its main metric first."""
        names = dict.fromkeys([self.spec["metric"], *self.spec.get("metrics", [])])
        return [n for n in names if self.metric(n).needs == "hypotheses" and n not in self.failed]

    @cached_property
    def details(self) -> list[str]:
        """What is reported beside the metrics: in which ways hypotheses are wrong, and the recall of terms."""
        terms = [name for name in (RARE, GLOSSARY) if name in self.own]
        return [name for name in (*details_of(self.spec.get("task", "")), *terms) if name not in self.metrics]

    @cached_property
    def own(self) -> dict[str, Metric]:
        """The metrics that this experiment alone has: those of commands, and the recall of rare words and of its glossary."""
        found = {name: command.metric for name, command in commands(self.spec).items()}
        most, trained = self.spec.get("rare_words"), self._trained_on
        if most is not None and trained:
            tested = [self.rows(s.corpora) for s in {s.rows: s for s in self.sheets.values()}.values()]
            languages = self.spec.get("languages") or ()
            words = rare_words(self.rows(trained), tested, most, self.normaliser, languages, self.cache)
            found[RARE] = metric_of(RARE, words, f"at most {most} times in {', '.join(trained)}")
        if path := self.spec.get("glossary"):
            found[GLOSSARY] = metric_of(GLOSSARY, glossary(Path(path)), Path(path).name)
        return found

    @property
    def _trained_on(self) -> list[str]:
        """The corpora that any model of any replicate was trained on."""
        return sorted({c for nodes in self.spec.get("train", {}).values() for names in nodes.values() for c in names})

    @cached_property
    def failed(self) -> dict[str, str]:
        """Command -> why there are no scores of it. Commands are asked on first use, each for all rows that it hasn't scored
        before."""
        found = {}
        for name, command in commands(self.spec).items():
            every = {self._count(sheet, name).kept: sheet for sheet in (*self.sheets.values(), *self.others)}
            todo = {kept: sheet for kept, sheet in every.items() if not kept.exists()}
            asked = [row for sheet in todo.values() for row in self._asked(sheet)]
            if not asked:
                continue
            say(f"{name}: {len(asked)} rows to score")
            try:
                scores = command.scores(asked)
            except Failed as error:
                found[name] = str(error)
                say(f"caution: {error}")
                continue
            for kept, sheet in todo.items():
                own, scores = np.split(scores, [sheet.n])
                _write(kept, own)
        return found

    def _asked(self, sheet: Sheet) -> list[dict[str, Any]]:
        """The rows of a sheet as a command gets them; recordings have no source that can be written."""
        sources = self.rows(sheet.corpora).sources if self.spec["task"] == "nmt" else [None] * sheet.n
        return [
            {"id": i, "source": source, "reference": reference, "hypothesis": hypothesis}
            for i, reference, hypothesis, source in zip(*read_hypotheses(sheet.path), sources, strict=True)
        ]

    def metric(self, name: str) -> Any:
        """The record of a metric."""
        return self.own.get(name) or metric_named(name)

    def sign(self, metric: str) -> float:
        """1 if higher is better, else -1."""
        return 1.0 if self.metric(metric).higher_is_better else -1.0

    @property
    def normaliser(self) -> str:
        """The normalisers of references and hypotheses."""
        return self.spec.get("normaliser", "verbatim")

    def languages(self, sheet: Sheet) -> tuple[str, ...]:
        """The language of each reference and hypothesis; one, where all are in it."""
        if sheet.rows not in self._languages:
            written = self.rows(sheet.corpora).written(self.spec.get("languages") or ())
            self._languages[sheet.rows] = tuple(written if len(set(written)) > 1 else written[:1])
        return self._languages[sheet.rows]

    @cached_property
    def written(self) -> list[str]:
        """All languages of references and hypotheses."""
        every = (self.languages(sheet) for sheet in self.sheets.values())
        return list(dict.fromkeys(language for languages in every for language in languages))

    def signature(self, metric: str, sheet: Sheet | None = None) -> str:
        """The metric's exact version and options, with its tokenizer and the normaliser, as they are for a sheet (default:
        for all). Where languages differ in them, one after the other."""
        languages = self.languages(sheet) if sheet else self.written
        found = dict.fromkeys(self.metric(metric).signature(self.normaliser, language) for language in languages)
        return " and ".join(found)

    def statistics(self, sheet: Sheet, metric: str) -> NDArray[np.float64]:
        """Sufficient statistics [n, k], one row per utterance or sentence."""
        key = (sheet.content, self.metric(metric).counted_as)
        if key not in self._statistics:
            self._statistics[key] = _statistics(self._count(sheet, metric))
        return self._statistics[key]

    def sums(self, sheet: Sheet, metric: str, units: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Sufficient statistics summed over each unit, [units, k], units ascending. units: the unit of each row; default:
        as numbered for this sheet."""
        statistics, units = self.statistics(sheet, metric), self.units(sheet) if units is None else units
        if len(statistics) != len(units):
            raise ConsommeError(
                f"{sheet.path} holds {len(statistics)} hypotheses, the prepared corpora {', '.join(sheet.corpora)} "
                f"hold {len(units)} rows: it belongs to another version of the data. Remove it and evaluate again."
            )
        return unit_sums(statistics, units)

    def units(self, sheet: Sheet) -> NDArray[np.int64]:
        """The resampling unit of each row, [n]."""
        return self.units_together([sheet])[0]

    def kind(self, sheets: Sequence[Sheet]) -> str:
        """What the experiment declares as units of these sheets' sets; of different kinds, that which holds the others."""
        declared = self.spec.get("units", KINDS[-1])
        return max((unit_of(declared, sheet.set) for sheet in sheets), key=KINDS.index, default=KINDS[-1])

    def unit(self, sheets: Sequence[Sheet]) -> str:
        """What the independent units of these sheets are, as a word in the plural."""
        every = self.rows(dict.fromkeys(name for sheet in sheets for name in sheet.corpora))
        return every.unit_word(self.kind(sheets))

    def units_together(self, sheets: Sequence[Sheet]) -> list[NDArray[np.int64]]:
        """The resampling unit of each row, [n] per sheet, numbered over all sheets, because they may share rows, or only
        the speakers, documents or recordings that their rows come from."""
        several, kind = {sheet.rows: sheet.corpora for sheet in sheets}, self.kind(sheets)
        key = (kind, *sorted(several))
        if key not in self._units:
            every = self.rows(dict.fromkeys(name for corpora in several.values() for name in corpora))
            unit = dict(zip(row_keys(every), every.units_by(kind).tolist(), strict=True))
            self._units[key] = {
                rows: np.array([unit[row] for row in row_keys(self.rows(corpora))]) for rows, corpora in several.items()
            }
        return [self._units[key][sheet.rows] for sheet in sheets]

    def rows(self, corpora: Iterable[str]) -> Any:
        """The prepared rows of the corpora."""
        names = tuple(corpora)
        if names not in self._rows:
            opener = self.open_rows
            if opener is None:
                from consomme.data.prepared import Rows

                opener = Rows.open
            self._rows[names] = opener({name: Path(self.spec["corpora"][name]) for name in names})
        return self._rows[names]

    @property
    def before(self) -> dict[str, list[str]]:
        """Starting point -> the corpora that the records beside its folder say that it learnt from."""
        return {n: [c.removeprefix(f"{n}: ") for c in found] for n, found in self.spec.get("before", {}).items()}

    def overlap(self, corpora: Iterable[str], tested: Iterable[str]) -> dict[str, int]:
        """Kind -> how many rows of the test corpora share something with any of the other corpora, each compared once."""
        from consomme.data.overlap import in_common

        found: dict[str, NDArray[np.bool_]] = {}
        for corpus in corpora:
            key = corpus, tuple(tested)
            if key not in self._overlaps:
                shared = in_common(self.rows([corpus]), self.rows(key[1]), self.cache)
                self._overlaps[key] = {kind: np.array(rows) for kind, rows in shared.items()}
            for kind, rows in self._overlaps[key].items():
                found[kind] = found[kind] | rows if kind in found else rows
        return {kind: int(rows.sum()) for kind, rows in found.items()}

    def count_all(self, metrics: Iterable[str]) -> None:
        """Count the statistics that aren't cached, in several processes if there are many."""
        once = {self.metric(metric).counted_as: metric for metric in metrics}
        wanted = {(s.content, m): s for s in (*self.sheets.values(), *self.others) for m in once.values()}
        counts = [self._count(sheet, metric) for (_, metric), sheet in sorted(wanted.items())]
        todo = [count for count in counts if not count.kept.exists()]
        if todo:
            say(f"scoring {len(todo)} of {len(wanted)} sets of hypotheses, the others are known")
        if len(todo) >= _POOL_FROM and self.threads > 1:
            with ProcessPoolExecutor(min(self.threads, os.cpu_count() or 1)) as pool:
                list(pool.map(_keep, todo, chunksize=4))

    def _count(self, sheet: Sheet, metric: str) -> _Count:
        languages = self.languages(sheet)
        told = languages[0] if len(languages) == 1 else list(languages)
        called, exactly = self.metric(metric).counted_as, self.signature(metric, sheet)
        identity = [sheet.content, called, self.normaliser, told, exactly, CACHE_VERSION]
        if metric in self.spec.get("commands", ()):
            identity.append(sheet.rows)  # a command is told the sources, too
        kept = self.cache / "scores" / f"{digest(identity)}.npy"
        return _Count(sheet.path, self.own.get(metric, metric), self.normaliser, languages, kept)


def row_keys(rows: Any) -> Iterator[tuple[str, str]]:
    """(corpus, id) of each row, the same in every test set."""
    return ((c, i.removeprefix(f"{c}:")) for c, i in zip(rows.corpora, rows.ids, strict=True))


def read_hypotheses(path: Path | str) -> tuple[list[str], list[str], list[str]]:
    """Ids, references and hypotheses of a hypotheses file."""
    ids, references, hypotheses = [], [], []
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            ids.append(row["id"])
            references.append(row["reference"])
            hypotheses.append(row["hypothesis"])
    return ids, references, hypotheses


@dataclass(frozen=True)
class _Count:
    """Statistics to count."""

    # of the hypotheses
    path: Path
    # by its name where the table has it: not every record can be sent to another process
    metric: str | Metric
    normaliser: str
    # of each row, or one of all
    languages: tuple[str, ...]
    # where they are kept; the name holds a digest of all that they depend on
    kept: Path


def _statistics(count: _Count) -> NDArray[np.float64]:
    if count.kept.exists():
        return np.load(count.kept, allow_pickle=False).astype(np.float64)
    _, references, hypotheses = read_hypotheses(count.path)
    languages = count.languages * len(references) if len(count.languages) == 1 else count.languages
    metric = metric_named(count.metric) if isinstance(count.metric, str) else count.metric
    counted = np.asarray(metric.of_rows(references, hypotheses, count.normaliser, languages), dtype=np.float64)
    _write(count.kept, counted)
    return counted


def _write(path: Path, counted: NDArray[np.float64]) -> None:
    """Keep statistics, whole numbers in half the size."""
    small = np.abs(counted).astype(np.uint32)
    with whole_file(path, "wb") as stream:
        np.save(stream, small if np.array_equal(small, counted) else counted, allow_pickle=False)


def _keep(count: _Count) -> None:
    _statistics(count)
