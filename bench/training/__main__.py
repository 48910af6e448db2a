"""Training against other libraries: PYTHONPATH=bench python -m training [--rounds 3] [SECTION...]

speech: against transformers' speech script, with the same model, clips and batch; translation: against its translation
script; padding: share of padding in batches, and the time that a step waits for its batch; memory: peak by batch size;
dropout: time of a step with ours and with torch's; sweep: time of 16 runs beyond their own compute. errors and bleu, which
run only if named, train until their scores are meaningful.

Each training is its own process with every step timed; contenders take turns, and start-up is not counted."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from training.dropout import dropout
from training.memory import memory
from training.padding import padding
from training.quality import bleu, errors
from training.speech import speech
from training.sweep import sweep
from training.table import Line, keep, show
from training.translation import translation
from training.workbench import PRECISIONS, REPOSITORY, Bench

SECTIONS: dict[str, Callable[[Bench], Iterator[list[Line]]]] = {
    "speech": speech,
    "translation": translation,
    "padding": padding,
    "memory": memory,
    "dropout": dropout,
    "sweep": sweep,
    "errors": errors,
    "bleu": bleu,
}
DEFAULT = ("speech", "translation", "padding", "memory", "dropout", "sweep")


def main() -> None:
    """Measure, print the table, write the rows to results/bench/training.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of: {', '.join(SECTIONS)}; default: {', '.join(DEFAULT)}"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of docs/data.md")
    parser.add_argument("--lhotse", type=Path, help="a folder with lhotse: pip install --target FOLDER lhotse")
    parser.add_argument("--place", type=Path, help="folder that keeps corpora and models; default: a temporary one")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="of speech, translation")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, to try the script")
    given = parser.parse_args()
    unknown = [name for name in given.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section '{unknown[0]}'; allowed: {', '.join(SECTIONS)}")
    os.environ |= {"OMP_NUM_THREADS": str(given.threads), "TOKENIZERS_PARALLELISM": "false"}
    more = [str(REPOSITORY / "scripts"), os.environ.get("PYTHONPATH"), given.lhotse and str(given.lhotse.resolve())]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, more))
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    print("| measured | ours | peer | ratio | bar | holds |\n| --- | --- | --- | --- | --- | --- |")
    for name in given.sections or DEFAULT:
        with contextlib.ExitStack() as stack:
            place = given.place or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            place.mkdir(parents=True, exist_ok=True)
            bench = Bench(
                place.resolve(), given.rounds, given.threads, given.data, given.lhotse, given.smoke, given.precision
            )
            began, lines = time.monotonic(), []
            for some in SECTIONS[name](bench):
                show(some)
                lines += some
        print(f"\n{name}: {time.monotonic() - began:.0f} s\n", flush=True)
        keep(name, lines)


if __name__ == "__main__":
    main()
