"""Check what lies in a folder of results against what was recorded when it was made. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from consomme.common import content
from consomme.common.files import MARKERS, hash_file, read_json
from consomme.common.progress import progress
from consomme.common.provenance import NAME, WEIGHTS, hash_weights
from consomme.common.tidied import tidied
from consomme.plan.items import RESULTS
from consomme.register import chain
from consomme.report.write import REPORTED

COSTS, PAGE = "costs.tsv", "report.html"
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
Found = Iterator["Damage"]


@dataclass(frozen=True)
class Damage:
    """Something that isn't as it was made, and what to do about it."""

    what: str
    remedy: str


def verify(results: Path) -> bool:
    """Print what is damaged in the folder `results`, and what to remove so that the next run makes it anew. Returns whether
    all is whole."""
    folders = [*_finished(results), *_kept(results)]
    with progress(sum(map(_bytes, folders)) / 2**20, "MiB") as advance:
        read = _Reader(advance)
        found = [damage for folder in folders for damage in _folder(folder, read)]
    readable = not any(damage.what.startswith(f"{results / 'prepared'}{os.sep}") for damage in found)
    absent = [folder for folder in sorted(results.glob("prepared/*")) if tidied(folder)]
    unknown = [folder for folder in _finished(results) if _unrecorded(folder)]
    for experiment in sorted(path for path in results.iterdir() if path.is_dir()):
        said = list(_hypotheses(experiment))
        found += [*said, *_tables(experiment), *_links(experiment), *_register(experiment)]
        # what they would be counted from is to be made anew first
        if readable and not said and not absent and (experiment / "scores.tsv").is_file():
            found += _scores(experiment)
    for damage in dict.fromkeys(found):
        print(f"damaged: {damage.what}\n         {damage.remedy}")
    if absent:
        print(f"not here but in a store, so scores were not counted anew: {', '.join(map(str, absent))}")
    for folder in unknown:
        print(f"made before hashes of files were recorded, so only its weights were checked: {folder}")
    print(f"{len(folders)} models and corpora, {read.bytes / 2**20:.1f} MiB read: {_counted(len(set(found)))}")
    return not found


def _counted(damages: int) -> str:
    return "all is whole" if not damages else f"{damages} damaged"


class _Reader:
    """Hashes files, each once, whatever names it has."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self.advance, self.bytes = advance, 0
        self.known: dict[tuple[int, int], str] = {}

    def __call__(self, path: Path) -> str:
        status = path.stat()
        key = status.st_dev, status.st_ino
        if key not in self.known:
            self.known[key] = _hash(path)
            self.bytes += status.st_size
        self.advance(status.st_size / status.st_nlink / 2**20)
        return self.known[key]


# -- models and corpora ------------------------------------------------------------------------------------------------
def _damaged(folder: Path, hash_of: Callable[[Path], str]) -> list[str]:
    """The files that aren't what was recorded. What can't be read isn't."""
    try:
        return content.damaged(folder, hash_of)
    except OSError:
        return [content.NAME]


def _hash(path: Path) -> str:
    """The hash of a file; empty where it can't be read."""
    try:
        return hash_file(path)
    except OSError:
        return ""


def _finished(results: Path) -> list[Path]:
    """The folders of finished models and prepared corpora."""
    found = [*results.glob("*/models/*"), *results.glob("prepared/*")]
    return sorted(path for path in found if any((path / marker).exists() for marker in MARKERS))


def _kept(results: Path) -> list[Path]:
    """The folders in which finished work is found again."""
    return sorted(results.glob("*/state/*/*/finished"))


def _bytes(folder: Path) -> float:
    """Hard links to a file of several folders count as its share."""
    return sum(s.st_size / s.st_nlink for s in (p.stat() for p in folder.rglob("*") if p.is_file()))


def _folder(folder: Path, read: _Reader) -> Found:
    if names := _damaged(folder, read):
        yield Damage(f"{folder}: {', '.join(names)}", f"rm -r {folder}, and run again")
    elif _unrecorded(folder) and (folder / NAME).exists():
        weights = folder / WEIGHTS
        try:
            known = read_json(folder / NAME)["weights"]
        except UNREADABLE:
            known = ""
        if known != (read(weights) if weights.is_file() else hash_weights(folder)):
            yield Damage(f"{folder}: weights or {NAME}", f"rm -r {folder}, and run again")


def _unrecorded(folder: Path) -> bool:
    return not (folder / content.NAME).exists() and not tidied(folder)


# -- hypotheses, scores and tables -------------------------------------------------------------------------------------
def _hypotheses(experiment: Path) -> Found:
    for index in sorted(experiment.glob("hypotheses/*/*.json")):
        try:
            sets = [(_beside(index, entry["path"]), entry.get("content")) for entry in read_json(index)["sets"]]
        except UNREADABLE:
            yield Damage(str(index), f"rm {index}, and run again")
            continue
        for path, known in sets:
            if not path.is_file() or known not in (None, _hash(path)):
                yield Damage(f"{path}: not what the model said", f"rm {index}, and run again")


def _beside(index: Path, path: str) -> Path:
    """A file that an index names by its path from where the run was started."""
    parts = Path(path).parts
    return index.parent.joinpath(*parts[parts.index(index.parent.name) + 1 :])


def _tables(experiment: Path) -> Found:
    # what is not there is made by the next run
    for name in _damaged(experiment, _hash):
        if (path := experiment / name).exists():
            source = path if name == COSTS else experiment / PAGE
            yield Damage(f"{path}: not as it was written", f"rm {source}, and run again")


def _scores(experiment: Path) -> Found:
    """Scores that the hypotheses don't give. Those of other programs are left out."""
    from consomme.report.outcomes import Outcomes
    from consomme.results.columns import SCORES
    from consomme.results.frames import number, read

    remedy = f"rm {experiment / PAGE}, and run again"
    table = experiment / "scores.tsv"
    try:
        rows = read(table, SCORES)
        written = dict(zip(zip(*(rows[name] for name in PLACE), strict=True), rows["value"], strict=True))
        spec = _without_commands(read_json(experiment / REPORTED))
        with TemporaryDirectory() as cache, _where_it_ran(experiment):
            outcomes = Outcomes(spec, Path(cache), threads=1)
            metrics = [*outcomes.metrics, *outcomes.details]
            wrong = []
            for sheet in (*outcomes.sheets.values(), *outcomes.others):
                for metric in metrics:
                    place = (sheet.model, sheet.replicate, sheet.split, sheet.set, sheet.decoding, metric)
                    value = outcomes.metric(metric).value(outcomes.statistics(sheet, metric).sum(axis=0))
                    if number(written.get(place)) != number(float(value)):
                        wrong.append(f"{sheet.model} {sheet.split} {sheet.set} {metric}")
    except Exception as error:
        yield Damage(f"{table}: can't be counted anew from the hypotheses: {error}", remedy)
        return
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        yield Damage(f"{table}: not what the hypotheses give: {', '.join(wrong[:3])}{more}", remedy)


PLACE = ("model", "replicate", "split", "set", "decoding", "metric")


def _without_commands(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec of a report without the metrics of other programs, which aren't started here."""
    commands = spec.get("commands") or {}
    return {**spec, "commands": {}, "metrics": [name for name in spec.get("metrics", []) if name not in commands]}


def _where_it_ran(experiment: Path) -> chdir[Path]:
    """The folder that the paths of specs start from."""
    results = experiment.resolve().parent
    if results.name != RESULTS:
        raise ValueError(f"its folder is not named {RESULTS}")
    return chdir(results.parent)


# -- links and claims --------------------------------------------------------------------------------------------------
def _links(experiment: Path) -> Found:
    for path in sorted((experiment / "current").rglob("*")):
        if path.is_symlink() and not path.exists():
            yield Damage(
                f"{path}: a link to {os.readlink(path)}, which is not there", f"rm {experiment / PAGE}, and run again"
            )


def _register(experiment: Path) -> Found:
    path = experiment / chain.NAME
    if (broken := chain.read(path).broken) is not None:
        yield Damage(
            f"{path}: line {broken} is not as it was written",
            "nothing makes it anew; the report says that it is broken",
        )
