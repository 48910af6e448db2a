"""Results in a store: what a job reads is brought here before it begins, and what it makes is kept there.

Snakemake's storage plugin knows the files that rules name, and has copies of them in .snakemake/storage. All else of a model or
corpus, hypotheses and checkpoints go past it, through here. Stages know of neither: they work in results/, as on one machine.

The store is CONSOMME_STORE, an address like s3://BUCKET/FOLDER, which the workflow sets. Without it nothing is done."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from consomme.common import stores
from consomme.common.addresses import parts
from consomme.common.errors import ConsommeError
from consomme.common.files import link_file, whole_file

STORE = "CONSOMME_STORE"
# of an experiment's folder, what jobs read and no job's own folder has
EXPERIMENT = ("claims.jsonl", "content.json", "costs.tsv")
TEXTS = (".json", ".jsonl", ".tsv", ".csv", ".txt", ".md", ".tex", ".html")
FINISHED, LOCK = "finished", "lock"  # of a state: the result once more, and a file for this machine alone
# path -> size and time of this machine's file, which the store has, too
_same: dict[Path, tuple[int, int]] = {}


def store() -> str:
    """The address of the store; empty without one."""
    return os.environ.get(STORE, "").rstrip("/")


def here(path: Path) -> Path:
    """The name in the working folder of what Snakemake names by its copy, .snakemake/storage/PROVIDER/BUCKET/FOLDER/NAME."""
    if not store():
        return path
    _, found, name = path.as_posix().partition(f"/{parts(store())[1]}/")
    return Path(name) if found else path


def bring(*places: Path, wanted: Callable[[Path], bool] = lambda path: True) -> int:
    """Fetch the files below these folders, or of these names, of which this machine has none, or older ones. Returns how many the
    store has."""
    if not store():
        return 0
    with ThreadPoolExecutor(stores.THREADS) as pool:
        files = {path: info for found in pool.map(_listed, map(_inside, places)) for path, info in found.items()}
        files = {path: info for path, info in files.items() if wanted(path)}
        for _ in pool.map(_fetch, files, files.values()):
            pass
    return len(files)


def sizes(place: Path) -> dict[Path, int]:
    """The bytes of the store's files below a folder."""
    return {path: info["size"] for path, info in _listed(place).items()}


def light(path: Path) -> bool:
    """Whether it is a text of finished work: no weights, no audio, no unfinished work."""
    return path.suffix in TEXTS and "state" not in path.parts


def keep(*places: Path) -> None:
    """Put the files below these folders, or of these names, into the store, and remove from it what was there and is gone here.

    Not among them: links, files that are being written, and what a state has for this machine alone."""
    if not store():
        return
    for place in map(_inside, places):
        files = {path: _version(path) for path in _files(place)}
        new = [path for path, version in files.items() if _same.get(path) != version]
        with ThreadPoolExecutor(stores.THREADS) as pool:
            for _ in pool.map(_put, new):
                pass
        _same.update({path: files[path] for path in new})
        _remove_gone(place)


def _remove_gone(place: Path) -> None:
    gone = [path for path in _same if path.is_relative_to(place) and not path.exists()]
    with ThreadPoolExecutor(stores.THREADS) as pool:
        for _ in pool.map(_remove, gone):
            pass
    for path in gone:
        del _same[path]


def try_out(address: str) -> None:
    """Write an object there, read it and remove it. ConsommeError where that can't be."""
    name = f"{address.rstrip('/')}/.consomme-{secrets.token_hex(4)}"
    try:
        stores.asked(name, lambda system: system.pipe_file(name, b"x"), "written")
        stores.asked(name, lambda system: system.cat_file(name))
        stores.asked(name, lambda system: system.rm_file(name), "written")
    except stores.Absent:
        raise ConsommeError(_no_bucket(address)) from None


@contextmanager
def carried(state: Path) -> Generator[None]:
    """Around work whose unfinished parts lie in this folder: bring what was begun elsewhere, and keep it if this fails."""
    bring(state)
    try:
        yield
    except BaseException:
        keep(state)
        raise


@contextmanager
def mirrored(inputs: Iterable[Path], out: Path, state: Path, named: Iterable[Path]) -> Generator[None]:
    """Around a job that makes the folder or file `out`: bring what it reads and had begun, and keep what it made, or has begun by
    now. named: the names of copies of those of its files that Snakemake keeps; they get these names last."""
    if not store():
        yield
        return
    files = {here(path): path for path in named}
    made = out if out.suffix == "" else out.parent
    experiment = _experiment(out)
    ours = [experiment / name for name in EXPERIMENT] if experiment else []
    ours += [] if made == experiment else [made]
    bring(*inputs, *ours)
    with carried(state):
        yield
    there = [path for path, copy in files.items() if copy != path and path.exists()]
    _same.update({path: _version(path) for path in there})  # Snakemake's plugin puts them there
    keep(*ours)
    # now that the result is there, what it was made from goes, also that of a sweep's other rungs
    keep(state)
    _remove_gone(_inside(state).parent)
    for path in there:
        files[path].parent.mkdir(parents=True, exist_ok=True)
        files[path].unlink(missing_ok=True)
        link_file(path, files[path])


def _experiment(out: Path) -> Path | None:
    """results/EXPERIMENT, for what lies in it."""
    path = _inside(out)
    return Path(*path.parts[:2]) if len(path.parts) > 1 and path.parts[1] != "prepared" else None


# -- files and their addresses -----------------------------------------------------------------------------------------
def _inside(path: Path) -> Path:
    """The path from the working folder on."""
    path = here(path)
    return Path(os.path.relpath(path)) if path.is_absolute() else path


def _address(path: Path) -> str:
    return f"{store()}/{path.as_posix()}"


def _files(place: Path) -> Iterator[Path]:
    if place.is_file() and not place.is_symlink():
        yield place
    for root, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name != FINISHED and not name.startswith(".")]
        paths = (Path(root, name) for name in names if name != LOCK and not name.startswith("."))
        yield from (path for path in paths if not path.is_symlink())


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _listed(place: Path) -> dict[Path, stores.Info]:
    """Path: what the store says of it, for all of its files in that place."""
    found = stores.info(_address(place))
    if found is None or found["type"] == "file":
        return {place: found} if found else {}
    start = f"{stores.inside(store())}/"
    names = {info["name"].strip("/").removeprefix(start): info for info in stores.files(_address(place), "find")}
    for name in names:
        if ".." in name.split("/") or not Path(name).is_relative_to(place):
            raise ConsommeError(
                f"{store()} has an object whose name leads out of {place}: {name!r}. Look who put it there"
            )
    return {Path(name): info for name, info in names.items()}


def _fetch(path: Path, info: stores.Info) -> None:
    seconds = max(stores.times(info), default=0.0)
    try:
        found = path.stat()
        older = found.st_mtime < seconds or found.st_size != info["size"]
    except FileNotFoundError:
        older = True
    if older:
        with whole_file(path, "wb") as stream:
            stores.asked(_address(path), lambda system: system.get_file(_address(path), stream.name))
        os.utime(path, (seconds, seconds))
    _same[path] = _version(path)


def _put(path: Path) -> None:
    try:
        stores.asked(_address(path), lambda system: system.put_file(str(path), _address(path)), "written")
    except stores.Absent:
        raise ConsommeError(_no_bucket(store())) from None


def _no_bucket(address: str) -> str:
    return f"{address}: there is no such bucket or container: make it first"


def _remove(path: Path) -> None:
    try:
        stores.asked(_address(path), lambda system: system.rm_file(_address(path)), "written")
    except stores.Absent:
        return
