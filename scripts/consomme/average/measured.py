"""Measurements on data of each parent, before a merge that uses them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from consomme.common.log import say
from consomme.common.tensor_files import SINGLE
from consomme.evaluate.judge import Judge
from consomme.weights.tensors import Weights

Measure = Callable[[Judge, Path, int, int, Path], None]  # judge, model, rows, seed -> a safetensors file at that path


@contextmanager
def measured(
    judge: Judge, parents: Mapping[str, Path], beside: Path, measure: Measure, examples: int, seed: int
) -> Generator[list[Weights]]:
    """The results of `measure` for each parent, as opened files of tensors, on the same `examples` rows of the development
    sets. The files exist beside the path `beside` while the block runs, so that memory holds one parent at a time."""
    with TemporaryDirectory(dir=beside.parent, prefix=f".{beside.name}.measured-") as place, ExitStack() as opened:
        found = []
        for i, (name, path) in enumerate(parents.items()):
            folder = Path(place) / str(i)
            folder.mkdir()
            measure(judge, path, examples, seed, folder / SINGLE)
            found.append(opened.enter_context(Weights(folder, name)))
            say(f"{name}: measured on {examples} rows")
        yield found
