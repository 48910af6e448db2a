"""The configuration as text, with a comment for each value that a user may want to change."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from consomme.common.evidence import SPREAD, WRONG
from consomme.init.data import UNUSABLE, Seen, recurring
from consomme.init.settings import DEV, FEW_DEV, MAX_SECONDS, RECURRING, Settings, margin

DOMAIN, GENERAL = "domain", "general"
PARTS = {"1/2": "half", "1/3": "a third"}


def configuration(name: str, s: Settings) -> str:
    """The whole file: an experiment called `name`."""
    lines = [*_head(s), "", "corpora:", *_corpora(s), "", "experiments:", f"  {name}:", *_experiment(s)]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """A value as YAML on one line, with quotes if needed."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    text = re.sub(r"\b(\d+)(\.0)?e-0?(\d+)\b", r"\1e-\3", text.removesuffix("\n").removesuffix("\n..."))
    return text.replace("'on':", "on:")  # the loader restores this key, which YAML reads as true


def _head(s: Settings) -> list[str]:
    c = s.corpora
    sets = {
        "train": c.train,
        "dev": c.dev,
        "test": c.test,
        "general-dev": c.general_dev,
        "general-test": c.general_test,
    }
    made = {
        "best": "as good a model as this data gives; one with fewer layers as an extra",
        "small": "a model of about half the size that keeps most of the quality",
        "balanced": "a model that learns this domain and keeps what the base can do",
    }
    lines = ["# Written by `consomme init`; change what you like. The goal: " + made[s.goal] + "."]
    lines += [f"# {label}: {_seen(seen, s.task)}" for label, seen in sets.items() if seen]
    lines += [f"# Note: {note}." for note in s.notes]
    lines += ["data_root: .  # relative paths below start here; itself relative to where `consomme run` is started"]
    return lines


def _seen(seen: Seen, task: str) -> str:
    parts = [f"{seen.rows:,} rows"]
    if task == "asr":
        about = "" if seen.exact else "about "
        rates = ", ".join(f"{rate / 1000:g}" for rate in sorted(seen.rates))
        length = f"{seen.hours:.1f} hours" if seen.hours >= 1 else f"{seen.hours * 60:.0f} minutes"
        parts += [f"{about}{length}", f"longest {about}{max(seen.seconds):.1f} s", f"{rates} kHz"]
        parts += [f"speakers: {len(seen.speakers)}"] if seen.speakers else []
    return ", ".join([*parts, f"longest text {max(seen.characters):,} characters"])


# -- corpora -----------------------------------------------------------------------------------------------------------
def _corpora(s: Settings) -> list[str]:
    c = s.corpora
    train: dict[str, Any] = dict(c.train.corpus)
    lines = []
    if recurring(c.train, [c.dev, c.test]) <= RECURRING:
        lines.append("  # without: training rows with a sentence or recording of dev or test are left out")
        train["without"] = ["dev", "test"]
    if c.train.ratios and any(ratio > 3 for ratio in c.train.ratios):
        share = sum(ratio > 3 for ratio in c.train.ratios) / c.train.rows
        if share < 0.05:
            lines.append(
                f"  # max_ratio: pairs of very different lengths, {share:.1%} here, are mostly wrong translations"
            )
            train["max_ratio"] = 3
    if s.task == "nmt" and max(c.train.characters) > 600:
        longer = sum(n > 600 for n in c.train.characters)
        lines.append(f"  # max_characters: the longest, {longer:,} here, need much memory and help little")
        train["max_characters"] = 600
    if skipped := _skipped(c.train):
        lines.append(f"  # max_skipped: more than {UNUSABLE:.0%} of the rows are too long and are left out")
    lines.append(f"  train: {_flow(train | skipped)}")
    dev = [("dev", c.dev), *([("general-dev", c.general_dev)] if c.general_dev else [])]
    for name, seen in dev:
        limit = {"limit": DEV} if seen.rows > DEV else {}
        if limit:
            lines.append(f"  # limit: {DEV} rows choose nearly as well as {seen.rows:,} and are decoded many times")
        lines.append(f"  {name}: {_flow({**seen.corpus, **limit, **_skipped(seen)})}")
    test = [("test", c.test), *([("general-test", c.general_test)] if c.general_test else [])]
    return lines + [f"  {name}: {_flow({**seen.corpus, **_skipped(seen)})}" for name, seen in test]


def _skipped(seen: Seen) -> dict[str, float]:
    """`max_skipped`, if more recordings are too long than its default allows; else empty."""
    share = sum(length > MAX_SECONDS for length in seen.seconds) / max(len(seen.seconds), 1)
    return {"max_skipped": math.ceil(round(100 * (share + UNUSABLE), 6)) / 100} if share > UNUSABLE else {}


# -- the experiment ----------------------------------------------------------------------------------------------------
def _experiment(s: Settings) -> list[str]:
    general = s.corpora.general_dev is not None
    dev = {DOMAIN: "dev", **({GENERAL: "general-dev"} if general else {})}
    test = {DOMAIN: "test", **({GENERAL: "general-test"} if general else {})}
    lines = [f"task: {s.task}", f"languages: {_flow(s.languages)}"]
    why = "  # the language is written without spaces, so words can't be counted" if s.metric in ("cer", "chrf") else ""
    lines += [f"metric: {s.metric}{why}"]
    lines += [
        "repeat: [1]  # [1, 2, 3] makes everything three times; with fewer, claims are shown for these models, not for the method"
    ]
    lines += ["data:", "  train: train", f"  dev: {_flow(dev)}  # choose", f"  test: {_flow(test)}  # only report"]
    lines += _decoding(s)
    lines += ["models:", *(f"  {line}" for line in _models(s))]
    lines += _claims(s)
    return [f"    {line}" for line in lines]


def _decoding(s: Settings) -> list[str]:
    return ["decoding: {num_beams: 4}"] if s.task == "nmt" else []


def _models(s: Settings) -> list[str]:
    lines = [*_base(s), *_tuned(s), "# the mean of the runs' weights, and the mean of those that help on dev"]
    lines += ["uniform: {average: tuned}"]
    lines += [f"soup: {{average: tuned, method: greedy, {', '.join(_chosen(s))}}}"]
    if general := s.corpora.general_dev:
        lines += [
            "# as far from the base to the soup as the general set allows. The limit is large enough for a 95 % bound",
            f"# on {min(general.rows, DEV):,} development rows",
            f"balanced: {{average: [base, soup], method: interpolate, choose_on: {{{DOMAIN}: best, "
            f"{GENERAL}: {{lose_at_most: {_loss_allowed(s, general):g}, of: base}}}}}}",
        ]
    return lines + _reduced(s)


def _base(s: Settings) -> list[str]:
    if not s.base.scratch:
        lines = []
        if "hub" in s.base.start:
            lines.append(
                "# revision: COMMIT beside hub fixes the version. Only safetensors are read; if a repository has none,"
            )
            lines.append("# revision: refs/pr/NUMBER names their conversion, if there is one")
        if "tokenizer" in s.base.start:
            lines.append(
                "# tokenizer: a new output layer for your characters; leave it out if the checkpoint has one for them"
            )
        start = "start" if not s.base.scored else "base"
        return [*lines, f"{start}: {{from: {_flow(s.base.start)}}}"]
    return [
        "# random weights; the size fits this much data",
        f"untrained: {{from: {_flow(s.base.start)}}}",
        "base:",
        "  train: untrained",
        f"  max_steps: {s.long_steps}",
        f"  per_device_train_batch_size: {s.batch}",
        f"  learning_rate: {_flow(s.long_rate)}",
        f"  warmup_steps: {s.long_steps // 10}  # if the loss soon stops falling: more warm-up steps and a lower rate",
    ]


def _tuned(s: Settings) -> list[str]:
    rows = s.corpora.train.rows
    passes = s.steps * s.batch / rows
    grid: dict[str, Any] = {"learning_rate": list(s.rates)}
    if s.task == "asr" and not (s.base.family and s.base.family.objective == "seq2seq" and s.base.family.waveform):
        grid["augment.spec_augment"] = [False, True]
    elif s.task == "nmt":
        grid["label_smoothing_factor"] = [0.0, 0.1]
    if s.goal == "best":
        grid["seed"] = [1, 2]
    runs = 1
    for values in grid.values():
        runs *= len(values)
    parent = "base" if s.base.scored or s.base.scratch else "start"
    lines = [f"# {runs} runs: two usual learning rates, each with and without a method against overfitting"]
    lines += ["tuned:", f"  train: {parent}", f"  sweep: {{grid: {_flow(grid)}}}"]
    lines += [f"  max_steps: {s.steps}  # {passes:.1f} times through {rows:,} rows in batches of {s.batch}"]
    lines += [f"  per_device_train_batch_size: {s.batch}  # halved automatically if memory is too small"]
    lines += [f"  warmup_steps: {s.warmup}  # a tenth of the steps"]
    lines += _window(s)
    lines += ["  # precision: bfloat16  # on a GPU that has it: less memory, about twice as fast"]
    return [*lines, *(f"  {key}" for key in _chosen(s))]


def _window(s: Settings) -> list[str]:
    train = s.corpora.train
    mean = sum(train.seconds) / max(len(train.seconds), 1)
    # an interpolation with the base needs the same window for both models
    if not (s.base.family and s.base.family.windows) or s.goal == "balanced" or mean > 15:
        return []
    return [
        f"  window: short  # utterances of {mean:.0f} s on average don't need a window of 30 s; scored in both windows"
    ]


def _chosen(s: Settings) -> list[str]:
    loss = s.corpora.dev.rows < FEW_DEV
    return [f"choose_on: {{{DOMAIN}: best}}", *(["metric: loss"] if loss else [])]


def _reduced(s: Settings) -> list[str]:
    last = "balanced" if s.goal == "balanced" else "soup"
    lines = []
    family = s.base.family
    if family and family.stacks:
        # the decoder takes most of the time, because it runs once per token; CTC recognisers only have an encoder
        side, part = ("decoder", "1/2") if "decoder" in family.stacks else ("encoder", "1/3")
        if s.goal == "small" and side == "encoder":
            part = "1/2"
        pruned = "half" if part == "1/2" else "fewer"
        lines += ["# the decoder runs once per token, so its layers take most of the time"] * (side == "decoder")
        lines += [
            f"# {PARTS[part]} of the {side}'s layers are removed, those that the development loss needs least; the smaller model",
            "# is then distilled from the whole one",
            f"{pruned}: {{prune: {last}, layers: {{{side}: {{drop: {part}, by: greedy}}}}, choose_on: {{{DOMAIN}: best}}}}",
            "small:",
            f"  train: {pruned}",
            f"  distil_from: {last}",
            f"  max_steps: {s.steps}",
            f"  per_device_train_batch_size: {s.batch}",
            f"  learning_rate: {_flow(s.rates[-1])}",
            f"  warmup_steps: {s.warmup}",
        ]
    final = "small" if lines and s.goal != "best" else last
    if "ctranslate2" in s.base.exports:
        lines += ["# for CTranslate2 (faster-whisper and others), at a quarter of the size"]
        return [*lines, f"deployed: {{export: {final}, format: ctranslate2, quantization: int8}}"]
    lines += ["# half the bytes; from_pretrained loads it"]
    return [*lines, f"deployed: {{export: {final}, format: safetensors, quantization: float16}}"]


# -- claims ------------------------------------------------------------------------------------------------------------
def _loss_allowed(s: Settings, general: Seen) -> float:
    """The loss allowed on the general development set: large enough for a 95 % bound on a set of this size."""
    return margin(s.visible(general) * (general.rows / min(general.rows, DEV)) ** 0.5, 0.5)


def _claims(s: Settings) -> list[str]:
    scored = s.base.scored or s.base.scratch
    general, pruned = s.corpora.general_dev and s.corpora.general_test, s.base.family and s.base.family.stacks
    several = sum(map(bool, (scored, s.goal == "best" or not scored, general, pruned)))
    seen = s.visible(s.corpora.test, several)
    if s.metric in SPREAD:
        unit, assumed = f"{s.corpora.test.rows:,} rows", f"vary by {SPREAD[s.metric]:g} points from row to row"
    else:
        unit = f"{sum(s.corpora.test.words):,} words" if s.metric == "wer" else f"{s.corpora.test.rows:,} rows"
        assumed = f"get {WRONG:.0%} of the words wrong and differ in half of these"
    lines = [
        f"# The test set ({unit}) detects a difference of {seen:.1f} points of {s.metric.upper()} in four cases of five, if two",
        f"# models {assumed} and seeds change nothing. A smaller difference will mostly be",
        '# "not shown", so no margin is smaller. Few claims: each one makes the others harder to show.',
        "claims:",
    ]
    claims: list[dict[str, Any]] = []
    last = "balanced" if s.goal == "balanced" else "soup"
    if scored:
        claims.append({"model": last, "beats": "base", "on": DOMAIN})
    if s.goal == "best" or not scored:
        claims.append({"model": "soup", "beats": "tuned/best", "on": DOMAIN})
    if s.corpora.general_dev and s.corpora.general_test:
        allowed = max(s.visible(s.corpora.general_test, several), _loss_allowed(s, s.corpora.general_dev))
        claims.append({"model": "balanced", "keeps": "base", "on": GENERAL, "margin": margin(allowed, 0.5)})
    if pruned:
        claims.append({"model": "small", "keeps": last, "on": DOMAIN, "margin": margin(seen, 1)})
    return lines + [f"  - {_flow(claim)}" for claim in claims]
