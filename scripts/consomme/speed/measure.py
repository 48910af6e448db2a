"""Measuring one model, in its own process."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError, Unusable
from consomme.common.evidence import of_median
from consomme.families.windows import Window, without
from consomme.formats import Asked, exported_as, start

UTTERANCES = 16
ROUND = 0.3  # seconds of generations in a round, after a warm-up
LONG = 5.0  # seconds: a generation that takes longer is a round of its own, because its warm-up doesn't matter
WIDTH = 1.05  # of the interval of the median speed, as a ratio, with which no more rounds are needed
MOST = 12  # rounds: where they still differ, the machine is busy, and more would say little more


def measure(
    folder: Path, spec: Mapping[str, Any], device: str, threads: int, count_flops: bool = True
) -> dict[str, Any]:
    """Measure one model for one round, on the first 16 rows of the spec's development set that it can take.

    parameters: their number in the model.
    flops: floating-point operations of one encoder and teacher-forced decoder pass, per second of audio or source token;
    None unless they are to be counted, which takes such a pass, and of exports for other engines.
    speed: seconds of audio, or tokens generated, per second of generation: the median of as many generations as 0.3 s hold,
    after a warm-up; of one, without a warm-up, if it takes more than 5 s.
    memory: peak in MiB, of the process (cpu) or the device.
    window: full or short, for models with a window of fixed length.
    decoding: the decoding settings, for autoregressive models.

    Autoregressive models generate as many tokens as the longest reference of these rows has. Otherwise a pruned model that
    repeats itself or stops early, before it is trained again, would distort the speed of its whole architecture. whisper.cpp
    can't be asked for a length: it stops where it wants to."""
    import torch

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(threads)
    kind = Exported if exported_as(folder) else Checkpoint
    asked = spec.get("decoding") or {}
    model = kind(folder, spec, device, threads)
    examples = _examples(model.family, model.processor, folder, spec)
    flops = model.flops(examples) if count_flops else None
    decoding = dict(asked)
    if model.family.objective == "seq2seq":
        decoding = as_long(asked, max(map(len, examples.labels)))
    say = model.speaking(examples, decoding)
    warm = _seconds(say, device)
    times = [warm] if warm > LONG else []
    while sum(times) < ROUND:
        times.append(_seconds(say, device))
    speech = examples.rows.task == "asr"
    written = examples.amount if speech else float(len(examples.rows) * decoding["max_new_tokens"])
    if device.startswith("cuda"):
        memory = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    shown = {k: v for k, v in decoding.items() if k not in ("window", "previous_text") and v is not None}
    return {
        "parameters": model.parameters,
        "flops": flops,
        "speed": written / statistics.median(times),
        "speed_unit": "s audio/s" if speech else "tokens/s",
        "memory": round(memory, 1),
        "window": model.window(asked).name,
        "decoding": written_as(shown, speech) if model.family.objective == "seq2seq" else "",
    }


@dataclass(frozen=True)
class Examples:
    """Rows that a model can take, their features and labels; amount: seconds of audio, or source tokens."""

    rows: Any
    features: list[Any]
    labels: list[list[int]]
    # of the first row: another language takes no longer
    languages: tuple[str, ...]

    @property
    def amount(self) -> float:
        return float(self.rows.seconds.sum() if self.rows.task == "asr" else sum(map(len, self.features)))


def _examples(family: Any, processor: Any, folder: Path, spec: Mapping[str, Any]) -> Examples:
    """ConsommeError if the model can take no row."""
    from consomme.data.features import usable
    from consomme.data.prepared import Rows

    rows = Rows.open({name: spec["corpora"][name] for name in spec["sets"]})
    found, spoken = [], rows.languages(spec["languages"])
    for i, value in usable(family, processor, rows, range(len(rows)), spec["languages"]):
        with suppress(Unusable):
            found.append((i, value, family.labels(processor, rows.target(i), spoken[i])))
        if len(found) == UTTERANCES:
            break
    if not found:
        raise ConsommeError(
            f"costs: {folder} can take no row of {', '.join(spec['sets'])}, so there is nothing to measure"
        )
    chosen, features, labels = map(list, zip(*found, strict=True))
    return Examples(rows.select(chosen), features, labels, tuple(spoken[chosen[0]]))


class Checkpoint:
    """A model that transformers runs."""

    def __init__(self, folder: Path, spec: Mapping[str, Any], device: str, threads: int) -> None:
        from consomme.families import family_of, load

        self.family, self.device, self.asked = family_of(folder), device, spec.get("decoding")
        self.model, self.processor = load(folder, device), self.family.processor(folder, spec["languages"])
        self.parameters = sum(p.numel() for p in self.model.parameters())

    def window(self, decoding: Mapping[str, Any]) -> Window:
        return Window.of(self.family, self.model.config, decoding)

    def flops(self, examples: Examples) -> float:
        """Of a pass over the examples, for each second or token of them."""
        import torch

        fitting = self.window(self.asked or {}).fitting(examples.features)
        # no_grad: in inference mode torch's counter misses weights that are computed from others, as those of weight norm
        with torch.no_grad():
            batch = self.family.collate(self.processor, examples.features, examples.labels, **fitting)
            batch = {k: v.to(self.device) for k, v in batch.items()}
            wanted = batch.pop("labels")
            if self.family.objective != "ctc" and "decoder_input_ids" not in batch:
                batch["decoder_input_ids"] = self.family.decoder_inputs(self.model, wanted)
            with flop_counter() as counter, self.family.fitted(self.model, batch):
                self.model(**batch)
        return float(counter.get_total_flops()) / examples.amount

    def speaking(self, examples: Examples, decoding: Mapping[str, Any]) -> Callable[[], object]:
        """What makes the hypotheses of all examples once."""
        import torch

        from consomme.families.precision import at_precision
        from consomme.families.settings import to_model

        fitting = self.window(decoding).fitting(examples.features)
        settings = without(decoding)

        def say() -> None:
            with at_precision(self.model, decoding.get("precision")), torch.inference_mode():
                batch = to_model(self.model, self.family.collate(self.processor, examples.features, None, **fitting))
                self.family.generate(self.model, self.processor, batch, examples.languages, settings)

        return say


class Exported:
    """A model that its own engine runs."""

    def __init__(self, folder: Path, spec: Mapping[str, Any], device: str, threads: int) -> None:
        self.running = start(folder, spec["languages"], threads, device)
        self.family, self.processor = self.running.family, self.running.processor
        self.parameters = sum(p.numel() for p in self.running.model.parameters())

    def window(self, decoding: Mapping[str, Any]) -> Window:
        return self.running.window(decoding)

    def flops(self, examples: Examples) -> None:
        """Nothing counts those of another engine."""

    def speaking(self, examples: Examples, decoding: Mapping[str, Any]) -> Callable[[], object]:
        """What makes the hypotheses of all examples once."""
        sources = [examples.rows.source(i) for i in range(len(examples.rows))]
        asked = Asked(examples.languages, decoding)
        return lambda: self.running.decode(sources, asked)


def together(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The results of several rounds of one model, combined. speed: their median, with its interval in speed_low and
    speed_high; rounds: all of them in order, as text; memory: the highest peak."""
    speeds = [one["speed"] for one in rounds]
    low, high = interval(speeds)
    return {
        **rounds[0],
        "speed": statistics.median(speeds),
        "speed_low": low,
        "speed_high": high,
        "memory": max(one["memory"] for one in rounds),
        "rounds": " ".join(f"{speed:.6g}" for speed in speeds),
    }


def interval(speeds: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median speed; the slowest and the fastest of fewer than six rounds, between which it lies
    less often."""
    return of_median(speeds) or (min(speeds), max(speeds))


def enough(speeds: Sequence[float]) -> bool:
    """Whether the 95 % interval of the median speed is at most 5 % wide, which takes six rounds, or there are twelve."""
    found = of_median(speeds)
    return len(speeds) >= MOST or (found is not None and found[1] <= WIDTH * found[0])


def written_as(decoding: Mapping[str, Any], speech: bool) -> str:
    """Decoding settings in a line. For speech without the number of tokens, because speed is measured in seconds of audio."""
    hidden = {"min_new_tokens", *(["max_new_tokens"] if speech else [])}
    shown = {key: value for key, value in sorted(decoding.items()) if key not in hidden}
    return ", ".join(f"{key}={value if isinstance(value, str) else format(value, 'g')}" for key, value in shown.items())


def as_long(decoding: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """Decoding settings that generate exactly `tokens` tokens for every row, or the settings' maximum if that is less."""
    count = min(tokens, decoding.get("max_new_tokens") or tokens)
    return {**decoding, "min_new_tokens": count, "max_new_tokens": count}


def flop_counter() -> Any:
    """torch's counter with a formula for the CPU attention kernel: torch has one only for GPU kernels and would count no
    operations for attention on a CPU."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *others: Any, out_shape: Any = None, **more: Any) -> int:
        return sdpa_flop_count(query, key, value)

    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={kernel: attention})


def _seconds(say: Callable[[], object], device: str) -> float:
    """The time of one generation."""
    _settle(device)
    start = time.perf_counter()
    say()
    _settle(device)
    return time.perf_counter() - start


def _settle(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
