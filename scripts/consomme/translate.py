"""Translate a text: python -m consomme.translate MODEL [FILE]

Reads sentences, one per line, from FILE or standard input, and prints their translations, one per line, in that order."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from consomme.common.errors import ConsommeError, exit_on_error
from consomme.common.files import read_json


def main(argv: list[str] | None = None, prog: str = "python -m consomme.translate") -> None:
    """The command. Exit code 2 and a message for errors that the user can correct."""
    parser = argparse.ArgumentParser(prog=prog, description="Translate sentences.")
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument("file", type=Path, nargs="?", help="UTF-8 text, one sentence a line (default: standard input)")
    parser.add_argument(
        "--languages", nargs=2, metavar=("SOURCE", "TARGET"), help="of a model of many languages (default: its own)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--num-beams", type=int, default=4)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(argv)
    with exit_on_error():
        for line in _translated(given):
            print(line)


def _translated(given: argparse.Namespace) -> list[str]:
    import torch

    from consomme.families import family_of, load

    if given.file is not None and not given.file.is_file():
        raise ConsommeError(f"{given.file}: no such file")
    family = family_of(given.model)
    if family.task != "nmt":
        raise ConsommeError(
            f"{given.model}: a model of family {family.name} recognises speech; use consomme.transcribe"
        )
    data = given.file.read_bytes() if given.file else sys.stdin.buffer.read()
    # only the line feed ends a sentence; splitlines() would also split at other characters
    lines = [line.rstrip("\r") for line in data.decode("utf-8").removesuffix("\n").split("\n")] if data else []
    torch.set_num_threads(given.threads)
    languages = given.languages or _languages(given.model)
    model, processor = load(given.model, given.device), family.processor(given.model, languages)
    features = {i: family.features(processor, line) for i, line in enumerate(lines) if line.strip()}
    order = sorted(features, key=lambda i: -len(features[i]))  # sort by length: less padding
    results = [""] * len(lines)
    decoding = {"num_beams": given.num_beams, "max_new_tokens": given.max_new_tokens}
    for start in range(0, len(order), given.batch_size):
        chosen = order[start : start + given.batch_size]
        batch = family.collate(processor, [features[i] for i in chosen], None)
        texts = family.generate(model, processor, batch, languages, decoding)
        for i, text in zip(chosen, texts, strict=True):
            results[i] = " ".join(text.split())
    return results


def _languages(model: Path) -> list[str]:
    """The languages that the model was trained for, from its folder."""
    file = model / "provenance.json"
    return list(read_json(file).get("languages") or []) if file.is_file() else []


if __name__ == "__main__":
    main()
