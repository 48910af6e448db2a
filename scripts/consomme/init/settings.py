"""Settings for data of a given size. The reasons of all numbers are here; text.py repeats them as comments."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.evidence import foreseen
from consomme.common.languages import unspaced
from consomme.common.model_files import config as config_of
from consomme.families import TABLE as FAMILIES
from consomme.families import Family, family_for, family_published
from consomme.init.data import Seen, recurring

MAX_SECONDS = 30.0  # a corpus's max_seconds: longer recordings are left out
DEV = 500  # development rows for choices; a search for layers decodes them dozens of times
FEW_DEV = 200  # with fewer rows, a choice by error rate is mostly chance
FEW_SPEAKERS = 10
RECURRING = 0.2  # a larger fraction of common sentences is typical of the data, such as commands, and no error
HOURS, PAIRS = 10, 100_000  # too few below this for a model from scratch


@dataclass(frozen=True)
class Base:
    """The model that training starts from."""

    # the `from` of a configuration
    start: dict[str, Any]
    # None if it isn't known yet
    family: Family | None
    # whether its output before training is worth scoring
    scored: bool = True
    # whether it has random weights
    scratch: bool = False
    # the formats that it can be exported in
    exports: tuple[str, ...] = ("safetensors",)


@dataclass(frozen=True)
class Corpora:
    """The corpora. The general ones, for `balanced`, hold what the base can do already."""

    train: Seen
    dev: Seen
    test: Seen
    general_dev: Seen | None = None
    general_test: Seen | None = None


@dataclass
class Settings:
    """The numbers of one configuration."""

    task: str
    languages: list[str]
    goal: str
    base: Base
    corpora: Corpora
    metric: str
    batch: int
    steps: int
    rates: list[float]
    long_steps: int = 0
    long_rate: float = 0.0
    notes: list[str] = field(default_factory=list)  # for the user, before the run

    @property
    def warmup(self) -> int:
        """A tenth of the steps, 500 at most."""
        return min(500, self.steps // 10)

    def visible(self, seen: Seen, claims: int = 1) -> float:
        """The smallest difference that a set of this size detects with a power of 80 %, in points of the metric."""
        return visible(seen, self.metric, claims)


def choose(task: str, languages: list[str], goal: str, base: Base, corpora: Corpora) -> Settings:
    """Batch, steps and rates for this much data."""
    train = corpora.train
    asr, spaced = task == "asr", not unspaced(languages[-1])
    # without spaces between words, characters are the surer units
    metric = ("wer" if spaced else "cer") if asr else ("bleu" if spaced else "chrf")
    if task == "asr":
        batch = 8 if train.rows < 1000 else 16
        passes = 10 if train.hours < 10 else 5 if train.hours < 100 else 2
        rates = [3e-5, 1e-4] if base.family and base.family.objective == "ctc" else [1e-5, 3e-5]
    else:
        batch = 16 if train.rows < 2000 else 32
        passes = 5 if train.rows < 50_000 else 2
        rates = [1e-5, 3e-5]
    settings = Settings(task, languages, goal, base, corpora, metric, batch, 0, rates)
    settings.steps = _round(min(max(passes * train.rows / batch, 60), 6000))
    if base.scratch:
        passes = 60 if task == "asr" else 30
        settings.long_steps = _round(min(max(passes * train.rows / batch, 600), 60_000))
        settings.long_rate, settings.rates = 1e-3, [2e-4, 5e-4]
    settings.notes += _notes(settings)
    return settings


def scratch(task: str, train: Seen) -> Base:
    """An architecture of a size that fits this much data."""
    if task == "asr":
        sizes = [(10, 64, 6), (100, 144, 12), (math.inf, 256, 16)]  # hours, width, layers
        _, width, layers = next(size for size in sizes if train.hours < size[0])
        model = {"family": "ctc", "num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 4 * width}
        return Base({"scratch": model}, FAMILIES["ctc"], scored=False, scratch=True)
    sizes = [(50_000, 96, 3, 2, 1000), (1_000_000, 256, 6, 3, 8000), (math.inf, 512, 6, 6, 32_000)]
    _, width, encoder, decoder, pieces = next(size for size in sizes if train.rows < size[0])
    model = {"family": "marian", "encoder_layers": encoder, "decoder_layers": decoder, "d_model": width}
    model |= {"encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width}
    start = {"scratch": model, "tokenizer": {"vocab_size": pieces}}
    return Base(start, FAMILIES["marian"], scored=False, scratch=True, exports=("safetensors", "ctranslate2"))


def base_named(name: str, task: str) -> Base:
    """A checkpoint by its folder, or by its name on the hub, without network access: the family comes from its
    config.json if that is on this machine, else from its name. ConsommeError if the checkpoint is for another task."""
    folder = Path(name) if Path(name).is_dir() else _cached(name)
    if folder is None and (name.startswith((".", "/")) or len(name.split("/")) > 2):
        raise ConsommeError(f"--base {name}: there is no such folder, and names on the hub are OWNER/NAME")
    config: Mapping[str, Any] = {}
    if folder and (folder / "config.json").is_file():
        config = config_of(folder)
    elif folder:
        raise ConsommeError(f"--base {name}: no config.json in that folder, so it is no Hugging Face checkpoint")
    family = family_for(folder, config) if folder else family_published(name)
    if family and family.task != task:
        does = "recognises speech" if family.task == "asr" else "translates"
        raise ConsommeError(f"--base {name}: a model of family {family.name} {does}; the task is {task}")
    start: dict[str, Any] = {"folder": name} if Path(name).is_dir() else {"hub": name}
    scored = True
    if family and family.objective == "ctc" and family.tokenizer:
        # without its config it is unknown whether it has a head; a new head is right for a new language anyway
        scored = any(kind.endswith("ForCTC") for kind in config.get("architectures") or ())
        if not scored:
            start["tokenizer"] = {"type": family.tokenizer_kind}
    exports = family.exports if family else ("safetensors",)
    if family and (family.no_conversion(config) if config else type(family).no_conversion != Family.no_conversion):
        exports = ("safetensors",)  # some or all of its checkpoints can't be converted
    return Base(start, family, scored, exports=tuple(exports))


def _cached(name: str) -> Path | None:
    """The folder of a checkpoint in the hub's local cache, None if its config.json isn't there."""
    if os.sep not in name:
        return None
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name, "config.json")
    except ValueError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def visible(seen: Seen, metric: str, claims: int = 1) -> float:
    """The smallest difference of two models that a test on this set detects with a power of 80 %, in points, as `foreseen`."""
    found = foreseen(metric, seen.rows, sum(seen.words), sum(seen.characters), claims)
    assert found is not None  # `choose` takes one of these metrics
    return found


def margin(points: float, least: float) -> float:
    """A margin that a test can show: the larger of `points` and `least`, rounded up to half a point."""
    halves = math.ceil(max(points, least) * 2 - 1e-9)
    return halves // 2 if halves % 2 == 0 else halves / 2


def _round(steps: float) -> int:
    """Rounded to two significant digits."""
    size = 10 ** max(math.floor(math.log10(steps)) - 1, 0)
    return round(steps / size) * size


def _notes(s: Settings) -> list[str]:
    train, dev, test = s.corpora.train, s.corpora.dev, s.corpora.test
    notes = []
    if s.base.scratch:
        if s.task == "asr" and train.hours < HOURS:
            notes.append(
                f"{train.hours:.1f} hours are too few for a recogniser from scratch, which needs about "
                f"{HOURS * 10} hours: --base openai/whisper-small, or another checkpoint, will be much better"
            )
        if s.task == "nmt" and train.rows < PAIRS:
            notes.append(
                f"{train.rows:,} pairs are too few for a translator from scratch, which needs about "
                f"{PAIRS * 10:,}: --base Helsinki-NLP/opus-mt-{s.languages[0]}-{s.languages[1]}, or another "
                "checkpoint, will be much better"
            )
    if s.base.family is None:
        notes.append("the family of the base is unknown until it is fetched, so nothing is pruned")
    elif not s.base.family.stacks:
        notes.append(f"the layers of an {s.base.family.name} model are unknown, so nothing is pruned")
    seen = s.visible(test)
    if seen > 3:
        rows = math.ceil(test.rows * seen**2)
        notes.append(
            f"the test set detects only differences of {seen:.1f} points of {s.metric.upper()} and more; "
            f"about {_round(rows):,} rows would detect one point"
        )
    if dev.rows < FEW_DEV:
        notes.append(
            f"{dev.rows} development rows: choices use the loss, because an error rate on so few rows is mostly chance"
        )
    if long := sum(length > MAX_SECONDS for length in train.seconds):
        notes.append(f"{long / len(train.seconds):.1%} of the training rows are longer than 30 s and are left out")
    low = [rate for rate in train.rates if rate < 16_000]
    if low:
        notes.append(f"recordings of {', '.join(f'{r:,}' for r in sorted(low))} Hz are resampled to 16,000 Hz")
    if both := train.speakers & test.speakers:
        notes.append(
            f"test speakers that are in the training set too: {len(both)} of {len(test.speakers)}; results say little "
            "about new speakers"
        )
    if 0 < len(test.speakers) < FEW_SPEAKERS:
        notes.append(f"speakers of the test set: {len(test.speakers)}; results for others may be much better or worse")
    share = recurring(train, [dev, test])
    if share > RECURRING:
        notes.append(
            f"{share:.0%} of the training rows have a sentence of the development or test set. They are kept, because this "
            "is normal for some data, such as commands; `without: [dev, test]` on train leaves them out"
        )
    return notes
