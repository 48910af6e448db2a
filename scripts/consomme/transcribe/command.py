"""The command. Without `--out` it prints FILE<TAB>TEXT, a line a recording, in the order given; with it, it writes files beside
each other that players, editors and programs read. A recording that can't be transcribed is named on standard error, and the
others are transcribed all the same."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from consomme.common.errors import ConsommeError, exit_on_error
from consomme.transcribe.recordings import CHANNELS, Recording, recordings
from consomme.transcribe.written import KINDS, Said, there, write

SOME_FAILED, INTERRUPTED = 1, 130  # exit codes


def main(argv: list[str] | None = None, prog: str = "python -m consomme.transcribe") -> None:
    """The command. Exit code 1 if some recordings have no transcript, 2 and a message for errors that concern all, 130 if it
    was interrupted."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Transcribe recordings of any length. Exit code: 0; 1 if one could not be transcribed, which is named "
        "on standard error; 2 for an error that concerns all; 130 if it was interrupted.",
    )
    parser.add_argument("model", type=Path, help="a model folder, or an export for ctranslate2, onnx or whisper.cpp")
    parser.add_argument(
        "audio", type=Path, nargs="+", help="recordings (wav, flac, ogg, opus, mp3), and folders of such"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for a file a recording and format; what lies there already is not made again"
    )
    parser.add_argument(
        "--format", default="txt", help=f"of the files, one or several with commas: {', '.join(KINDS)} (default: txt)"
    )
    parser.add_argument(
        "--words",
        action="store_true",
        help="when each word is said: beside the stretches in json, a caption each in srt and vtt",
    )
    parser.add_argument(
        "--language", help="spoken language, such as en (default: the model's own; one of several languages detects it)"
    )
    parser.add_argument(
        "--channels", choices=CHANNELS, default="mean", help="of several: their mean, the first, or each by itself"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--num-beams", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(argv)
    with exit_on_error():
        if not _run(given):
            raise SystemExit(SOME_FAILED)


def _run(given: argparse.Namespace) -> bool:
    """Whether every recording has a transcript."""
    kinds = [kind.strip() for kind in given.format.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise ConsommeError(f"--format: '{kind}' given; allowed: {', '.join(KINDS)}")
    if given.out is None and kinds != ["txt"]:
        raise ConsommeError(f"--format {given.format} needs --out, a folder for the files")
    if given.words and kinds == ["txt"]:
        raise ConsommeError(f"--words: --format {given.format} has no times; allowed: json, srt, vtt, or several")
    found, others = recordings(given.audio)
    if others:
        print(f"{others} files in the folders are no recordings by their names, and are left alone", file=sys.stderr)
    todo = [one for one in found if given.out is None or not there(given.out, one.name, kinds)]
    if len(todo) < len(found):
        print(f"{len(found) - len(todo)} of {len(found)} recordings have their transcripts already", file=sys.stderr)
    failed, done = 0, 0
    try:
        for recording, segments, problem in _transcripts(given, todo, timed=kinds != ["txt"]):
            done += 1
            if problem:
                failed += 1
                print(f"error: {recording.path}: {problem}", file=sys.stderr)
            elif given.out is None:
                print(f"{recording.path}\t{' '.join(one.text for one in segments)}", flush=True)
            else:
                write(given.out, recording.name, kinds, segments)
    except KeyboardInterrupt:
        again = "; the same command goes on with the others" if given.out else ""
        print(f"interrupted: {done} of {len(todo)} recordings are done{again}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    return not failed


def _transcripts(
    given: argparse.Namespace, todo: list[Recording], timed: bool
) -> Iterator[tuple[Recording, list[Said], str]]:
    """Each recording with its segments, or with what is wrong with it, in the order given."""
    if not todo:
        return
    from consomme.transcribe.hear import open_model
    from consomme.transcribe.through import through

    asked = given.language, given.device, given.threads, given.num_beams, timed, given.words
    hearer = open_model(given.model, *asked)
    yield from through(hearer, todo, given.channels, given.out)
