"""Metrics of other programs: a command that scores rows.

It gets a line of JSON a row on its standard input, {id, source, reference, hypothesis}, and writes a number a row on its
standard output, in their order. No shell is between. One call scores all that isn't known, so that a model is loaded once. A
score is a statistic like those of other metrics, [score, 1], whose mean is resampled and tested."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import hash_file
from consomme.evaluate.metrics.base import Metric

SHOWN = 400  # characters of what a command complained


class Failed(ConsommeError):
    """A command that gave no scores."""


@dataclass(frozen=True)
class Command:
    """A command that scores rows."""

    name: str
    words: tuple[str, ...]
    lower: bool = False  # whether lower is better

    @cached_property
    def identity(self) -> str:
        """A digest of the command and of the files that it names."""
        return digest([self.words, [hash_file(word) for word in self.words if Path(word).is_file()]])

    @property
    def metric(self) -> Metric:
        """The mean of the scores, as a metric."""
        exactly = f"{self.name}|command:{shlex.join(self.words)}|{self.identity}"
        return Metric(
            *(self.name, not self.lower, ("asr", "nmt"), "hypotheses", "", 2, _unasked, mean, lambda *_: exactly),
            usual=False,
        )

    def scores(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """[score, 1] of each row, [n, 2]. Failed, with the end of what it complained, where the command dies or its answer is
        no finite number for each row."""
        asked = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        try:
            done = subprocess.run(self.words, input=asked.encode(), capture_output=True, check=False)
        except OSError as error:
            raise self._failed(f"can't be started ({error})", b"") from None
        if done.returncode:
            raise self._failed(f"ended with status {done.returncode}", done.stderr)
        lines = [line.strip() for line in done.stdout.decode("utf-8", "replace").split("\n")]
        lines = lines[:-1] if lines[-1] == "" else lines
        if len(lines) != len(rows):
            raise self._failed(f"was asked for {len(rows)} rows and wrote {len(lines)}", done.stderr)
        found = np.ones((len(rows), 2))
        for number, line in enumerate(lines):
            found[number, 0] = _number(line)
            if not math.isfinite(found[number, 0]):
                said = f"wrote '{line[:40]}' for row {number + 1} ({rows[number]['id']}), and not a finite number"
                raise self._failed(said, done.stderr)
        return found

    def _failed(self, what: str, complained: bytes) -> Failed:
        end = " ".join(complained.decode("utf-8", "replace").split())[-SHOWN:]
        return Failed(f"{self.name}: `{shlex.join(self.words)}` {what}" + (f"; its last words: {end}" if end else ""))


def commands(spec: Mapping[str, Any]) -> dict[str, Command]:
    """Name -> command, of a report's spec."""
    return {
        name: Command(name, tuple(given["command"]), bool(given.get("lower")))
        for name, given in spec.get("commands", {}).items()
    }


def mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean score of sums [..., 2]; 0 without rows."""
    return sums[..., 0] / np.maximum(sums[..., 1], 1.0)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _unasked(*_: Any) -> NDArray[np.float64]:
    raise ConsommeError("a command's scores are asked for all rows together")
