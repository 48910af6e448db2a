"""Translate a text: python -m consomme.translate MODEL [FILE]

Reads sentences, one per line, from FILE or standard input, and prints their translations, one per line, in that order, or writes
them to a file. A line that can't be translated is named on standard error, and its place is an empty line."""

from __future__ import annotations

import argparse
import codecs
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from consomme.common.errors import ConsommeError, Unusable, exit_on_error
from consomme.common.files import read_json
from consomme.common.progress import progress

SOME_FAILED, INTERRUPTED = 1, 130  # exit codes
BLOCK = 1024  # lines at a time, so that an interruption loses no more


def main(argv: list[str] | None = None, prog: str = "python -m consomme.translate") -> None:
    """The command. Exit code 1 if some lines have no translation, 2 and a message for errors that concern all."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Translate sentences. Exit code: 0; 1 if a line could not be translated, which is named on standard "
        "error and empty in the output; 2 for an error that concerns all.",
    )
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument("file", type=Path, nargs="?", help="UTF-8 text, one sentence a line (default: standard input)")
    parser.add_argument(
        "--out",
        type=Path,
        help="file for the translations; an interrupted command goes on where it was (default: print)",
    )
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
        problems, cut = _run(given)
        for number in sorted(cut):
            print(f"warning: {_place(given, number)}: cut, no end came within --max-new-tokens", file=sys.stderr)
        for number, problem in sorted(problems.items()):
            print(f"error: {_place(given, number)}: {problem}", file=sys.stderr)
        if problems:
            raise SystemExit(SOME_FAILED)


def _place(given: argparse.Namespace, number: int) -> str:
    return f"{given.file or 'standard input'}, line {number + 1}"


def _run(given: argparse.Namespace) -> tuple[dict[int, str], set[int]]:
    """Translate all lines, block by block, to where they are wanted. Returns what is wrong with those lines that have no
    translation (number, from 0 -> words), and the numbers of those whose translation was cut."""
    if given.file is not None and not given.file.is_file():
        raise ConsommeError(f"{given.file}: no such file")
    lines, problems = _lines(given.file.read_bytes() if given.file else sys.stdin.buffer.read())
    part = given.out.with_name(f"{given.out.name}.part") if given.out else None
    done = _kept(part, len(lines)) if part else 0
    if done:
        print(f"{done} of {len(lines)} lines are there already", file=sys.stderr)
    translate, cut = _translator(given), set[int]()
    sink = open(part, "a", encoding="utf-8") if part else sys.stdout  # noqa: SIM115
    try:
        with progress(len(lines), "lines", done) as advance:
            for start in range(done, len(lines), BLOCK):
                found, wrong, short = translate(lines[start : start + BLOCK])
                problems |= {start + i: problem for i, problem in wrong.items()}
                cut |= {start + i for i in short}
                sink.write("".join(f"{line}\n" for line in found))
                sink.flush()
                done = start + len(found)
                advance(len(found))
    except KeyboardInterrupt:
        again = "; the same command goes on there" if part else ""
        print(f"interrupted: {done} of {len(lines)} lines are translated{again}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    finally:
        if part:
            sink.close()
    if part:
        part.replace(given.out)
    return problems, cut


def _kept(part: Path, most: int) -> int:
    """How many whole lines are there of an interrupted translation; a torn last one is taken away."""
    if not part.is_file():
        return 0
    data = part.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    count = min(whole.count(b"\n"), most)
    if whole.count(b"\n") > most or len(whole) < len(data):
        part.write_bytes(b"".join(line + b"\n" for line in whole.split(b"\n")[:count]))
    return count


Translate = Callable[[Sequence[str]], tuple[list[str], dict[int, str], set[int]]]


def _translator(given: argparse.Namespace) -> Translate:
    """What translates some lines: the translations, and by the line's number, from 0, what is wrong, and which were cut."""
    import torch

    from consomme.families import family_of, load

    family = family_of(given.model)
    if family.task != "nmt":
        raise ConsommeError(
            f"{given.model}: a model of family {family.name} recognises speech; use consomme.transcribe"
        )
    torch.set_num_threads(given.threads)
    languages = given.languages or _languages(given.model)
    model, processor = load(given.model, given.device), family.processor(given.model, languages)
    decoding = {"num_beams": given.num_beams, "max_new_tokens": given.max_new_tokens}

    def translate(lines: Sequence[str]) -> tuple[list[str], dict[int, str], set[int]]:
        features, problems = {}, dict[int, str]()
        for i, line in enumerate(lines):
            if line.strip():
                try:
                    features[i] = family.features(processor, line, languages)
                except Unusable as error:
                    problems[i] = str(error)
        order = sorted(features, key=lambda i: -len(features[i]))  # sort by length: less padding
        results, cut = [""] * len(lines), set[int]()
        for start in range(0, len(order), given.batch_size):
            chosen = order[start : start + given.batch_size]
            batch = family.collate(processor, [features[i] for i in chosen], None)
            said = family.decode(model, processor, batch, languages, decoding)
            for i, hypothesis in zip(chosen, said, strict=True):
                results[i] = " ".join(hypothesis.text.split())
                if hypothesis.cut:
                    cut.add(i)
        return results, problems, cut

    return translate


def _lines(data: bytes) -> tuple[list[str], dict[int, str]]:
    """The lines of a UTF-8 text, and what is wrong with those that are none, which are empty. ConsommeError for UTF-16."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConsommeError("the text is UTF-16, and UTF-8 is needed; convert it: iconv -f utf-16 -t utf-8 FILE")
    data = data.removeprefix(codecs.BOM_UTF8)
    lines, problems = [], {}
    # only the line feed ends a sentence; splitlines() would also split at other characters
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else ()):
        try:
            lines.append(line.decode("utf-8").rstrip("\r"))
        except UnicodeDecodeError as error:
            lines.append("")
            problems[number] = (
                f"no UTF-8 (byte {line[error.start]:#04x} at place {error.start + 1}); if the file is Latin-1, convert it: "
                "iconv -f latin1 -t utf-8 FILE"
            )
    return lines, problems


def _languages(model: Path) -> list[str]:
    """The languages that the model was trained for, from its folder."""
    file = model / "provenance.json"
    return list(read_json(file).get("languages") or []) if file.is_file() else []


if __name__ == "__main__":
    main()
