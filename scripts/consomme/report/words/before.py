"""What is known of the data that a starting point was trained on before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from consomme.report.provenance import Records


def before(record: Mapping[str, Any], learnt: Sequence[str]) -> str:
    """The end of a sentence about a starting point; nothing of weights that were drawn here. learnt: the corpora that the
    records beside it name."""
    if _drawn(record):
        return ""
    if learnt:
        return f", trained before on {', '.join(learnt)} by the records beside it"
    named = (record.get("card") or {}).get("datasets")
    return f", trained before on {', '.join(named)} by its card" if named else ", trained before on data not known here"


def trained_before(records: Records, learnt: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each starting point: whether its own training can have seen test rows. learnt: node -> the corpora that the
    records beside it name."""
    lines = {}
    for (name, _), record in records.items():
        if record.get("verb") != "from":
            continue
        named = (record.get("card") or {}).get("datasets")
        if _drawn(record):
            lines[name] = f"{name} began with random weights: nothing was seen before."
        elif corpora := learnt.get(name.partition("/")[0]):
            lines[name] = (
                f"{name} was trained before on {', '.join(corpora)}, as the records beside it say. Test rows among them are "
                "counted in the report."
            )
        elif named:
            lines[name] = (
                f"{name} was trained before on {', '.join(named)}, as its card says. Whether test rows were among "
                "them is not known here."
            )
        else:
            lines[name] = (
                f"What {name} was trained on before is not known here: it came without a card that names data. It may have seen test rows."
            )
    return list(lines.values())


def _drawn(record: Mapping[str, Any]) -> bool:
    """Whether the weights were drawn at random."""
    return bool((record.get("settings") or {}).get("scratch"))
