"""What the claims' register says, in English."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from consomme.register.claims import Claim
from consomme.register.looks import Looks
from consomme.register.standing import BEFORE, CHANGED, LATE, UNKNOWN, UNSEALED, Declared
from consomme.report.evidence.claims import Comparison
from consomme.report.registered import Registered
from consomme.report.words.claims import SHOWN, claim_line, headline

TITLES = {
    BEFORE: "before any score",
    LATE: "late",
    CHANGED: "before, but of something else",
    UNSEALED: "after the seal was broken",
    UNKNOWN: "not in the register",
}


def opening(claims: Sequence[Comparison], registered: Registered | None) -> str:
    """The headline: how many claims hold, and when they were declared."""
    if registered is None:
        return headline(claims)
    held = headline(claims) if claims or not registered.sealed else "No claim is tested yet."
    return " ".join([held, *_sentences(registered)])


def in_methods(registered: Registered | None) -> list[str]:
    """When the claims were declared, as sentences for a paper."""
    if registered is None or not registered.standing.claims:
        return []
    head = registered.standing.head
    return [*_sentences(registered), *([f"Hash of the claims' register: {head}."] if head else [])]


def _sentences(registered: Registered) -> list[str]:
    found = registered.standing
    said = []
    if found.trouble and (found.claims or found.withdrawn):
        said.append(f"{found.trouble[0].upper()}{found.trouble[1:]}.")
    elif found.claims:
        counts = Counter(d.kind for d in found.claims)
        if len(counts) == 1 and BEFORE in counts:
            said.append(f"{'All were' if len(found.claims) > 1 else 'It was'} declared before any score.")
        else:
            parts = [f"{title}: {counts[kind]}" for kind, title in TITLES.items() if counts[kind]]
            said.append(f"Declared {'; '.join(parts)}.")
    if found.withdrawn:
        said.append(f"Withdrawn, and counted in Holm's correction: {len(found.withdrawn)}.")
    if registered.sealed:
        said.append(f"Sealed, and not tested: {len(registered.sealed)}.")
    return said


def declared_words(found: Declared | None) -> str:
    """When a claim was declared, as a sentence; empty if nothing is known of a register."""
    if found is None:
        return ""
    if found.kind == BEFORE:
        return f"Declared before {'the seal was broken' if found.sealed else 'any score'}."
    if found.kind == UNSEALED:
        return "Declared after the seal was broken."
    if found.kind == UNKNOWN:
        return "When it was declared is not known."
    known = f"{found.scored} of {found.of} scores" if found.scored else f"{found.besides} scores"
    if found.scored and found.besides:
        known += f", and {found.besides} of other configurations,"
    elif found.besides:
        known += " of other configurations"
    if found.kind == CHANGED:
        return (
            "Declared before any score, but of something else (models, decoding, scoring or rows); of this when "
            f"{known} were known."
        )
    return f"Declared late, when {known} were known."


def late_words(registered: Registered | None, c: Comparison) -> str:
    """When the claim of a comparison was declared, if that was after scores were known."""
    return _late(registered.when(c)) if registered else ""


def _late(found: Declared | None) -> str:
    return declared_words(found) if found and found.kind not in (BEFORE, UNKNOWN) else ""


def title(claim: Claim) -> str:
    """A claim in short."""
    margin = f" within {claim['margin']:g}" if claim["hypothesis"] == "keeps" else ""
    return f"{claim['model']} {claim['hypothesis']} {claim['against']} on {claim['on']}{margin}"


def untested(registered: Registered | None) -> list[str]:
    """A line of Markdown for each claim that is sealed or was withdrawn."""
    if registered is None:
        return []
    lines = []
    for claim, when in registered.sealed:
        opened = registered.standing.opened.get(claim["on"])
        why = f"not tested: its models are not those for which the seal was broken on {opened}" if opened else "sealed"
        lines.append(f"**{title(claim)}** — {why}. {_late(when)}".rstrip())
    for claim, c in registered.withdrawn:
        lost = f"**{title(claim)}** — its models or its test rows are not there any more; it counts as p = 1."
        lines.append(f"Withdrawn: {claim_line(c) if c else lost}")
    return lines


def look_words(test: str, found: Looks, opened: str | None, sealed: bool) -> str:
    """How often a test set was scored, as a sentence."""
    broken = f"; its seal was broken on {opened}" if opened else ""
    if not found.models:
        return f"{test}: {'sealed' if sealed else 'scored with no model'}{broken}."
    models, settings = len(found.models), max(len(found.configurations), 1)
    words = f"scored with {models} model{'s' * (models > 1)} in {settings} configuration{'s' * (settings > 1)}"
    if len(found.experiments) > 1:
        words += f" of {len(found.experiments)} experiments"
    return f"{test}: {words} since {found.since}{broken}."


def looks(registered: Registered) -> list[str]:
    """A sentence for each test set."""
    opened = registered.standing.opened
    return [look_words(t, found, opened.get(t), t in registered.closed) for t, found in registered.looks.items()]


def register_lines(registered: Registered | None) -> list[str]:
    """What is to be said of the register itself, and its last hash, to be printed beside the claims."""
    if registered is None:
        return []
    found, lines = registered.standing, []
    if found.turned_back:
        at = found.turned_back
        lines.append(f"Line {at} of the register is dated before line {at - 1}: the clock was set back.")
    if found.head:
        lines.append(f"The register's last hash, of line {found.lines}: `{found.head}`")
    return lines


def looks_line(registered: Registered | None) -> list[str]:
    """The looks at the first test sets, in one line."""
    said = looks(registered) if registered else []
    more = [f"And {len(said) - SHOWN} more in report.html."] if len(said) > SHOWN else []
    return [f"Test sets. {' '.join([*said[:SHOWN], *more])}"] if said else []
