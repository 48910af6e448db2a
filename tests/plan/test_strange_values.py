"""Whatever stands at a key, the planner answers with a plan or with an error that a user can act on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from pydantic import BaseModel

from consomme.average.methods import TABLE as METHODS
from consomme.common.errors import ConsommeError
from consomme.common.settings import defaults
from consomme.data.sources import TABLE as SOURCES
from consomme.families import TABLE as FAMILIES
from consomme.formats import TABLE as FORMATS
from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError
from consomme.plan.schema import VERBS, Corpus, Experiment, Relabelled

STRANGE = [{"a": 1}, [], [[]], None, "1e5000", math.nan, -1, True, "", 10**400, 1e308, "1e999999999"]
NODES = {"from": "raw", "train": "base", "average": "line", "prune": "half", "export": "out"}


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a configuration."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield (key,)
        yield from ((key, *place) for place in places(below))


def keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def changed(raw: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    result = here = deepcopy(raw)
    for key in place[:-1]:
        here = here[key]
    here[place[-1]] = value
    return result


def every_place(raw: dict[str, Any]) -> list[tuple[Any, ...]]:
    experiment = ("experiments", "e")
    found = list(places(raw))
    found += [(*experiment, key) for key in keys(Experiment)]
    found += [(*experiment, "models", NODES[verb], key) for verb, model in VERBS.items() for key in keys(model)]
    for node, table in (("line", METHODS), ("out", FORMATS)):
        found += [(*experiment, "models", node, key) for item in table.values() for key in keys(item.settings)]
    sources = [Corpus, Relabelled, *(source.settings for source in SOURCES.values())]
    found += [("corpora", "a-train", key) for model in sources for key in keys(model)]
    return list(dict.fromkeys(found))


def test_strange_values_anywhere_are_planned_or_refused(small):
    broken = []
    for place in every_place(small):
        for value in STRANGE:
            try:
                _ = [model.spec for model in Plan(changed(small, place, value)).models.values()]
            except ConsommeError:
                continue
            except Exception as error:  # whatever else comes out of the planner is what this looks for
                broken.append(f"{'.'.join(map(str, place))}: {str(value)[:20]}: {type(error).__name__}: {error}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    "address", ["https://me:s3cr3t@host/a.tsv", "az://box/a.tsv?se=1&sig=s3cr3t", "s3://s3cr3t@box/a"]
)
def test_a_login_in_an_address_is_refused_anywhere_and_not_shown(small, address):
    for place in every_place(small):
        with pytest.raises(ConsommeError) as error:
            Plan(changed(small, place, address))
        assert "may be secret" in str(error.value) and "s3cr3t" not in str(error.value), place


@pytest.mark.parametrize(
    "value", ["1e5000", "inf", "-.inf", "nan", math.inf, math.nan, 10**400, "1" + "0" * 400 + "/1"]
)
@pytest.mark.parametrize("key", ["learning_rate", "max_steps", "weight_decay", "learning_rates"])
def test_what_is_not_finite_is_refused_with_its_path(change, key, value):
    given = {"encoder": value} if key == "learning_rates" else value
    with pytest.raises(ConfigurationError, match=f"experiments.e.models.base.{key}.* number"):
        Plan(change({f"experiments.e.models.base.{key}": given}))


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.scratch and family.task == "asr"])
def test_an_architecture_is_made_of_values_like_its_defaults(change, name):
    family = FAMILIES[name]
    for section, values in (("scratch", defaults(family.scratch)), ("tokenizer", defaults(family.tokenizer))):
        for key, default in values.items():
            strange = [{"a": 1}, [{"a": 1}], 10**400]
            if default is not None:
                strange.append(None)
            if not isinstance(default, str | None):
                strange.append("1e5000")
            for value in strange:
                start = {"scratch": {"family": name}}
                start.setdefault(section, {})[key] = value
                with pytest.raises(ConfigurationError, match=rf"experiments.e.models.raw.from.{section}.{key}(\.0)?: "):
                    Plan(change({"experiments/e/models/raw/from": start}))


@pytest.mark.parametrize(("key", "value"), [("num_hidden_layers", 10**12), ("num_attention_heads", 0)])
def test_an_architecture_is_of_a_size_that_can_be_planned(change, key, value):
    start = {"scratch": {"family": "ctc", key: value}}
    with pytest.raises(
        ConfigurationError,
        match=f"raw.from.scratch.{key}: Input should be (greater than or equal to 1|less than or equal to 1000);",
    ):
        Plan(change({"experiments/e/models/raw/from": start}))


def test_an_average_of_no_model_is_refused(change):
    with pytest.raises(ConfigurationError, match="average: this names no model"):
        Plan(change({"experiments.e.models.soup.average": []}))
