"""Whether models can be averaged: one architecture, one vocabulary, the same tensors.

Every error names both models and shows up to three of the differences."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from consomme.average.tensors import FLOATS, Weights
from consomme.common.errors import ConsommeError

# files that say which id is which piece of text; of tokenizer.json only the parts that do
VOCABULARIES = (
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "source.spm",
    "target.spm",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "added_tokens.json",
    "tokenizer.json",
)
SHOWN = 3
COUNTER = ".num_batches_tracked"  # of a batch norm: no weight, and nothing in evaluation looks at it


def check(models: Sequence[Weights]) -> None:
    """Raise ConsommeError unless all `models` can be averaged with the first."""
    first = models[0]
    for other in models[1:]:
        _same_architecture(first, other)
        _same_vocabulary(first, other)
        _same_tensors(first, other)


def config(folder: Path) -> dict[str, Any]:
    """The model's config.json."""
    path = folder / "config.json"
    if not path.exists():
        raise ConsommeError(f"{folder}: no config.json: not a model folder")
    return json.loads(path.read_text(encoding="utf-8"))


def _same_architecture(first: Weights, other: Weights) -> None:
    one, two = config(first.folder), config(other.folder)
    for key in ("model_type", "architectures"):
        if one.get(key) != two.get(key):
            raise ConsommeError(
                f"{first.name} and {other.name} have different architectures: {key} is {one.get(key)} and "
                f"{two.get(key)}. Only models of one ancestor can be averaged"
            )
    if (one.get("pruned_heads") or {}) != (two.get("pruned_heads") or {}):
        raise ConsommeError(
            f"{first.name} and {other.name} lost different attention heads (pruned_heads in config.json): "
            f"{one.get('pruned_heads')} and {two.get('pruned_heads')}. Average first and prune the result, or prune both alike"
        )


def _same_vocabulary(first: Weights, other: Weights) -> None:
    for file in VOCABULARIES:
        one, two = first.folder / file, other.folder / file
        if one.exists() and two.exists() and one.read_bytes() != two.read_bytes():
            differ = _difference(one, two)
            if differ is not None:
                raise ConsommeError(
                    f"{first.name} and {other.name} have different vocabularies: {file} differs{differ}. "
                    f"The same id would mean different things; only models of one ancestor can be averaged"
                )


def _difference(one: Path, two: Path) -> str | None:
    """How two unequal vocabulary files differ, or None if they mean the same."""
    if one.suffix != ".json":
        return ""
    a, b = (json.loads(p.read_text(encoding="utf-8")) for p in (one, two))
    if one.name == "tokenizer.json":  # its truncation and padding are states of use
        a, b = ({k: t.get(k) for k in ("model", "added_tokens", "normalizer", "pre_tokenizer")} for t in (a, b))
    if a == b:
        return None
    if one.name != "tokenizer.json" and isinstance(a, dict) and isinstance(b, dict):
        keys = [k for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)]
        shown = ", ".join(f"{k!r} {a.get(k)} and {b.get(k)}" for k in keys[:SHOWN])
        return f" in {len(keys)} entries ({shown})"
    return ""


def _same_tensors(first: Weights, other: Weights) -> None:
    for has, lacks in ((first, other), (other, first)):
        missing = sorted(t for t in set(has.slots) - set(lacks.slots) if not _copy_of_another(has, lacks, t))
        if missing:
            raise ConsommeError(
                f"{lacks.name} lacks {len(missing)} of the tensors of {has.name}: {', '.join(missing[:SHOWN])}"
            )
    common = sorted(set(first.slots) & set(other.slots))
    _refuse(
        first,
        other,
        "shapes",
        [t for t in common if first.slots[t].shape != other.slots[t].shape],
        lambda m, t: str(list(m.slots[t].shape)),
    )
    kinds = {True: "floating", False: "integer"}
    _refuse(
        first,
        other,
        "kinds of numbers",
        [
            t
            for t in common
            if first.slots[t].dtype != other.slots[t].dtype
            and not (first.slots[t].dtype in FLOATS and other.slots[t].dtype in FLOATS)
        ],
        lambda m, t: f"{m.slots[t].dtype} ({kinds[m.slots[t].dtype in FLOATS]})",
    )
    _refuse(
        first,
        other,
        "values in integer tensors, which have no mean",
        [
            t
            for t in common
            if first.slots[t].dtype not in FLOATS and not t.endswith(COUNTER) and (first.read(t) != other.read(t)).any()
        ],
        lambda m, t: str(m.read(t)[:SHOWN].tolist()),
    )


def _copy_of_another(has: Weights, lacks: Weights, tensor: str) -> bool:
    """Whether `tensor` is a tied weight that one file stores twice: equal, bit for bit, to one that both models store."""
    slot = has.slots[tensor]
    if len(slot.shape) < 2 or config(has.folder).get("tie_word_embeddings") is False:
        return False
    twins = [t for t, s in has.slots.items() if t != tensor and (s.dtype, s.shape) == (slot.dtype, slot.shape)]
    return any(t in lacks.slots and (has.read(t) == has.read(tensor)).all() for t in twins)


def _refuse(
    first: Weights, other: Weights, what: str, tensors: Sequence[str], describe: Callable[[Weights, str], str]
) -> None:
    if tensors:
        shown = "; ".join(f"{t} {describe(first, t)} and {describe(other, t)}" for t in tensors[:SHOWN])
        raise ConsommeError(f"{first.name} and {other.name} have different {what} in {len(tensors)} tensors: {shown}")


def not_finite(models: Sequence[Weights]) -> ConsommeError:
    """The error for models of which at least one holds NaN or infinity: looks through all of them to name the tensors."""
    import numpy as np

    from consomme.average.tensors import to_float32

    found = []
    for model in models:
        for tensor in sorted(model.slots):
            dtype = model.slots[tensor].dtype
            values = model.read(tensor) if dtype in FLOATS else None
            if values is None:
                continue
            if dtype != "F64":
                values = to_float32(values, dtype)
            wrong = int((~np.isfinite(values)).sum())
            if wrong:
                found.append(f"{model.name}: {tensor} ({wrong} of {len(values)})")
            if len(found) == SHOWN:
                break
    shown = "; ".join(found[:SHOWN])
    others = ", ".join(m.name for m in models if not any(f.startswith(f"{m.name}: ") for f in found))
    return ConsommeError(
        f"NaN or infinity in the weights: {shown}. They would spoil the mean with {others or 'every other model'}; "
        f"leave that model out"
    )
