"""`python -m consomme.tools.gallery [CONFIG...]`: three examples with each augmentation, as pictures, sound and text.

Without a configuration: generated speech and sentences, with settings of a clear effect. With one: the settings of its
models, on the first rows of their training data. Writes one page that opens offline."""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from consomme.common.errors import ConsommeError, exit_on_error
from consomme.common.files import write_text
from consomme.data import audio
from consomme.data.sources import TABLE as SOURCES
from consomme.data.sources.base import Raw
from consomme.families import family_named
from consomme.plan.items import RESULTS
from consomme.train.augment import TABLE, Augmenter, Context

EXAMPLES = 3
RATE, BINS, DECIBELS = 16000, 80, 70  # of the pictures; DECIBELS or more below the loudest is black
WORDS = 5  # smallest number in a generated example
SENTENCES = 3000  # for the training of the tokenizer
TIMES = 3  # number of times that a sentence is segmented
# black, violet, red, orange, pale yellow: even steps of brightness
COLOURS = np.array([[4, 4, 12], [74, 20, 108], [170, 44, 96], [240, 108, 64], [252, 200, 120], [252, 252, 230]])
ALWAYS = {"probability": 1.0}
SPEECH: list[tuple[str, Any]] = [
    ("concatenate", {"utterances": 2, "seconds": 30.0, **ALWAYS}),
    ("speed", [0.85]),
    ("speed", [1.15]),
    ("pitch", [-4]),
    ("pitch", [4]),
    ("gain", [-12, -12]),
    ("reverb", {"rt60": [0.2, 0.2], **ALWAYS}),
    ("reverb", {"rt60": [0.9, 0.9], **ALWAYS}),
    ("noise", {"snr": [5, 5], **ALWAYS}),
    ("spec_augment", {"time_masks": 2, "time_width": 0.1, "frequency_masks": 2, "frequency_width": 15}),
    ("spec_augment", {"time_masks": 0, "time_width": 0.0, "frequency_masks": 0, "frequency_width": 0, "time_warp": 60}),
    ("spec_augment", {"time_masks": 20, "time_masks_per_frame": 0.04, "time_width": 0.04, "frequency_width": 27}),
]
TEXT: list[tuple[str, Any]] = [
    ("concatenate", {"utterances": 2, "seconds": 30.0, **ALWAYS}),
    ("word_dropout", 0.2),
    ("subwords", {"sides": ["source", "target"], "alpha": 0.5, "dropout": 0.1}),
    ("subwords", {"sides": ["source", "target"], "alpha": 0.1, "dropout": 0.3}),
]
WHAT = {
    "concatenate": "joined with another example of the corpus",
    "speed": "played at another speed, tempo and pitch together",
    "pitch": "another voice at the same pace",
    "gain": "louder or softer",
    "reverb": "in a room",
    "noise": "with noise",
    "word_dropout": "words of the source left out",
    "subwords": "cut into other pieces",
    "spec_augment": "features warped in time and masked",
}


@dataclass(frozen=True)
class Utterance:
    """Speech with its transcript."""

    id: str
    wave: np.ndarray  # float32 [samples] at RATE
    text: str


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation."""

    id: str
    source: str
    target: str


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m consomme.tools.gallery", description=__doc__.split("\n")[0])
    parser.add_argument("config", nargs="*", type=Path, help="default: generated examples, settings of a clear effect")
    parser.add_argument("--out", type=Path, default=Path(RESULTS) / "augmentation-gallery.html")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    with exit_on_error():
        write(given.out, given.config, given.seed)
    print(given.out)


def write(out: Path, config: Sequence[Path] = (), seed: int = 1) -> None:
    """Write the page to `out`. Equal configurations, seeds and recordings give equal bytes."""
    if config:
        speech, pairs, root = configured(config)
    else:
        speech, pairs, root = (generated("asr", "spoken-numbers", "clean"), SPEECH), None, Path()
        pairs = (generated("nmt", "dosage", "medical"), TEXT)
    sections = [
        *(spoken(utterances(speech[0]), speech[1], root, seed) if speech else []),
        *(written([Pair(r.id, r.source or "", r.target or "") for r in pairs[0]], pairs[1], seed) if pairs else []),
    ]
    write_page(out, ", ".join(str(c) for c in config) or "settings that are easy to notice", sections, seed)


def write_page(out: Path, title: str, sections: Sequence[Mapping[str, Any]], seed: int) -> None:
    """Write a page of sections, as of `spoken` and `written`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    write_text(out, environment.get_template("gallery.html").render(title=title, sections=sections, seed=seed))


# -- what to show ------------------------------------------------------------------------------------------------------
def generated(task: str, generator: str, domain: str) -> list[Raw]:
    """Examples of at least WORDS words from a generated corpus, each with a different first word."""
    corpus = {"generator": generator, "domain": domain, "split": "train", "size": 1000, "seed": 1}
    languages = ["en"] if task == "asr" else ["en", "fr"]
    rows = SOURCES["generated"].read(corpus, task, languages, Path())
    found: dict[str, Raw] = {}
    for row in rows:
        said = (row.target or "").split()
        if len(said) >= WORDS:
            found.setdefault(said[0], row)
        if len(found) == EXAMPLES:
            break
    return list(found.values())


Shown = tuple[list[Raw], list[tuple[str, Any]]]


def configured(config: Sequence[Path]) -> tuple[Shown | None, Shown | None, Path]:
    """(speech, sentences, folder that relative paths start from). Speech and sentences: the first training rows of a model,
    and all augmentation settings of the models; None if no model of that task has any."""
    from consomme.plan.load import read
    from consomme.plan.plan import Plan

    found: dict[str, Shown] = {}
    plan = Plan(read(config))
    root = Path(".")
    for study in plan.studies.values():
        for model in study.models:
            augment = model.identity["settings"].get("augment") or {}
            wanted = [(name, augment[name]) for name in TABLE if augment.get(name)]
            if not wanted:
                continue
            root, task = Path(model.data_root), model.identity["task"]
            corpus = next(c for c in model.corpora.values() if c.name in model.identity["train"])
            if task not in found:
                source = SOURCES[corpus.settings["source"]]
                rows = source.read(corpus.settings, task, list(corpus.languages), root)
                found[task] = list(itertools.islice((r for r in rows if usable(r, task)), EXAMPLES)), []
            found[task][1].extend(w for w in wanted if w not in found[task][1])
    if not found:
        raise ConsommeError("no model of this configuration has an `augment`")
    return found.get("asr"), found.get("nmt"), root


def usable(row: Raw, task: str) -> bool:
    """Whether the row can be shown: it has no problem, and speech has audio."""
    return not row.problem and (task == "nmt" or row.audio is not None)


def utterances(rows: Sequence[Raw]) -> list[Utterance]:
    """The rows' audio at RATE."""
    found = []
    for row in rows:
        if row.audio is None:
            raise ConsommeError(f"row '{row.id}' has no audio")
        if isinstance(row.audio, Path | bytes | audio.Recording):
            wave = audio.read(row.audio, RATE)
        else:
            wave = audio.resample(*row.audio.waveform(), RATE)
        found.append(Utterance(row.id, np.array(wave, dtype=np.float32), row.target or ""))
    return found


# -- speech ------------------------------------------------------------------------------------------------------------
def spoken(
    examples: Sequence[Utterance], wanted: Sequence[tuple[str, Any]], root: Path, seed: int
) -> list[dict[str, Any]]:
    """A section for the examples as they are, and one for each of `wanted`."""
    loudest = max(float(log_mel(e.wave).max()) for e in examples)
    plain = [cell(e.wave, log_mel(e.wave), loudest, e.text, True) for e in examples]
    sections = [{"name": "speech", "settings": "", "what": "as it is", "cells": plain}]
    for name, settings in wanted:
        augmenter = Augmenter({name: settings}, Context(rate=RATE, root=root), seed)
        cells = []
        for number, example in enumerate(examples):
            generator = augmenter.generator(0, "gallery", example.id)
            wave, text = example.wave, example.text
            if augmenter.others:
                following = joined(number, len(examples), augmenter, generator)
                wave = np.concatenate([wave, *(examples[i].wave for i in following)])
                text = " ".join([text, *(examples[i].text for i in following)])
            for change in augmenter.source:
                wave = change(wave, generator)
            mels = log_mel(wave)
            for change in augmenter.features:
                mels = change(mels, generator)
            cells.append(cell(wave, mels, loudest, text, not augmenter.features))
        sections.append({"name": name, "settings": spelled(settings), "what": WHAT[name], "cells": cells})
    return sections


def joined(number: int, all_of_them: int, augmenter: Augmenter, generator: np.random.Generator) -> list[int]:
    """The numbers of the examples that follow number `number`."""
    others = [i for i in range(all_of_them) if i != number]
    return [others[n] for n in augmenter.others(len(others), generator)] if augmenter.others else []


def cell(wave: np.ndarray, mels: np.ndarray, loudest: float, text: str, heard: bool) -> dict[str, Any]:
    """A picture, with sound if the augmentation changed it."""
    return {
        "picture": data_url("image/png", png(levels(mels, loudest))),
        "sound": data_url("audio/wav", wav(wave)) if heard else "",
        "width": len(mels),
        "seconds": f"{len(mels) / 100:.2f} s",
        "text": text,
    }


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Log-mel frames every 10 ms, in dB: float32 [frames, BINS]."""
    import torch
    from torchaudio.functional import melscale_fbanks

    spectrum = torch.stft(torch.from_numpy(wave), 512, RATE // 100, window=torch.hann_window(512), return_complex=True)
    power = spectrum.abs() ** 2
    mels = melscale_fbanks(257, 0.0, RATE / 2, BINS, RATE, norm="slaney").T @ power
    return (10 * torch.log10(mels + 1e-9)).T.contiguous().numpy()


def levels(mels: np.ndarray, loudest: float) -> np.ndarray:
    """uint8 [bins, frames], low frequencies at the bottom; 255 is `loudest`."""
    share = np.clip(1 + (mels - loudest) / DECIBELS, 0, 1)
    return np.rint(255 * share).astype(np.uint8).T[::-1]


def png(pixels: np.ndarray) -> bytes:
    """uint8 [height, width] as a PNG with the palette of COLOURS."""
    steps = np.linspace(0, len(COLOURS) - 1, 256)
    palette = np.stack([np.interp(steps, np.arange(len(COLOURS)), channel) for channel in COLOURS.T], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape
    lines = np.pad(pixels, ((0, 0), (1, 0)))  # each line starts with its filter: 0, none
    return b"".join([
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        chunk(b"PLTE", np.rint(palette).astype(np.uint8).tobytes()),
        chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
        chunk(b"IEND", b""),
    ])  # fmt: skip


def wav(wave: np.ndarray) -> bytes:
    """float32 [samples] as a 16-bit WAV file; scaled down if it leaves -1..1."""
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, audio.to_int16(wave / max(1.0, np.abs(wave).max())), RATE, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def data_url(kind: str, content: bytes) -> str:
    """The bytes as a data URL, for a page without other files."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


# -- text --------------------------------------------------------------------------------------------------------------
def written(examples: Sequence[Pair], wanted: Sequence[tuple[str, Any]], seed: int) -> list[dict[str, Any]]:
    """A section for the sentences as they are, and one for each of `wanted`."""
    family = family_named("marian")
    with tempfile.TemporaryDirectory() as folder:
        processor = _tokenizer(family, Path(folder), examples)
    plain = {
        "source": lambda text: list(family.features(processor, text)),
        "target": lambda text: family.labels(processor, text, []),
    }

    def cut(ids: Sequence[int]) -> list[str]:
        return processor.convert_ids_to_tokens([i for i in ids if i not in processor.all_special_ids])

    def lines(pair: Pair) -> Iterator[tuple[str, list[str]]]:
        yield "source", [pair.source]
        yield "target", [pair.target]

    sections = [
        {"name": "sentences", "settings": "", "what": "as they are", "lines": [list(lines(p)) for p in examples]}
    ]
    for name, settings in wanted:
        augmenter = Augmenter({name: settings}, Context(subwords=lambda side: family.subwords(processor, side)), seed)
        shown = []
        for number, pair in enumerate(examples):
            generator = augmenter.generator(0, "gallery", pair.id)
            together = [pair, *(examples[i] for i in joined(number, len(examples), augmenter, generator))]
            whole = Pair(pair.id, " ".join(p.source for p in together), " ".join(p.target for p in together))
            for change in augmenter.source:
                whole = Pair(whole.id, change(whole.source, generator), whole.target)
            if not augmenter.encode:
                shown.append(list(lines(whole)))
                continue
            drawn: list[tuple[str, list[str]]] = []
            for side, encode in augmenter.encode.items():
                text = getattr(whole, side)
                drawn.append((f"{side}, as ever", cut(plain[side](text))))
                drawn += [(f"{side}, turn {n + 1}", cut(encode(text, augmenter.generator(n, "gallery", pair.id)))) for n in range(TIMES)]  # fmt: skip
            shown.append(drawn)
        sections.append({"name": name, "settings": spelled(settings), "what": WHAT[name], "lines": shown})
    return sections


def _tokenizer(family: Any, folder: Path, examples: Sequence[Pair]) -> Any:
    """A small tokenizer trained on generated sentences and the examples."""
    corpus = {"generator": "dosage", "domain": "medical", "split": "train", "size": SENTENCES, "seed": 2}
    rows = list(SOURCES["generated"].read(corpus, "nmt", ["en", "fr"], Path()))
    texts = [text for r in [*rows, *examples] for text in (r.source, r.target)]
    small = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 1}
    small |= {"decoder_attention_heads": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    family.create(folder, small, {"vocab_size": 800}, lambda: iter(texts), ["en", "fr"], 0)
    return family.processor(folder)


def spelled(settings: Any) -> str:
    """Settings as one line of YAML."""
    if isinstance(settings, Mapping):
        return "{" + ", ".join(f"{key}: {spelled(value)}" for key, value in settings.items() if value is not None) + "}"
    return json.dumps(settings)


if __name__ == "__main__":
    main()
