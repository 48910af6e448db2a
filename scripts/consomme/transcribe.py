"""Transcribe audio files: python -m consomme.transcribe MODEL AUDIO...

Prints FILE<TAB>TEXT, one line per file, in the order given. A file that can't be transcribed is named on standard error,
and the others are transcribed all the same."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError, Unusable, exit_on_error
from consomme.common.files import read_json

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel

    from consomme.families.base import Family

BATCH = 16
SOME_FAILED = 1  # the exit code where a file has no transcript


def read_audio(path: Path, rate: int) -> np.ndarray:
    """The waveform of a file, float32 [samples] at `rate` Hz, read as for corpora. Unusable if it can't be read."""
    from consomme.data.audio import BadAudio, decode, resample

    try:
        return resample(*decode(path), rate)
    except BadAudio as error:
        raise Unusable(str(error)) from error


def main(argv: list[str] | None = None, prog: str = "python -m consomme.transcribe") -> None:
    """The command. Exit code 1 if some files have no transcript, 2 and a message for errors that concern all."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Transcribe audio files. Exit code: 0; 1 if a file could not be transcribed, which is named on "
        "standard error; 2 for an error that concerns all.",
    )
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument("audio", type=Path, nargs="+", help="audio files: wav, flac, ogg, opus, mp3")
    parser.add_argument(
        "--language", help="spoken language, such as en (default: the model's own; one of several languages detects it)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--num-beams", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(argv)
    with exit_on_error():
        if not _run(given):
            raise SystemExit(SOME_FAILED)


def _run(given: argparse.Namespace) -> bool:
    """Whether every file has a transcript."""
    import torch

    from consomme.families import family_of, load
    from consomme.families.windows import Window

    torch.set_num_threads(given.threads)
    family = family_of(given.model)
    if family.task != "asr":
        raise ConsommeError(f"{given.model}: a model of family {family.name} translates; use consomme.translate")
    model, processor = load(given.model, given.device), family.processor(given.model)
    languages = [given.language] if given.language else _languages(family, given.model)
    size, window, answered = 1 if family.padding_matters(model.config) else BATCH, Window.of(family, model.config), 0
    heard = _heard(family, model, processor, given.audio)
    for some in _batches(heard, family, processor, size):
        features = [one for _, one in some]
        batch = family.collate(processor, features, None, **window.fitting(features))
        said = family.decode(model, processor, batch, languages, {"num_beams": given.num_beams})
        for (path, _), hypothesis in zip(some, said, strict=True):
            print(f"{path}\t{hypothesis.text}", flush=True)
            if hypothesis.cut:
                print(f"warning: {path}: cut where the model has no more positions", file=sys.stderr)
        answered += len(some)
    return answered == len(given.audio)


def _batches(
    heard: Iterator[tuple[Path, np.ndarray]], family: Family, processor: Any, size: int
) -> Iterator[list[tuple[Path, np.ndarray]]]:
    """Files in batches; those longer than the model's window, which are decoded in another way, by themselves."""
    for _, kind in itertools.groupby(heard, key=lambda one: family.long(processor, len(one[1]))):
        while some := list(itertools.islice(kind, size)):
            yield some


def _heard(
    family: Family, model: PreTrainedModel, processor: Any, paths: Sequence[Path]
) -> Iterator[tuple[Path, np.ndarray]]:
    """The files that can be read and that the model can take, with their features; the others are named."""
    import numpy as np

    for path in paths:
        try:
            if not path.is_file():
                raise Unusable("no such file")
            features = family.whole(processor, read_audio(path, processor.feature_extractor.sampling_rate))
            for reason in family.unheard(model, np.array([len(features)])).values():
                raise Unusable(reason)
        except Unusable as error:
            print(f"error: {path}: {error}", file=sys.stderr)
        else:
            yield path, features


def _languages(family: Family, model: Path) -> list[str]:
    """The language that the model was trained for, from its folder; none if it was for several, and can tell them apart."""
    config, record = model / "generation_config.json", model / "provenance.json"
    if config.is_file() and (named := read_json(config).get("language")):
        return [named.strip("<|>")]
    if family.known_languages(model):
        return []
    return list(read_json(record).get("languages") or []) if record.is_file() else []


if __name__ == "__main__":
    main()
