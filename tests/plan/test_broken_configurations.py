"""Configurations broken at random, in their values, their structure and their bytes, and others that the schema makes: the planner
answers each with a plan or with an error that begins with a key or the file, and soon. `pytest -s` prints the counts."""

from __future__ import annotations

import collections
import copy
import datetime
import math
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from consomme.common.errors import ConsommeError
from consomme.plan.json_schema import schema
from consomme.plan.load import read
from consomme.plan.plan import Plan

from ..thorough import THOROUGH, cases
from .from_schema import Maker

HERE = Path(__file__).parent
CASES = 1000 if THOROUGH else 70  # of each kind
SECONDS = 60  # after which a case counts as one that never ends; on an idle machine none takes two
BASES = [HERE / "example.yaml", HERE.parent / "workflow" / "tiny.yaml", HERE.parents[1] / "config" / "config.yaml"]

NUMBERS: list[Any] = [-1, 0, 0.5, 10**9, 10**30, 10**400, -(10**30), 1e308, 5e-324, "1/0", "1e400", "nan", "1/3", "3e0"]
TYPES: list[Any] = [
    [],
    {},
    None,
    True,
    "text",
    [1, 2],
    {"a": 1},
    [[]],
    [None],
    {"from": 1},
    {1: 2},
    {"grid": {"seed": [1]}},
]
TYPES += [
    datetime.date(2020, 1, 1),
    b"bytes",
    list(range(5000)),
    {"random": {"n": 10**9}},
    "x" * 300,
    math.inf,
    math.nan,
]
TEXTS = [
    "",
    " ",
    "a/b",
    "../../etc/passwd",
    "{x.__class__}",
    "{x:>999999999}",
    "{0}",
    "{",
    "--help",
    "a\x00b",
    "a\nb",
    "é",
]
TEXTS += ["\ud800", "best", "tuned/best", "a,b=c", "*", "yes", "on", "040", "1:30", "%s", "$(x)"]
BYTES = [
    b":",
    b"{",
    b"}",
    b"[",
    b",",
    b"&a ",
    b"*a",
    b"!!str ",
    b"!!python/object:os.system ",
    b"|\n",
    b"'",
    b"\t",
    b"- ",
]
BYTES += [b"? ", b"<<: *a", b"\xff", b"\x00", b"\xc2\x85", b"040", b"1:30", b"yes: 1", b".inf", b"[" * 500, b"9" * 5000]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a configuration."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(*at, key) for key, _ in inner] + [place for key, v in inner for place in places(v, (*at, key))]


def in_structure(lot: random.Random, text: bytes) -> bytes:
    """One place changed: removed, renamed, another value, a value from elsewhere, or twice."""
    raw = yaml.safe_load(text)
    every = places(raw)
    for _ in range(lot.choice([1, 1, 1, 2])):
        *parents, last = lot.choice(every)
        here = raw
        try:
            for key in parents:
                here = here[key]
            value = here[last]
        except (KeyError, IndexError, TypeError):  # changed before
            continue
        if not isinstance(here, dict | list):
            continue
        kind = lot.choice(["remove", "rename", "number", "number", "type", "type", "text", "text", "copy", "twice"])
        if kind == "remove":
            del here[last]
        elif kind == "rename" and isinstance(here, dict):
            here[lot.choice([f"{last}x", *TEXTS])] = here.pop(last)
        elif kind == "copy":
            other: Any = raw
            for key in lot.choice(every):
                other = other[key] if isinstance(other, dict) and key in other else other
            here[last] = copy.deepcopy(other)
        elif kind == "twice":
            here[last] = [copy.deepcopy(value)] * 2
        else:
            here[last] = lot.choice({"number": NUMBERS, "type": TYPES}.get(kind, TEXTS))
    # as it is, not as escapes: what a person would write
    return yaml.dump(raw, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


def in_bytes(lot: random.Random, text: bytes) -> bytes:
    """A few bytes or lines changed."""
    for _ in range(lot.choice([1, 1, 2, 4])):
        at, kind = lot.randrange(len(text)), lot.choice(["flip", "cut", "insert", "insert", "line"])
        if kind == "flip":
            text = text[:at] + bytes([lot.randrange(256)]) + text[at + 1 :]
        elif kind == "cut":
            text = text[:at] + text[at + lot.randrange(1, 9) :]
        elif kind == "insert":
            text = text[:at] + lot.choice(BYTES) + text[at:]
        else:
            lines = text.split(b"\n")
            lines.insert(lot.randrange(len(lines)), lot.choice(lines))
            text = b"\n".join(lines)
    return text


def answer(file: Path) -> str:
    """What the planner makes of a file: "planned", else the error."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"no answer in {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        plan = Plan(read([file]))
        for model in plan.models.values():
            _ = model.spec
        for study in plan.studies.values():
            _ = study.spec_file("report"), study.spec_file("costs"), study.spec_file("picture")
        plan.problems()
    except ConsommeError as error:
        return str(error)
    finally:
        signal.alarm(0)
    return "planned"


@pytest.fixture(scope="module")
def counts() -> Iterator[collections.Counter[str]]:
    found = collections.Counter[str]()
    yield found
    print(", ".join(f"{n} {what}" for what, n in found.items()))


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: collections.Counter[str]) -> Callable[[bytes], str]:
    """What is wrong with the planner's answer to a configuration; empty if nothing is."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "given.yaml"
    begins = re.compile(rf"({re.escape(str(file))}: |(configuration|corpora|experiments)\b)")

    def judge(text: bytes) -> str:
        file.write_bytes(text)
        begun = time.process_time()
        try:
            said = answer(file)
        except Exception as error:  # whatever else comes out of the planner is what this looks for
            counts["crashed"] += 1
            return f"{type(error).__name__}: {str(error)[:200]}"
        finally:
            counts["longer than 2 s"] += time.process_time() - begun > 2
        counts["planned" if said == "planned" else "refused"] += 1
        return "" if said == "planned" or begins.match(said) else f"no key or file in {said[:200]!r}"

    return judge


@pytest.mark.parametrize("broken", [in_structure, in_bytes])
def test_a_broken_configuration_is_planned_or_refused_by_key_or_file(
    judged: Callable[[bytes], str], tmp_path: Path, broken: Callable[[random.Random, bytes], bytes]
) -> None:
    wrong = []
    for case in range(CASES):
        text = broken(random.Random(f"{broken.__name__} {case}"), BASES[case % len(BASES)].read_bytes())
        if found := judged(text):
            wrong.append(f"case {case}: {found}")
            (tmp_path / f"case{case}.yaml").write_bytes(text)
    assert not wrong, "\n".join(wrong)


SOUND = [yaml.safe_load(base.read_bytes()) for base in BASES]
NAMES = sorted({word for base in BASES for word in re.findall(r"[A-Za-z][\w./-]*", base.read_text("utf-8"))})
MAKER = Maker(schema(), NAMES, [*NUMBERS, *TYPES, *TEXTS])


@cases(CASES, CASES)
@given(st.data())
def test_what_the_schema_makes_is_planned_or_refused_by_key(
    judged: Callable[[bytes], str], data: st.DataObject
) -> None:
    raw = data.draw(MAKER.configurations(SOUND))
    text = yaml.dump(raw, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")
    assert not (found := judged(text)), found
