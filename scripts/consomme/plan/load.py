"""Reading a configuration: YAML files, overlaid key by key, and its sections checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.common.addresses import Secret, is_address, parts
from consomme.common.errors import ConsommeError
from consomme.data.sources import TABLE as SOURCES
from consomme.plan import yaml_files
from consomme.plan.problems import ConfigurationError, among, fail, section
from consomme.plan.schema import Configuration, Corpus, Experiment, Relabelled

RELABELLED = "relabelled"  # the source of a corpus that a model makes of another one


@dataclass(frozen=True)
class Settings:
    """A configuration with checked sections. Nodes are checked later, when their sweeps are expanded."""

    data_root: str
    corpora: dict[str, Corpus | Relabelled]
    experiments: dict[str, Experiment]


def read(files: Sequence[Path | str]) -> dict[str, Any]:
    """The files' mappings, later ones laid over earlier ones key by key."""
    merged: dict[str, Any] = {}
    for file in files:
        content = yaml_files.load(file)
        if not isinstance(content, Mapping):
            raise ConsommeError(f"{file}: a configuration is a mapping with corpora and experiments")
        merged = overlay(merged, content)
    return merged


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mappings key by key, anything else replaced."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = overlay(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def check(raw: Mapping[str, Any]) -> Settings:
    """Check every section except the nodes. All problems are in one ConfigurationError."""
    # keys that start with a dot hold YAML anchors, as in Compose files and GitLab's
    raw = _keys_as_written({k: v for k, v in raw.items() if not str(k).startswith(".")})
    _no_secrets(raw, "")
    whole = section(Configuration, raw, "configuration")
    problems: list[str] = []
    corpora: dict[str, Corpus | Relabelled] = {}
    for name, corpus in whole.corpora.items():
        try:
            corpora[name] = _corpus(corpus, f"corpora.{name}")
        except ConfigurationError as error:
            problems.append(str(error))
    experiments: dict[str, Experiment] = {}
    for name, experiment in whole.experiments.items():
        try:
            experiments[name] = section(Experiment, experiment, f"experiments.{name}")
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    for name, corpus in corpora.items():
        if isinstance(corpus, Relabelled):
            among(f"corpora.{name}.corpus", corpus.corpus, corpora, "corpus")
            continue
        for other in corpus.without:
            among(f"corpora.{name}.without", other, corpora, "corpus")
            if isinstance(corpora[other], Relabelled):
                fail(
                    f"corpora.{name}.without",
                    f"'{other}' is made by a model from another corpus; name that corpus",
                )
    return Settings(whole.data_root, corpora, experiments)


def _corpus(raw: Any, path: str) -> Corpus | Relabelled:
    sources = [*SOURCES, RELABELLED]
    if not isinstance(raw, Mapping) or "source" not in raw:
        fail(path, f"a corpus is a mapping with a source: {', '.join(sources)}")
    among(f"{path}.source", raw["source"], sources, "source")
    return section(Relabelled if raw["source"] == RELABELLED else Corpus, raw, path)


def _no_secrets(value: Any, path: str) -> None:
    """ConfigurationError for an address with a login in it, wherever it stands: settings are written to many files."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            _no_secrets(key, path or "configuration")
            _no_secrets(below, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            _no_secrets(below, f"{path}.{number}")
    elif is_address(value):
        try:
            parts(value)
        except Secret as error:
            fail(path, str(error))
        except ConsommeError:
            pass  # not for this key, or nothing that is read here


def _keys_as_written(value: Any) -> Any:
    """Restore the key `on`, which YAML reads as true."""
    if isinstance(value, Mapping):
        return {("on" if k is True else k): _keys_as_written(v) for k, v in value.items()}
    return [_keys_as_written(v) for v in value] if isinstance(value, list) else value
