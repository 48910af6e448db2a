"""What a training needs in memory, estimated from config.json and settings.

Counted are weights, gradients and the optimizer's state, and what the forward pass keeps of the largest batch for the backward
pass. docs/training.md compares the estimates with measured peaks. Not counted is what Python and torch take without a model,
0.9 GiB on a processor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.model_files import config as config_of
from consomme.families import TABLE as FAMILIES
from consomme.families import family_for
from consomme.families.base import Family, Stack, value_of
from consomme.families.windows import KEY, SHORT
from consomme.plan.estimates import HIDDEN, Estimates
from consomme.plan.items import Model
from consomme.plan.verbs.starting import key_in_scratch
from consomme.train.optimizers import TABLE as OPTIMIZERS

FLOAT32 = 4  # bytes
HALF = ("float16", "bfloat16")
SECONDS = 10.0  # of a recording, where no corpus is prepared
TOKENS_A_SECOND = 4  # of a transcript
TOKENS = 40  # of a sentence
LOGITS = 3  # logits, their log softmax, and its gradient
BACKWARD = 1.25  # what the backward pass of the layers takes, over what is kept for it; measured


@dataclass(frozen=True)
class Memory:
    """Bytes of a training by what they are for."""

    weights: float  # of the model, and of a teacher
    gradients: float
    optimizer: float  # its state, and running means of the weights
    activations: float  # or, if more, what the first of several processes needs to evaluate

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Batch:
    """The largest pass of a training: rows, and the length of each in seconds of audio (asr) and tokens of each side."""

    rows: float
    seconds: float
    tokens: float


def of(model: Model, estimates: Estimates) -> Memory | None:
    """The memory of a training; None where its architecture isn't known yet, or has no known layers."""
    known, size = _known(model, estimates), estimates.size(model)
    if known is None or size is None or not known[0].stacks:
        return None
    family, config = known
    teachers = sum(guess.wide for m in model.teachers.values() if (guess := estimates.size(m)))
    batch = largest(model, config, family)
    execution, settings, parameters = model.execution, model.identity["settings"], size.wide / FLOAT32
    found = needed(parameters, config, family, settings, batch, bool(execution.get("gradient_checkpointing")))
    if execution.get("shard_weights"):
        found = _dealt(found, parameters, config, family, settings, _parts(model))
    return replace(found, weights=found.weights + teachers, optimizer=found.optimizer / _parts(model))


def _parts(model: Model) -> int:
    """Of the optimizer's state, each on another GPU."""
    execution = model.execution
    dealt = execution.get("shard_optimizer") or execution.get("shard_weights")
    return execution.get("gpus", 1) * execution.get("nodes", 1) if dealt else 1


def _dealt(
    found: Memory,
    parameters: float,
    config: Mapping[str, Any],
    family: Family,
    settings: Mapping[str, Any],
    parts: int,
) -> Memory:
    """With weights and gradients in parts: beside its own, a process has whole what is in no layer. Of layers it has two while it
    computes, the room in which their parts come together, a layer's gradients, and the room in which these are added. An
    evaluation has the whole model."""
    layers = {side: _weights(config, stack, _hidden(config)) for side, stack in family.stacks.items()}
    inside = sum(_value(config, stack.count) * layers[side] for side, stack in family.stacks.items())
    outside, layer = max(parameters - inside, 0.0), max(layers.values())
    _, tables = _trained(parameters, config, family, settings)
    return replace(
        found,
        # the copies of layers in half precision stay until their backward pass
        weights=found.weights - parameters * FLOAT32 * (1 - 1 / parts) + (outside + 4 * layer) * FLOAT32,
        gradients=found.gradients / parts + (outside + tables + 2 * layer) * FLOAT32,
        activations=max(found.activations, parameters * FLOAT32 if settings.get("eval_steps") else 0.0),
    )


def on_disk(model: Model, estimates: Estimates) -> float | None:
    """The most bytes that a training's checkpoints take while it runs: two, of which one is being written, and the weights
    that it falls back to if it diverges. None where its memory isn't known."""
    found, size = of(model, estimates), estimates.size(model)
    return 3 * size.wide + 2 * found.optimizer * _parts(model) if found and size else None


def needed(
    parameters: float,
    config: Mapping[str, Any],
    family: Family,
    settings: Mapping[str, Any],
    batch: Batch,
    checkpointing: bool = False,
) -> Memory:
    """The memory of a training. config: what config.json holds, or the settings of a new model; settings: of a train node."""
    half = settings.get("precision") in HALF
    trained, tables = _trained(parameters, config, family, settings)
    matrices, vectors = OPTIMIZERS[settings.get("optim") or "adamw_torch_fused"].state
    kept = settings.get("checkpoints") or {}
    means = 8 * (bool(kept.get("ema")) + bool(kept.get("mean")))
    return Memory(
        weights=parameters * (FLOAT32 + 2 * half),
        gradients=(trained + tables) * FLOAT32,  # tables are used twice, and each use gives a gradient
        optimizer=(trained - tables) * matrices + tables * vectors + trained * means,
        activations=activations(config, family, settings, batch, checkpointing),
    )


def activations(
    config: Mapping[str, Any], family: Family, settings: Mapping[str, Any], batch: Batch, checkpointing: bool
) -> float:
    """Bytes that the forward pass of a batch keeps for the backward pass, and of the gradients on the way."""
    number = 2 if settings.get("precision") in HALF else FLOAT32
    rate, front = _front(family, config)
    lengths = {"encoder": batch.seconds * rate if family.task == "asr" else batch.tokens, "decoder": batch.tokens}
    hidden = _hidden(config)
    kept = batch.rows * batch.seconds * front * number
    largest = 0.0
    for side, stack in family.stacks.items():
        here = batch.rows * lengths[side]
        there = batch.rows * lengths["encoder"] if side == "decoder" else 0.0
        # norms compute in float32, whatever the precision
        norms = 2 * hidden * len(stack.sublayers) * FLOAT32
        numbers = _layer(config, stack, hidden) + _dropped(config, settings, family, stack, lengths, side)
        layer = (numbers * number + norms) * here + _memory(config, stack, hidden) * number * there
        whole = hidden * here * number
        kept += _value(config, stack.count) * (whole if checkpointing else layer)
        largest = max(largest, layer)
    places = {
        "ctc": lengths["encoder"],
        "seq2seq": batch.tokens,
        "transducer": lengths["encoder"] * (batch.tokens + 1),
    }[family.objective]
    logits = LOGITS * batch.rows * places * config.get("vocab_size", 0) * FLOAT32
    # computed again is one layer while the one above it is in use
    return BACKWARD * (kept + 2 * largest * checkpointing) + logits


def _layer(config: Mapping[str, Any], stack: Stack, hidden: float) -> float:
    """Numbers that a layer keeps of each of its places, beside the input and the output of each norm."""
    inner = config["d_kv"] * _value(config, stack.heads) if "d_kv" in config else hidden
    attentions, forwards = len(stack.attentions), len(stack.feed_forwards)
    convolutions = max(len(stack.sublayers) - attentions - forwards, 0)
    width = _value(config, stack.width) if stack.width else 4 * hidden
    total = 5 * inner  # self-attention: queries, keys, values, and its output before and after the heads are joined
    total += (attentions - 1) * 3 * inner  # to the encoder: the same without keys and values
    return total + forwards * 2 * width + convolutions * 7 * hidden


def _dropped(
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
    family: Family,
    stack: Stack,
    lengths: Mapping[str, float],
    side: str,
) -> float:
    """Numbers that dropout keeps of each place of a layer: its masks; and of attention the weights themselves, as many as
    there are places to attend to, which are not kept without dropout (nor on a GPU)."""
    given = settings.get("dropout")
    inside = config.get("encoder_config") or config
    rates = {key: given if isinstance(given, float) else value_of(inside, key) or 0 for key in family.dropouts}
    rates |= {"attention_dropout": rates.get("dropout_rate", inside.get("attention_dropout", 0))} | (
        given if isinstance(given, Mapping) else {}
    )
    numbers = 0.0
    if rates.pop("attention_dropout"):
        seen = lengths[side] + ("cross" in stack.attentions) * lengths["encoder"]
        numbers += 3 * _value(config, stack.heads) * seen
    if any(rates.values()):
        numbers += len(stack.sublayers) * _hidden(config)
    return numbers


def _memory(config: Mapping[str, Any], stack: Stack, hidden: float) -> float:
    """Numbers that a decoder's layer keeps of each place of the encoder: keys and values."""
    inner = config["d_kv"] * _value(config, stack.heads) if "d_kv" in config else hidden
    return 2 * inner * ("cross" in stack.attentions)


def _trained(
    parameters: float, config: Mapping[str, Any], family: Family, settings: Mapping[str, Any]
) -> tuple[float, float]:
    """(numbers that are trained, those among them in tables of tokens)."""
    hidden = _hidden(config)
    tables = config.get("vocab_size", 0) * hidden
    if lora := settings.get("lora"):
        attentions = sum(_value(config, s.count) * len(s.attentions) for s in family.stacks.values())
        return attentions * 2 * lora["r"] * 2 * hidden, 0.0
    frozen = [side for side in settings.get("freeze") or [] if side in family.stacks]
    sizes = {side: _value(config, s.count) * _weights(config, s, hidden) for side, s in family.stacks.items()}
    gone = sum(sizes[side] for side in frozen) / max(sum(sizes.values()), 1.0) * max(parameters - tables, 0.0)
    return parameters - gone, min(tables, parameters)


def _weights(config: Mapping[str, Any], stack: Stack, hidden: float) -> float:
    """The numbers of a layer's matrices, about."""
    width = _value(config, stack.width) if stack.width else 4 * hidden
    return len(stack.attentions) * 4 * hidden**2 + len(stack.feed_forwards) * 2 * hidden * width


def largest(model: Model, config: Mapping[str, Any], family: Family) -> Batch:
    """The largest batch of a training, by its settings and by the corpora that are prepared."""
    settings = model.identity["settings"]
    seconds = _seconds(model)
    rows = settings.get("per_device_train_batch_size") or 1
    if family.task == "nmt":
        if tokens := settings.get("batch_tokens"):
            return Batch(tokens / TOKENS, 0.0, TOKENS)
        return Batch(rows, 0.0, TOKENS)
    if settings.get("batch_seconds"):
        rows = settings["batch_seconds"] / seconds
    tokens = seconds * TOKENS_A_SECOND
    short = (settings.get("window") or config.get(KEY)) == SHORT and settings.get("full_windows") == 0
    if family.windows and not short:
        rate, _ = _front(family, config)
        seconds = config.get("max_source_positions", config.get("window", 30) * rate) / rate
    return Batch(rows, seconds, tokens)


def _seconds(model: Model) -> float:
    """The mean length of the training's recordings."""
    seconds = rows = 0.0
    for name, weight in (model.identity.get("train") or {}).items():
        corpus = model.corpora.get(name)
        if corpus is not None and Path(corpus.marker).is_file():
            known = json.loads(Path(corpus.marker).read_text(encoding="utf-8"))
            seconds, rows = seconds + weight * known["seconds"], rows + weight * known["rows"]
    if rows and seconds:
        return seconds / rows
    longest = [c.settings["max_seconds"] for c in model.corpora.values() if "max_seconds" in c.settings]
    return min([SECONDS, *longest])


def _front(family: Family, config: Mapping[str, Any]) -> tuple[float, float]:
    """As `Family.front`; nothing where the config doesn't name its sizes."""
    try:
        return family.front(config)
    except (KeyError, TypeError, ZeroDivisionError):
        return 0.0, 0.0


def _known(model: Model, estimates: Estimates) -> tuple[Family, dict[str, Any]] | None:
    """Family and config of a model, made or not: those of its first ancestor whose config is known, with the model's own
    shape."""
    ancestor = model
    while (found := _config(ancestor, estimates)) is None:
        if not ancestor.parents:
            return None
        ancestor = next(iter(ancestor.parents.values()))
    config = dict(found)
    try:
        family = FAMILIES[model.family] if model.family else family_for(Path(ancestor.folder), config)
    except ConsommeError:  # the training will say why it can't use this checkpoint
        return None
    for side, stack in family.stacks.items():
        for key, known in (
            (stack.count, (model.depth or {}).get(side)),
            (stack.width, (model.width or {}).get(stack.width)),
        ):
            if key and known:
                config[key] = config[key_in_scratch(key)] = known
    return family, config


def _config(model: Model, estimates: Estimates) -> Mapping[str, Any] | None:
    settings = model.identity["settings"]
    if model.stage == "start" and "scratch" in settings:
        return {"vocab_size": 64, **settings["tokenizer"], **settings["scratch"]}
    folders = [Path(model.folder), estimates.known.get(model.id)]
    if model.stage == "start" and "folder" in settings:
        folders.append(Path(model.data_root) / settings["folder"])
    return next((config_of(folder) for folder in folders if folder and (folder / "config.json").is_file()), None)


def _value(config: Mapping[str, Any], key: str) -> float:
    """A number of a config under its dotted key, or as `scratch` or a pruning names it."""
    found = config.get(key, value_of(config, key))
    return float(found if found is not None else config.get(key_in_scratch(key), 0))


def _hidden(config: Mapping[str, Any]) -> float:
    """The width of the states."""
    inner = config.get("encoder_config") or config
    return float(next((inner[key] for key in HIDDEN if key in inner), 0))
