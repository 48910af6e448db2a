"""Whether models can be averaged: one architecture, one vocabulary, the same tensors.

Every error names both models and shows up to three differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.model_files import config, json_mapping
from consomme.common.provenance import NAME, lineage
from consomme.weights.tensors import FLOATS, Weights, spans

# files that map ids to tokens; of tokenizer.json only the parts that do are compared
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
# keys of config.json, as patterns, that change what a model computes from the same tensors
COMPUTED = [
    "*attention_heads",
    "*num_heads",
    "*key_value_heads",
    "head_dim",
    "d_kv",
    "scale_embedding",
    "scale_input",
    "*activation_function",
    "hidden_act",
    "*_hidden_act",
    "feat_extract_activation",
    "feed_forward_proj",
    "dense_act_fn",
    "normalize_before",
    "*layer_norm_eps",
    "*layer_norm_epsilon",
    "*norm_eps",
    "do_stable_layer_norm",
    "feat_extract_norm",
    "*stride",
    "*stride_*",
    "*dilation",
    "position_embeddings_type",
    "relative_attention_*",
    "*num_buckets",
    "rope_*",
    "max_bucket_distance",
    "partial_rotary_factor",
    "*_position_embedding_groups",
    "tie_word_embeddings",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
]
# keys of a processor's files that change what it makes of a recording or a text
PREPROCESSING = (
    "sampling_rate",
    "feature_size",
    "num_mel_bins",
    "do_normalize",
    "do_ceptral_normalize",
    "normalize_means",
    "normalize_vars",
    "return_attention_mask",
    "padding_value",
    "chunk_length",
    "hop_length",
    "win_length",
    "n_fft",
    "stride",
    "preemphasis",
    "dither",
    "do_lower_case",
    "target_lang",
)
SHOWN = 3
COMPARED = 1 << 16  # elements compared at once
READ = 1 << 20  # elements looked at at once
COUNTER = ".num_batches_tracked"  # of a batch norm: not a weight, and not used in evaluation


def check(models: Sequence[Weights]) -> None:
    """Raise ConsommeError unless all `models` can be averaged with the first."""
    first = models[0]
    for other in models[1:]:
        _same_architecture(first, other)
        _same_vocabulary(first, other)  # before the ids in the configs, which follow from it
        _same_computation(first, other)
        _same_parts(first, other)
        _same_preprocessing(first, other)
        _same_tensors(first, other)


def check_words(models: Sequence[Weights]) -> None:
    """Raise ConsommeError unless all `models` have the first one's architecture and vocabulary. Their tensors may differ:
    for the members of an ensemble, which are not averaged."""
    for other in models[1:]:
        _same_architecture(models[0], other)
        _same_vocabulary(models[0], other)
        _same_preprocessing(models[0], other)


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


def _same_computation(first: Weights, other: Weights) -> None:
    """Compare what the tensors alone don't show: heads, activations, scales. A key that one config lacks is skipped: it has
    its default there, which isn't known here."""
    one, two = config(first.folder), config(other.folder)
    keys = [k for k in one if k in two and any(fnmatchcase(k, pattern) for pattern in COMPUTED)]
    differ = sorted(k for k in keys if one[k] != two[k])
    if differ:
        shown = "; ".join(f"{k} {one[k]!r} and {two[k]!r}" for k in differ[:SHOWN])
        raise ConsommeError(
            f"{first.name} and {other.name} compute different things from their tensors: config.json differs in {shown}. Only "
            "models of one ancestor can be averaged"
        )


def _same_parts(first: Weights, other: Weights) -> None:
    """Refuse two prunings of one model that kept different layers or neurons: their shapes may be equal, but their mean has
    no sense. What was pruned is read from their provenance; models without it are not checked."""
    if not all((m.folder / NAME).exists() for m in (first, other)):
        return
    one, two = lineage(first.folder), lineage(other.folder)
    if one["weights"] != two["weights"]:
        return
    sides = sorted({*one["layers"], *two["layers"]})
    differ = [side for side in sides if _gone(one, side) != _gone(two, side)]
    shown = [f"{side} {one['layers'].get(side, 'all')} and {two['layers'].get(side, 'all')}" for side in differ]
    what = "layers" if shown else "neurons" if one.get("neurons") != two.get("neurons") else ""
    if what:
        which = f" ({'; '.join(shown)})" if shown else ""
        raise ConsommeError(
            f"{first.name} and {other.name} kept different {what} of one model{which}. Average first and prune the result, or "
            "prune both alike"
        )


def _gone(found: dict[str, Any], side: str) -> list[int] | None:
    """The layers that follow a removed layer, else None. A side that lost only sublayers lists all of its layers; a
    difference in depth is found by the comparison of shapes."""
    kept = found["layers"].get(side) or []
    return [n for place, n in enumerate(kept, 1) if n != place] or None


def _same_vocabulary(first: Weights, other: Weights) -> None:
    ours, theirs = ({f for f in VOCABULARIES if (m.folder / f).exists()} for m in (first, other))
    if ours and theirs and not ours & theirs:
        one, two = (_pieces(m.folder) for m in (first, other))
        if one is None or two is None or one != two:
            raise ConsommeError(
                f"{first.name} and {other.name} have vocabularies that can't be compared or differ: {', '.join(sorted(ours))} "
                f"and {', '.join(sorted(theirs))}. Save both tokenizers by one version of transformers"
            )
    for file in VOCABULARIES:
        one, two = first.folder / file, other.folder / file
        if one.exists() and two.exists() and one.read_bytes() != two.read_bytes():
            differ = _difference(one, two)
            if differ is not None:
                raise ConsommeError(
                    f"{first.name} and {other.name} have different vocabularies: {file} differs{differ}. "
                    f"The same id would mean different things; only models of one ancestor can be averaged"
                )


def _pieces(folder: Path) -> dict[str, int] | None:
    """Token -> id, from the JSON file that has it; None if only a binary file does."""
    for name in ("vocab.json", "tokenizer.json"):
        if (folder / name).exists():
            found = json_mapping(folder / name)
            found = (found.get("model") or {}).get("vocab") if name == "tokenizer.json" else found
            if isinstance(found, list):  # of a unigram model: [token, score] by id
                found = {piece: i for i, (piece, _) in enumerate(found)}
            return found if isinstance(found, dict) else None
    return None


def _difference(one: Path, two: Path) -> str | None:
    """How two unequal vocabulary files differ, or None if they are equivalent."""
    if one.suffix != ".json":
        return ""
    a, b = (json_mapping(path) for path in (one, two))
    if one.name == "tokenizer.json":  # its truncation and padding depend on its last use
        a, b = ({k: t.get(k) for k in ("model", "added_tokens", "normalizer", "pre_tokenizer")} for t in (a, b))
    if a == b:
        return None
    if one.name != "tokenizer.json" and isinstance(a, dict) and isinstance(b, dict):
        keys = [k for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)]
        shown = ", ".join(f"{k!r} {a.get(k)} and {b.get(k)}" for k in keys[:SHOWN])
        return f" in {len(keys)} entries ({shown})"
    return ""


def _same_preprocessing(first: Weights, other: Weights) -> None:
    """Compare what the models' processors make of a recording or a text. A key that one lacks is skipped, as in
    config.json."""
    one, two = (_preprocessing(m.folder) for m in (first, other))
    differ = sorted(k for k in PREPROCESSING if k in one and k in two and one[k] != two[k])
    if differ:
        shown = "; ".join(f"{k} {one[k]!r} and {two[k]!r}" for k in differ[:SHOWN])
        raise ConsommeError(
            f"{first.name} and {other.name} prepare their input differently: {shown}. Only models of one ancestor, with its "
            "processor's files, can be averaged"
        )


def _preprocessing(folder: Path) -> dict[str, Any]:
    """The settings of a model's feature extractor and tokenizer. The extractor's were published as a file of their own, and
    later as a part of the processor's."""
    found: dict[str, Any] = {}
    for name in ("tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        if (folder / name).exists():
            there = json_mapping(folder / name)
            extractor = there.get("feature_extractor")
            found |= there | (extractor if isinstance(extractor, dict) else {})
    return found


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
    slot, sizes = has.slots[tensor], _vocabularies(has)
    if len(slot.shape) < 2 or sizes is None or (sizes and slot.shape[0] not in sizes):
        return False
    twins = [t for t, s in has.slots.items() if t != tensor and (s.dtype, s.shape) == (slot.dtype, slot.shape)]
    return any(t in lacks.slots and _equal(has, t, tensor) for t in twins)


def _equal(model: Weights, one: str, other: str) -> bool:
    """Whether two tensors are equal bit for bit. Compares chunk by chunk up to the first difference, because tables are
    large."""
    a, b = model.slots[one], model.slots[other]
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    pieces = spans(0, a.elements, COMPARED)
    return all((model.read(one, *piece) == model.read(other, *piece)).all() for piece in pieces)


def _vocabularies(model: Weights) -> set[int] | None:
    """The sizes of a model's vocabularies that its config names; None if it ties no weights."""
    tied = config(model.folder).get("tie_word_embeddings") is not False
    return vocabulary_sizes(model.folder) if tied else None


def vocabulary_sizes(folder: Path) -> set[int]:
    """The sizes of a model's vocabularies that its config names."""
    settings = config(folder)
    parts = [settings, *(part for part in settings.values() if isinstance(part, dict))]
    return {size for part in parts for key, size in part.items() if key.endswith("vocab_size")}


def copies(models: Sequence[Weights]) -> dict[str, str]:
    """Tied tensor -> the first tensor by name that it equals. Only embeddings and output layers that every
    model stores count, and only if they are equal in every model."""
    sizes, slots = _vocabularies(models[0]), models[0].slots
    tables = sorted(t for t, s in slots.items() if len(s.shape) > 1 and s.shape[0] in (sizes or ()))
    tables = [t for t in tables if all(t in m.slots for m in models)]
    found: dict[str, str] = {}
    for i, tensor in enumerate(tables):
        twin = next((t for t in tables[:i] if all(_equal(m, t, tensor) for m in models)), None)
        if twin is not None:
            found[tensor] = found.get(twin, twin)
    return found


def _refuse(
    first: Weights, other: Weights, what: str, tensors: Sequence[str], describe: Callable[[Weights, str], str]
) -> None:
    if tensors:
        shown = "; ".join(f"{t} {describe(first, t)} and {describe(other, t)}" for t in tensors[:SHOWN])
        raise ConsommeError(f"{first.name} and {other.name} have different {what} in {len(tensors)} tensors: {shown}")


def not_finite(models: Sequence[Weights]) -> ConsommeError:
    """The error if at least one of the models holds NaN or infinity. Reads all models to name the tensors."""
    found: list[str] = []
    spoilt = []
    for model in models:
        if wrong := infinite(model):
            spoilt.append(model)
            found += [f"{model.name}: {tensor}" for tensor in wrong]
    others = ", ".join(m.name for m in models if m not in spoilt)
    return ConsommeError(
        f"NaN or infinity in the weights: {'; '.join(found[:SHOWN])}. They would spread to the mean with "
        f"{others or 'every other model'}; leave that model out"
    )


def infinite(model: Weights) -> list[str]:
    """The first few tensors of a model that hold NaN or infinity, as "tensor (so many of all its elements)"."""
    import numpy as np

    from consomme.weights.tensors import finite, plain

    found = []
    for tensor, slot in sorted(model.slots.items()):
        wrong = 0
        for span in spans(0, slot.elements if slot.dtype in FLOATS else 0, READ):
            values = model.read(tensor, *span)
            if not finite(values, slot.dtype):
                wrong += int((~np.isfinite(plain(values, slot.dtype).astype(np.float64))).sum())
        if wrong:
            found.append(f"{tensor} ({wrong} of {slot.elements})")
        if len(found) == SHOWN:
            break
    return found


def too_large(tensor: str, dtype: str) -> ConsommeError:
    """The error for finite weights whose combination is too large for the stored dtype."""
    return ConsommeError(
        f"{tensor}: the result is larger than {dtype} can hold; give smaller weights or a smaller scale, or store the models in "
        "a wider dtype first"
    )
