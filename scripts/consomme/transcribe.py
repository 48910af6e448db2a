"""Transcribe audio files: python -m consomme.transcribe MODEL AUDIO...

Prints FILE<TAB>TEXT, one line per file, in the order given."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from consomme.common.errors import ConsommeError, exit_on_error
from consomme.common.files import read_json

if TYPE_CHECKING:
    import numpy as np

BATCH = 16


def read_audio(path: Path, rate: int) -> np.ndarray:
    """The waveform of a file, float32 [samples] at `rate` Hz, read as for corpora. ConsommeError if it can't be read."""
    from consomme.data.audio import BadAudio, decode, resample

    try:
        return resample(*decode(path), rate)
    except BadAudio as error:
        raise ConsommeError(f"{path}: {error}") from error


def main(argv: list[str] | None = None, prog: str = "python -m consomme.transcribe") -> None:
    """The command. Exit code 2 and a message for errors that the user can correct."""
    parser = argparse.ArgumentParser(prog=prog, description="Transcribe audio files.")
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument("audio", type=Path, nargs="+", help="audio files: wav, flac, ogg, opus, mp3")
    parser.add_argument("--language", help="spoken language, such as en (default: the model's own)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--num-beams", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(argv)
    with exit_on_error():
        _run(given)


def _run(given: argparse.Namespace) -> None:
    for path in given.audio:
        if not path.is_file():
            raise ConsommeError(f"{path}: no such file")
    import torch

    from consomme.families import family_of, load
    from consomme.families.windows import fitting, is_short

    torch.set_num_threads(given.threads)
    family = family_of(given.model)
    if family.task != "asr":
        raise ConsommeError(f"{given.model}: a model of family {family.name} translates; use consomme.translate")
    model, processor = load(given.model, given.device), family.processor(given.model)
    languages = [given.language] if given.language else _languages(given.model)
    rate = processor.feature_extractor.sampling_rate
    size = 1 if family.padding_matters(model.config) else BATCH
    for start in range(0, len(given.audio), size):
        paths = given.audio[start : start + size]
        features = []
        for path in paths:
            wave = read_audio(path, rate)
            try:
                features.append(family.features(processor, wave))
            except ConsommeError as error:  # too long or too short for this model
                raise ConsommeError(f"{path}: {error}") from None
        short = is_short(family, model.config)
        batch = family.collate(processor, features, None, **fitting(family, short, max(map(len, features))))
        texts = family.generate(model, processor, batch, languages, {"num_beams": given.num_beams})
        for path, text in zip(paths, texts, strict=True):
            print(f"{path}\t{text}", flush=True)


def _languages(model: Path) -> list[str]:
    """The languages that the model was trained for, from its folder."""
    if (model / "provenance.json").is_file():
        known = read_json(model / "provenance.json").get("languages")
        if known:
            return list(known)
    if (model / "generation_config.json").is_file():
        known = read_json(model / "generation_config.json").get("language")
        if known:
            return [known.strip("<|>")]
    return ["en"]


if __name__ == "__main__":
    main()
