"""Parts of a model by the words of a configuration: encoder, decoder, head, or a pattern of tensor names."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from consomme.common.errors import ConsommeError
from consomme.families.base import Family

HEADS = (
    "lm_head.*",
    "proj_out.*",
    "ctc_head.*",
    "joint.head.*",
    "hybrid_head.*",
)  # what transformers calls the last layer; train.hybrid


def patterns(family: Family, part: str, where: str) -> tuple[str, ...]:
    """The patterns of tensor names that belong to a part. `where` is the setting's name, for the error of a side that the
    family doesn't have."""
    if part == "head":
        return HEADS
    if part not in ("encoder", "decoder"):
        return (part,)
    if part not in family.stacks:
        raise ConsommeError(f"{where}.{part}: {family.name} has no {part}; it has: {', '.join(family.stacks)}")
    return (family.stacks[part].layers.rpartition(".")[0] + ".*",)


def fits(name: str, wanted: Iterable[str]) -> bool:
    """Whether a tensor's name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in wanted)


def require_some(names: Iterable[str], family: Family, part: str, where: str) -> tuple[str, ...]:
    """The patterns of a part; ConsommeError if no tensor among `names` fits them."""
    wanted, names = patterns(family, part, where), list(names)
    if not any(fits(name, wanted) for name in names):
        some = ", ".join(names[:3])
        tied = "; the head is tied to the embeddings here" if part == "head" else ""
        raise ConsommeError(f"{where}: no tensor has a name like '{wanted[0]}'{tied}; there are {some}, ...")
    return wanted


def no_side(family: Family, side: str) -> str:
    """Why nothing can be done to the layers of a side that the family lacks."""
    if not family.stacks:
        return f"where the layers of '{family.name}' are is unknown: its architecture is outside the table of families"
    return f"'{family.name}' has no {side}; it has: {', '.join(family.stacks)}"
