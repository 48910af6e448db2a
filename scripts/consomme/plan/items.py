"""What a plan consists of: prepared corpora, models, evaluations. Each knows its digest, its spec and its files. Corpora that
models make stand in relabelled.py, landscapes in landscapes.py."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from consomme.average.methods import TABLE as METHODS
from consomme.common.digest import canonical, digest
from consomme.common.normalisers import by_language
from consomme.data.sources.base import language_columns, named_languages
from consomme.plan.stages import VERSIONS

RESULTS = "results"
BEST = "best"  # the run that a choice takes
PART = ("rows.arrow", "checked.arrow", "prepared.json")  # files of a corpus's part


@dataclass(frozen=True, eq=False)
class Prepared:
    """A corpus as one task and pair of languages reads it."""

    name: str
    settings: dict[str, Any]
    task: str
    languages: tuple[str, ...]
    data_root: str
    without: tuple[Prepared, ...] = ()
    stage: str = "data"
    # how many jobs check its rows; no part of the digest, as the rows are the same
    parts: int = 1

    @cached_property
    def digest(self) -> str:
        """A digest of the settings and of the corpora in `without`, not of the name or `data_root`."""
        return digest({"version": VERSIONS["data"], **self._identity, "without": [c.digest for c in self.without]})

    @cached_property
    def content(self) -> str:
        """A digest of what decides the rows, and not of the version of the code that reads them, of columns for reports, or of
        how waveforms are kept."""
        rows = {key: value for key, value in self._identity["corpus"].items() if key not in ("by", "keep_audio")}
        return digest({**self._identity, "corpus": rows, "without": [c.content for c in self.without]})

    @property
    def _identity(self) -> dict[str, Any]:
        return {
            "task": self.task,
            # the languages name the two files of a text pair; a recording is prepared alike in any language, unless its
            # transcript is normalised by it
            "languages": self.languages if self._by_language else (),
            "corpus": {k: v for k, v in self.settings.items() if k != "without"},
        }

    @property
    def _by_language(self) -> bool:
        return self.task == "nmt" or by_language(self.settings["normaliser"], "".join(self.languages[-1:]))

    @property
    def named(self) -> bool:
        """Whether the corpus itself names the languages of its rows."""
        return bool(named_languages(self.settings, self.task))

    @property
    def spoken(self) -> tuple[str, ...] | None:
        """The languages of all rows; None where columns of the table name those of each."""
        return None if language_columns(self.settings, self.task) else self.languages

    @property
    def id(self) -> str:
        """NAME-DIGEST, the folder's name."""
        return f"{self.name}-{self.digest}"

    @property
    def root(self) -> Path:
        """The folder that relative paths of the corpus start from."""
        return Path(self.data_root)

    @property
    def folder(self) -> str:
        return f"{RESULTS}/prepared/{self.id}"

    @property
    def marker(self) -> str:
        """The file that marks the corpus as ready, and holds its fingerprint."""
        return f"{self.folder}/prepared.json"

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Label: file, for the files that other stages made. Source files are left out."""
        return {f"without/{c.name}": c.marker for c in self.without}

    @cached_property
    def spec(self) -> str:
        return as_spec({**self._spec, "inputs": list(self.inputs)})

    @property
    def _spec(self) -> dict[str, Any]:
        return {
            "stage": "data",
            "version": VERSIONS["data"],
            "digest": self.digest,
            "label": {"corpus": self.name},
            "name": self.name,
            "task": self.task,
            "languages": self.languages,
            "corpus": self.settings,
            "data_root": self.data_root,
        }

    def part_spec(self, part: int, parts: int) -> str:
        """The spec of the job that checks the rows of one part, from 1 to `parts`."""
        label = {"corpus": self.name, "part": f"{part} of {parts}"}
        return as_spec({**self._spec, "label": label, "part": [part, parts]})

    def part_files(self, parts: int) -> list[str]:
        """The files of all of so many parts; none of one, for then the rows are checked where they are put together."""
        places = [f"{RESULTS}/prepared/parts/{self.id}/{parts}/{part}" for part in range(1, parts + 1)]
        return [f"{place}/{name}" for place in places for name in PART] if parts > 1 else []


@dataclass(frozen=True, eq=False)
class Model:
    """One run of one node in one replicate."""

    experiment: str
    node: str
    run: str
    replicate: str
    verb: str
    stage: str
    # the settings that the result depends on, besides parents and corpora
    identity: dict[str, Any]
    parents: dict[str, Model] = field(default_factory=dict)
    teachers: dict[str, Model] = field(default_factory=dict)
    references: dict[str, Model] = field(default_factory=dict)
    # of a run that goes on after a rung: itself at the rung (`rung`), and the choice among all runs there (`choice`); of a run
    # whose values are found by others: the best of these, which says them (`study`)
    before: dict[str, Model] = field(default_factory=dict)
    corpora: dict[str, Prepared] = field(default_factory=dict)
    # of an average: name -> (corpus, weight) of its parents' training data; no part of the digest, which holds the
    # parents' digests
    statistics: dict[str, tuple[Prepared, float]] = field(default_factory=dict)
    # the sweep's keys and values, the parents' first
    swept: dict[str, Any] = field(default_factory=dict)
    # family and shape are None if they aren't known before any job: a checkpoint must be read first, or modules differ
    family: str | None = None
    # codes of the languages that it can be told; None if that isn't known, or it is told none
    codes: frozenset[str] | None = None
    # side -> layers
    depth: dict[str, int] | None = None
    # side -> heads of each attention module
    heads: dict[str, int] | None = None
    # the config's key -> width of the feed-forward blocks
    width: dict[str, int] | None = None
    # whose tokens the vocabulary has, in words
    vocabulary: str | None = "whole"
    data_root: str = "."
    # the user's own files that the job reads
    sources: tuple[str, ...] = ()
    # settings of the job that leave its result as it is: in the spec, and not in the digest
    execution: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """NODE or NODE/RUN."""
        return f"{self.node}/{self.run}" if self.run else self.node

    @property
    def ensemble(self) -> bool:
        """Whether it is an ensemble, which has members and no weights of its own."""
        return self.identity["settings"].get("method") == "ensemble"

    @property
    def exported(self) -> bool:
        """Whether it is an export, or chosen among models of which some are, so that nothing can be made of it."""
        if self.verb == "export":
            return True
        method = METHODS.get(self.identity["settings"].get("method"))
        return bool(method and method.picks) and any(m.exported for m in self.parents.values())

    @cached_property
    def digest(self) -> str:
        """A digest of the work, and of the choices that decide whether it is done."""
        if not self.before:
            return self.work
        return digest({"work": self.work, "before": {kind: m.digest for kind, m in self.before.items()}})

    @cached_property
    def work(self) -> str:
        """A digest of the settings and inputs that the computation depends on."""
        return digest(
            {
                "stage": self.stage,
                "version": VERSIONS[self.stage],
                "identity": given(self.identity),
                "parents": [m.digest for m in self.parents.values()],
                "teachers": [m.digest for m in self.teachers.values()],
                "references": {name: m.digest for name, m in self.references.items()},
                "corpora": {name: c.digest for name, c in self.corpora.items()},
            }
        )

    @property
    def random(self) -> bool:
        """Whether all its weights or those of its head are random, so that its output is not worth scoring."""
        return self.stage == "start" and bool({"scratch", "tokenizer"} & self.identity["settings"].keys())

    @cached_property
    def id(self) -> str:
        """NODE-DIGEST, the folder's name."""
        return f"{self.node}-{self.digest}"

    @property
    def state_id(self) -> str:
        """The name of the folder of its state. Choices are not in it: a run finds what it has computed already, whoever took
        part in the sweep then."""
        return f"{self.node}-{self.work}"

    @cached_property
    def folder(self) -> str:
        return f"{RESULTS}/{self.experiment}/models/{self.id}"

    @property
    def marker(self) -> str:
        """The file that marks the model as ready, and records its provenance."""
        return f"{self.folder}/provenance.json"

    @property
    def content(self) -> str:
        """The file that jobs which read its weights wait for. It goes with the weights, and the marker stays."""
        return f"{self.folder}/content.json"

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Label: file, in the order of the spec."""
        return {
            **{f"parent/{name}": m.content for name, m in self.parents.items()},
            **{f"{kind}/{m.name}": m.content for kind, m in self.before.items()},
            **{f"teacher/{name}": m.content for name, m in self.teachers.items()},
            **{f"reference/{name}": m.content for name, m in self.references.items()},
            **{f"corpus/{name}": c.marker for name, c in self.corpora.items()},
            **{f"statistics/{name}": c.marker for name, (c, _) in self.statistics.items()},
        }

    @cached_property
    def spec(self) -> str:
        more: dict[str, Any] = {"execution": self.execution} if self.execution else {}
        if self.statistics:
            more["statistics"] = {n: weight for n, (_, weight) in self.statistics.items()}
        return as_spec(
            {
                "stage": self.stage,
                "version": VERSIONS[self.stage],
                "digest": self.work,
                "label": {
                    "experiment": self.experiment,
                    "node": self.node,
                    "run": self.run,
                    "replicate": self.replicate,
                },
                **self.identity,
                **more,
                "data_root": self.data_root,
                "inputs": list(self.inputs),
            }
        )


@dataclass(frozen=True, eq=False)
class Asked:
    """What is decoded, and how: one value for all models of which the same is asked."""

    settings: dict[str, Any]
    corpora: dict[str, Prepared]

    @cached_property
    def digest(self) -> str:
        return digest(
            {
                "version": VERSIONS["evaluate"],
                "settings": given({k: v for k, v in self.settings.items() if k != "normaliser"}),
                "corpora": {name: c.digest for name, c in self.corpora.items()},
            }
        )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model's hypotheses for every development and test set."""

    model: Model
    asked: Asked
    # whether other replicates decode other rows with the same model under the same set names, as when speakers are
    # rotated and the model is fetched; each replicate then has its own folder of hypotheses
    apart: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        return self.asked.settings

    @property
    def corpora(self) -> dict[str, Prepared]:
        return self.asked.corpora

    @property
    def digest(self) -> str:
        return self.asked.digest

    @property
    def path(self) -> str:
        return f"{RESULTS}/{self.model.experiment}/hypotheses/{self.model.id}/{self.digest}.json"

    @cached_property
    def inputs(self) -> dict[str, str]:
        return {
            f"model/{self.model.name}": self.model.content,
            **{f"corpus/{name}": c.marker for name, c in self.corpora.items()},
        }

    @cached_property
    def spec(self) -> str:
        label = {"experiment": self.model.experiment, "node": self.model.node, "run": self.model.run}
        return as_spec(
            {
                "stage": "evaluate",
                "version": VERSIONS["evaluate"],
                "digest": self.digest,
                "label": {**label, "replicate": self.model.replicate},
                **self.settings,
                **({"apart": True} if self.apart else {}),
                "inputs": list(self.inputs),
            }
        )


def given(value: Any) -> Any:
    """`value` without the None values of its mappings, so that a new setting that isn't given changes no digest."""
    if isinstance(value, dict):
        return {k: given(v) for k, v in value.items() if v is not None}
    return [given(v) for v in value] if isinstance(value, list | tuple) else value


def as_spec(spec: dict[str, Any]) -> str:
    """Canonical JSON: Snakemake compares parameters as text, and equal specs must have equal text."""
    return canonical(json.loads(json.dumps(spec)))
