"""Files in stores, by address: a copy of each on this disk, made whole or not at all, and shared by all working folders.

In the cache folder, `urls/SCHEME/...` has the names that the store has, each a link into `objects/`, where a copy is called
after a digest of its address and of what the store says of its content. A name's link is made when the store is asked, and
dangles until the copy is fetched, so that a name without its content can't be taken for a file."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from consomme.common import stores
from consomme.common.addresses import SCHEMES, parts
from consomme.common.digest import canonical
from consomme.common.errors import ConsommeError
from consomme.common.files import whole_file
from consomme.common.log import say
from consomme.common.stores import THREADS, WEB, Away, Info

LISTED = 50  # names of one folder from which on it is listed instead of asking for each
# what a store calls a hash of the content, or else a number of its version
CHECKSUMS = ("md5Hash", "content_md5", "Content-MD5", "ETag", "etag")


def cache() -> Path:
    """The folder of all copies: CONSOMME_CACHE, by default ~/.cache/consomme."""
    return _cache(os.environ.get("CONSOMME_CACHE"))


def view(address: str) -> Path:
    """The name on this disk of what has that address. ConsommeError for an address that can't be read."""
    scheme, rest = parts(address)
    rest = unquote(rest) if scheme in WEB else rest
    return Path(os.path.normpath(_names() / scheme / rest.strip("/")))


def viewed(path: object) -> bool:
    """Whether it is a path that `view` gave, or one from there on."""
    return isinstance(path, Path) and str(path).startswith(f"{_names()}{os.sep}")


def address_of(path: Path) -> str:
    """The address of such a path."""
    scheme, _, rest = os.path.relpath(os.path.normpath(path), _names()).partition(os.sep)
    if scheme not in SCHEMES or not rest:
        raise ConsommeError(f"{path} leads out of the store that its table lies in")
    if scheme in WEB:
        rest = quote(rest, safe="/:@!$&()*+,;=~")
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"


def with_addresses(text: str) -> str:
    """A message in which such paths are addresses."""
    names = re.escape(str(_names()))
    return re.sub(rf"{names}/(\w+)/", lambda found: f"{found[1]}://{'/' if found[1] == 'file' else ''}", text)


def brought(address: str, endings: Iterable[str]) -> Path:
    """`view(address)`, after the objects called ADDRESS + ending, as far as they are there, have been fetched; of an ending /,
    and of a folder, the names alone. Each is asked for once in a process.

    Raises ConsommeError where the store can't be read, and Away where it can't be reached and the cache doesn't have it."""
    wanted = [view(address + ending) for ending in endings if ending != "/"]
    if "/" in endings:
        _list(address)
    here = [path for path, found in zip(wanted, look(wanted), strict=True) if found]
    absent = [path for path in here if not path.exists()]
    fetch(here)
    for path in absent:
        if path.exists():
            say(f"fetched {address_of(path)}, {path.stat().st_size / 2**20:.1f} MiB")
    return view(address)


# -- what the store has -------------------------------------------------------------------------------------------------
# address -> the digest of the object, "" for none there; what this process knows
_known: dict[str, str] = {}
_folders: set[str] = set()  # addresses, with / at the end, below which all names are known


def forget() -> None:
    """Ask all stores anew."""
    _known.clear()
    _folders.clear()
    stores.forget()


def look(paths: Collection[Path]) -> list[str]:
    """The digest of each object, by its path as of `view`; an empty one for what the store doesn't have.

    Stores that can't be reached are taken as they were found last; Away, if some of the names were never found."""
    addresses = [address_of(path) for path in paths]
    if unknown := [a for a in dict.fromkeys(addresses) if a not in _known and not _below(a)]:
        _ask(unknown)
    return [_known.get(address, "") for address in addresses]


def _below(address: str) -> bool:
    return any(address.startswith(folder) for folder in _folders)


def _ask(addresses: list[str]) -> None:
    if _kept():
        _known.update({address: found for address in addresses if (found := _linked(address))})
    folders: dict[str, list[str]] = {}
    for address in addresses:
        if address not in _known:
            folders.setdefault(address.rpartition("/")[0], []).append(address)
    single = []
    for folder, several in folders.items():
        if len(several) > LISTED and parts(folder)[0] not in WEB:
            _answer(several, functools.partial(_listed, folder))
        else:
            single += several
    _answer(single, _each)


def _answer(addresses: list[str], ask: Callable[[list[str]], Iterable[Info | None]]) -> None:
    """Keep what a store says of these addresses, or else what it said last."""
    try:
        found = [*ask(addresses)]
    except Away as error:
        kept = {address: _linked(address) for address in addresses}
        if not any(kept.values()):
            raise _nor_here(error) from None
        say(f"caution: {error}; its files are taken as they were found last")
        _known.update(kept)
        return
    for address, info in zip(addresses, found, strict=True):
        if info and info["type"] == "directory":
            _known[address] = ""
            _list(address)
        else:
            _link(address, _digest(address, info) if info else "")


def _each(addresses: list[str]) -> Iterator[Info | None]:
    """What is said of each address. One is asked for before all others: where a network is away, each would wait for it."""
    yield from map(stores.info, addresses[:1])
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(stores.info, addresses[1:])


def _listed(folder: str, addresses: list[str]) -> list[Info | None]:
    """The same, from a list of the folder that all of them are in."""
    there = {info["name"].strip("/"): info for info in stores.files(folder, "ls")}
    return [there.get(stores.inside(address)) for address in addresses]


def _list(address: str) -> None:
    """Know all names below an address."""
    folder = address.rstrip("/") + "/"
    if folder in _folders:
        return
    before = [address_of(path) for path in _links(view(address))]
    if before and _kept():
        _known.update({address: _linked(address) for address in before})
    else:
        try:
            found = _below_of(address)
        except Away as error:
            if not before:
                raise _nor_here(error) from None
            say(f"caution: {error}; its files are taken as they were found last")
            _known.update({address: _linked(address) for address in before})
        else:
            for name in before:
                if name not in found:
                    _link(name, "")
            for name, info in found.items():
                _link(name, _digest(name, info))
    _folders.add(folder)


def _below_of(address: str) -> dict[str, Info]:
    """Address: what is said of it, for all objects below an address."""
    start = f"{stores.inside(address)}/"
    found = {}
    for info in stores.files(address, "find"):
        name = info["name"].strip("/").removeprefix(start)
        found[address_of(view(f"{address.rstrip('/')}/{name}"))] = info
    # the links of a page are nothing but names
    bare = [name for name, info in found.items() if info.get("size") is None]
    found |= {name: info for name, info in zip(bare, _each(bare), strict=True) if info}
    return {name: info for name, info in found.items() if name not in bare or info.get("size") is not None}


def _links(folder: Path) -> Iterator[Path]:
    """The names below a folder of the cache. Those whose copies are not there count."""
    for root, folders, files in os.walk(folder):
        yield from (path for name in (*files, *folders) if (path := Path(root, name)).is_symlink())


def _kept() -> bool:
    """Whether what was found before needs no other look: jobs of a cluster take what the workflow's own process has found."""
    return os.environ.get("CONSOMME_URLS") == "kept"


def _linked(address: str) -> str:
    """The digest that an address had when it was asked for last."""
    try:
        return Path(os.readlink(view(address))).name
    except OSError:
        return ""


def _link(address: str, found: str) -> None:
    """Keep what an address has."""
    path = view(address)
    _known[address] = found
    if found == _linked(address):
        return
    try:
        if not found:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{secrets.token_hex(6)}")
        beside.symlink_to(os.path.relpath(_object(found), path.parent))
        os.replace(beside, path)
    except OSError as error:
        raise ConsommeError(f"{address} can't have a name in {cache()}: {error.strerror}") from None


def _digest(address: str, info: Mapping[str, Any]) -> str:
    """A name for the content: of the checksum that the store gives, or else of its size and time."""
    told = (info.get("content_settings") or {}).get("content_md5")  # Azure's; others have it among the rest
    told = told or next((info[key] for key in CHECKSUMS if info.get(key)), None)
    told = told or [str(time) for time in stores.times(info)]
    if not told:
        raise ConsommeError(
            f"{address}: its server tells no checksum and no time, so that changes would not be noticed: fetch it yourself"
        )
    told = told.hex() if isinstance(told, bytes | bytearray) else told.strip('"') if isinstance(told, str) else told
    return hashlib.blake2b(canonical([address, info.get("size"), told]).encode(), digest_size=16).hexdigest()


def _nor_here(error: Away) -> Away:
    return Away(f"{error}, and there is no copy in {cache()}: fetch it where there is a network, by the same command")


# -- copies -------------------------------------------------------------------------------------------------------------
def fetch(paths: Collection[Path]) -> None:
    """Fetch the objects that are there, and not on this disk yet. Others than those of `view` are left alone.

    Raises ConsommeError where an object can't be fetched, or isn't any more what the store had when it was asked."""
    wanted = [path for path in paths if viewed(path) and not path.exists()]
    if not wanted:  # as of every corpus on a disk, row by row
        return
    found = {path: digest for path, digest in zip(wanted, look(wanted), strict=True) if digest}
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(_fetch, map(address_of, found), found.values()):
            pass


def contents(paths: Collection[Path]) -> dict[Path, bytes]:
    """The bytes of the objects that are there, which leave no copy. Others than those of `view` are left alone."""

    def content(path: Path) -> bytes | None:
        address = address_of(path)
        try:
            return stores.asked(address, lambda store: store.cat_file(address))
        except stores.Absent:
            return None

    wanted = [path for path in paths if viewed(path)]
    if not wanted:
        return {}
    with ThreadPoolExecutor(THREADS) as pool:
        found = zip(wanted, pool.map(content, wanted), strict=True)
        return {path: bytes_ for path, bytes_ in found if bytes_ is not None}


@contextlib.contextmanager
def borrowed(path: Path) -> Generator[Path]:
    """An object as a file that is there only inside of this, unless there is a copy. Other paths than those of `view` are given
    back. Raises ConsommeError as `fetch` does."""
    if not viewed(path) or path.exists():
        yield path
        return
    (found,) = look([path])
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="borrowed-", dir=cache()) as folder:
        place = Path(folder, path.name)
        try:
            _copy(address_of(path), found, place)
        except stores.Absent:
            raise ConsommeError(f"{address_of(path)} isn't there") from None
        yield place


def _fetch(address: str, digest: str) -> None:
    place = _object(digest)
    if not place.exists():
        try:
            _copy(address, digest, place)
        except stores.Absent:
            _link(address, "")
            return
    _link(address, digest)


def _copy(address: str, digest: str, place: Path) -> None:
    """Copy the object with that digest to `place`. Raises Absent where the store doesn't have it."""
    try:
        with whole_file(place, "wb") as stream:
            stores.asked(address, lambda store: store.get_file(address, stream.name))
            info, size = stores.info(address), os.stat(stream.name).st_size
            if not info or _digest(address, info) != digest or info.get("size") not in (None, size):
                raise ConsommeError(f"{address} is not what it was when the store was asked for it: start again")
    except Away as error:
        raise _nor_here(error) from None
    except OSError as error:
        raise ConsommeError(f"{address} can't be copied to {place}: {error.strerror or error}") from None


@functools.lru_cache
def _cache(given: str | None) -> Path:
    return Path(given or Path.home() / ".cache" / "consomme").absolute()


def _names() -> Path:
    return cache() / "urls"


def _object(digest: str) -> Path:
    return cache() / "objects" / digest[:2] / digest
