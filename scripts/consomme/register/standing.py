"""What the register says of the claims, and of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consomme.common.digest import digest
from consomme.register import chain
from consomme.register.chain import Chain, Line
from consomme.register.claims import Claim, Spec, claim_hash, claims_of, rows, subject
from consomme.register.entry import place, with_this_start
from consomme.register.scores import sheets

BEFORE, LATE, CHANGED, UNSEALED, UNKNOWN = "before", "late", "changed", "unsealed", "unknown"


@dataclass(frozen=True)
class Declared:
    """When a claim was declared.

    before: before any score of its test set was known, if that is sealed, else before any of the experiment's;
    late: when some were; changed: its words were declared before, but then stood for other models, another decoding or
    normaliser, or other test rows; unsealed: after the seal of its test set was broken; unknown: the register can't tell."""

    kind: str
    sealed: bool = False  # whether its test set is, or was until it was opened
    # test scores that were known then, of those that the configuration asked for, and of other models
    scored: int = 0
    of: int = 0
    besides: int = 0


@dataclass(frozen=True)
class Standing:
    """The claims of a configuration and their register."""

    # why the register proves nothing; empty if it is whole
    trouble: str
    # a line, from 1, dated before the one before it
    turned_back: int | None
    # of each claim, in the order of `claims_of`
    claims: tuple[Declared, ...]
    # claims that lines hold and the configuration doesn't, taken back when scores were known; and whether the rows that
    # they speak of are those of today
    withdrawn: tuple[tuple[Claim, bool], ...]
    # test set -> the day on which its seal was broken
    opened: dict[str, str]
    lines: int
    head: str


def standing(spec: Spec, before_start: bool = False) -> Standing:
    """What the register says of the claims of a report's spec. before_start: as it will be once this start's line is
    there."""
    known, there = chain.read(place(spec)), sheets(place(spec).parent)
    if before_start:
        known = with_this_start(spec, known, there)
    trouble = _trouble(spec, known, [sheet.mark for sheet in there.values() if sheet.mark])
    return Standing(
        trouble,
        known.turned_back,
        tuple(_declared(spec, claim, known.lines, bool(trouble)) for claim in claims_of(spec)),
        tuple(_withdrawn(spec, known.lines, bool(trouble))),
        {test: line["time"][:10] for line in reversed(known.lines) for test in line.get("opened", ())},
        len(known.lines),
        known.head,
    )


def fingerprint(spec: Spec) -> str:
    """A digest of what a report will say of the register: whatever changes it makes the report stale."""
    found = standing(spec, before_start=True)
    return digest([found.trouble, found.turned_back, [vars(c) for c in found.claims], found.withdrawn])


def _trouble(spec: Spec, known: Chain, marks: Sequence[str]) -> str:
    """Why the register proves nothing. marks: the hashes under which scores were made."""
    if not known.lines:
        return "no register: nothing is known of when the claims were declared"
    if known.broken:
        return f"the register is broken at line {known.broken}"
    other = next((n for n, line in enumerate(known.lines, 1) if line["experiment"] != spec["experiment"]), None)
    if other:
        whose = known.lines[other - 1]["experiment"]
        return f"the register is broken at line {other}, which is of the experiment {whose}"
    hashes = {line.get("hash") for line in known.lines}
    strange = sum(mark not in hashes for mark in marks)
    if strange:
        return f"the register is not the one under which {strange} of {len(marks)} scores were made"
    return ""


def _declared(spec: Spec, claim: Claim, lines: Sequence[Line], doubtful: bool) -> Declared:
    test, sealed = claim["on"], claim["on"] in spec["register"]["sealed"]
    wanted, about, tested = claim_hash(spec, claim), subject(spec, claim), rows(spec, claim["on"])
    first = since = None
    for number, line in enumerate(lines):
        entry = next((c for c in line.get("claims", ()) if c["hash"] == wanted), None)
        if entry is None:
            continue
        first = number if first is None else first
        if entry["subject"] != about or not _alike(line["sets"][test]["rows"], tested):
            since = None
        elif since is None:
            since = number
    if doubtful or first is None:
        return Declared(UNKNOWN, sealed)
    if since is None:  # the rows became others after the last line
        since = len(lines) - 1
    if sealed and any(test in line.get("opened", ()) for line in lines[:since]):
        return Declared(UNSEALED, sealed)
    scored, of, besides = _known(spec, lines[since], test)
    if not scored + besides:
        return Declared(BEFORE, sealed, of=of)
    early = first < since and not sum(_known(spec, lines[first], test)[::2])
    return Declared(CHANGED if early else LATE, sealed, scored, of, besides)


def _withdrawn(spec: Spec, lines: Sequence[Line], doubtful: bool) -> list[tuple[Claim, bool]]:
    current = {claim_hash(spec, claim) for claim in claims_of(spec)}
    last: dict[str, tuple[int, Claim]] = {}
    for number, line in enumerate(lines):
        for entry in line.get("claims", ()):
            if entry["hash"] not in current:
                last[entry["hash"]] = number, entry["claim"]
    found = []
    for hashed, (number, claim) in last.items():
        # it was taken back between this line and the next
        seen = _known(spec, lines[number + 1], claim["on"]) if number + 1 < len(lines) else (1, 1, 0)
        if doubtful or seen[0] + seen[2]:
            found.append((claim, claim_hash(spec, claim) == hashed))
    return found


def _known(spec: Spec, line: Line, test: str) -> tuple[int, int, int]:
    """(scored, of, besides) of a line: of a sealed test set, or of all that aren't."""
    sealed = spec["register"]["sealed"]
    sets = line.get("sets", {})
    asked = [test] if test in sealed else [name for name in sets if name not in sealed]
    counts = [[sets[name][key] for name in asked if name in sets] for key in ("scored", "of", "besides")]
    return sum(counts[0]), sum(counts[1]), sum(counts[2])


def _alike(then: Sequence[str], today: Sequence[str]) -> bool:
    """Whether fingerprints are the same, as far as they are known."""
    return len(then) == len(today) and all(not a or not b or a == b for a, b in zip(then, today, strict=True))
