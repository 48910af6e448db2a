"""Configurations that the schema makes: a sound one in which keys that may stand there have values that they may have, and now
and then others."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

DEEP = 4  # levels of a value that is made
FEW = 3  # items of a list, keys of a mapping

Part = Mapping[str, Any] | bool  # a schema: true allows anything, false nothing


class Maker:
    """Makes configurations by a schema. names: texts to choose from where one is wanted, so that many lead to something;
    strange: values that may stand anywhere instead."""

    def __init__(self, schema: Mapping[str, Any], names: Sequence[str], strange: Sequence[Any]) -> None:
        self.schema, self.names, self.strange = schema, names, strange

    def configurations(self, bases: Sequence[Any]) -> st.SearchStrategy[Any]:
        """One of the bases with one to four of its keys set anew."""
        return st.composite(self._configuration)(bases)

    def _configuration(self, draw: st.DrawFn, bases: Sequence[Any]) -> Any:
        raw = copy.deepcopy(draw(st.sampled_from(bases)))
        for _ in range(draw(st.integers(1, 4))):
            here, keys = draw(st.sampled_from(list(self._sections(raw, self.schema))))
            key = draw(st.sampled_from(sorted(keys)))
            here[key] = self._value(draw, keys[key], DEEP)
        return raw

    def _sections(self, value: Any, part: Part) -> Iterator[tuple[Any, Mapping[str, Part]]]:
        """The mappings in a configuration of which the schema knows the keys, each with these."""
        part = self._fitting(value, part)
        if isinstance(value, dict):
            keys = self._keys(part, value)
            if keys:
                yield value, keys
            for key, below in list(value.items()):
                yield from self._sections(below, keys.get(key, _others(part)))
        elif isinstance(value, list):
            for below in value:
                yield from self._sections(below, part.get("items", False))

    def _keys(self, part: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Part]:
        """The keys of a mapping, those included that follow from its value of another key."""
        keys = dict(part.get("properties", {}))
        for branch in part.get("allOf", ()):
            if any("const" in when and value.get(key) == when["const"] for key, when in _when(branch).items()):
                keys |= {key: below for key, below in branch["then"]["properties"].items() if isinstance(below, dict)}
        return keys

    def _fitting(self, value: Any, part: Part) -> Mapping[str, Any]:
        """The schema, or that of its alternatives that a mapping follows, by the keys that it needs."""
        part = self._resolved(part)
        branches = [self._resolved(branch) for branch in (*part.get("anyOf", ()), *part.get("oneOf", ()))]
        if not branches or "properties" in part:
            return part
        fits = (
            b
            for b in branches
            if isinstance(value, dict) and "properties" in b and {*b.get("required", ())} <= {*value}
        )
        return next(fits, branches[0])

    def _resolved(self, part: Part) -> Mapping[str, Any]:
        if isinstance(part, bool):
            return {}
        return self.schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part

    def _value(self, draw: st.DrawFn, part: Part, deep: int) -> Any:
        part = self._resolved(part)
        if not part or deep == 0 or draw(st.integers(0, 11)) == 0:
            return copy.deepcopy(draw(st.sampled_from(self.strange)))
        if branches := part.get("anyOf") or part.get("oneOf"):
            return self._value(draw, draw(st.sampled_from(branches)), deep)
        if "const" in part:
            return part["const"]
        if "enum" in part:
            return draw(st.sampled_from(part["enum"]))
        kinds = part.get("type", "object" if "properties" in part else "string")
        kind = draw(st.sampled_from(kinds)) if isinstance(kinds, list) else kinds
        return getattr(self, f"_{kind}")(draw, part, deep)

    def _object(self, draw: st.DrawFn, part: Mapping[str, Any], deep: int) -> Any:
        made = {}
        if choices := [
            when
            for branch in part.get("allOf", ())
            if (when := _when(branch)) and all("const" in w for w in when.values())
        ]:
            made = {key: when["const"] for key, when in draw(st.sampled_from(choices)).items()}
        keys = self._keys(part, made)
        chosen = draw(st.lists(st.sampled_from(sorted(keys)), max_size=FEW, unique=True)) if keys else []
        for key in (*part.get("required", ()), *chosen):
            if key in keys and key not in made:
                made[key] = self._value(draw, keys[key], deep - 1)
        if (others := _others(part)) is not False:
            for name in draw(st.lists(st.sampled_from(self.names), max_size=FEW, unique=True)):
                made[name] = self._value(draw, others, deep - 1)
        return made

    def _array(self, draw: st.DrawFn, part: Mapping[str, Any], deep: int) -> Any:
        return [self._value(draw, part.get("items", True), deep - 1) for _ in range(draw(st.integers(0, FEW)))]

    def _string(self, draw: st.DrawFn, part: Mapping[str, Any], deep: int) -> Any:
        return draw(st.sampled_from(self.names))

    def _number(self, draw: st.DrawFn, part: Mapping[str, Any], deep: int) -> Any:
        low, high = _bounds(part)
        return draw(st.floats(low, high, allow_nan=False))

    def _integer(self, draw: st.DrawFn, part: Mapping[str, Any], deep: int) -> Any:
        low, high = _bounds(part)
        return draw(st.integers(int(low), int(high)))

    def _boolean(self, draw: st.DrawFn, part: Mapping[str, Any], deep: int) -> Any:
        return draw(st.booleans())

    def _null(self, draw: st.DrawFn, part: Mapping[str, Any], deep: int) -> Any:
        return None


def _bounds(part: Mapping[str, Any]) -> tuple[float, float]:
    low = part.get("minimum", part.get("exclusiveMinimum", -2))
    return low, max(low, part.get("maximum", part.get("exclusiveMaximum", low + 12)))


def _others(part: Mapping[str, Any]) -> Part:
    """The schema of a mapping's values under names that aren't known beforehand."""
    return next(iter(part.get("patternProperties", {}).values()), part.get("additionalProperties", False))


def _when(branch: Mapping[str, Any]) -> Mapping[str, Any]:
    """Key -> what it has to be, of a condition in a schema."""
    return branch.get("if", {}).get("properties", {})
