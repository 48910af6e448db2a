"""Atomic writes: files and folders appear complete or not at all."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import xxhash

from consomme.common.errors import naming

# written last: if it exists, its folder is complete
MARKERS = ("provenance.json", "prepared.json")
LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)  # answers to a flush: what was written is not on the disk


@contextmanager
def whole_file(path: Path | str, mode: str = "w") -> Generator[Any]:
    """Open a file beside `path` for writing; it takes the name `path` only when the block ends without an error."""
    path = Path(path)
    temporary = _beside(path)
    with naming(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # newline="" turns off newline conversion: tables have the same bytes on every system
            encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
            with open(temporary, mode.replace("w", "x"), encoding=encoding, newline=newline) as stream:
                yield stream
            os.replace(temporary, path)
        except BaseException:
            _discard(temporary)
            raise


@contextmanager
def whole_folder(path: Path | str, read_only: bool = False) -> Generator[Path]:
    """A new empty folder beside `path`. When the block succeeds it is renamed to `path`, replacing what was there.

    Its files are on the disk before it has that name, so that a loss of power leaves it whole or not there. read_only: they
    can't be written in place any more."""
    path = Path(path)
    temporary = _beside(path)
    with naming(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            yield temporary
            follow_umask(temporary)
            if read_only:
                forbid_writing(temporary)
            to_disk(temporary)
            _replace(temporary, path)
            _flush(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _replace(folder: Path, path: Path) -> None:
    """Give a folder the name `path`. The one that had it goes, or has it again if this fails."""
    if not path.exists():
        os.replace(folder, path)
        return
    old = _beside(path)
    os.replace(path, old)
    try:
        os.replace(folder, path)
    except BaseException:
        os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def left_over(path: Path) -> list[Path]:
    """The unfinished files and folders beside `path` that killed processes left. One that is being filled is among them."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*"))


def remove_left_over(path: Path) -> None:
    """Remove them. Only for who holds the lock of `path`."""
    for found in left_over(path):
        shutil.rmtree(found)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with whole_file(path) as stream:
        stream.write(text)


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file."""
    return json.loads(read_text(path))


def read_text(path: Path | str, errors: str = "strict") -> str:
    """Read a file of UTF-8. errors: as in `open`. What a disk answers names the file."""
    with naming(Path(path), Path(path)):
        return Path(path).read_text(encoding="utf-8", errors=errors)


def hash_file(path: Path | str) -> str:
    """XXH3 of the file's bytes, 128 bits as 32 hex digits. It detects accidental differences, not intentional forgery,
    and is as fast as copying the file."""
    with naming(Path(path), Path(path)), open(path, "rb") as stream:
        return hashlib.file_digest(stream, xxhash.xxh3_128).hexdigest()


def link_file(source: Path, target: Path) -> None:
    """Hard-link `source` to `target`, which must not exist; a copy if the file system has no hard links, or if the file
    belongs to another user: Snakemake sets the times of what a job has made, which only its owner may."""
    try:
        if os.geteuid() not in (0, os.stat(source).st_uid):
            raise PermissionError
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its times and permissions, as far as the file system keeps them; whole or not at all."""
    try:
        with naming(target, target):
            shutil.copyfile(source, target)
    except BaseException:
        _discard(target)
        raise
    with suppress(PermissionError):
        shutil.copystat(source, target)


def link_tree(source: Path, target: Path) -> None:
    """Put the files of `source` into `target`: hard links if the file system has them, else copies.

    Files of the same name in `target` are replaced one by one, each atomically. A marker of something else goes first, and
    the new one comes last. What a killed process left of them goes. Several processes may do this at a time."""
    for path in (source / name for name in MARKERS):
        goal = target / path.name
        if path.exists() and goal.exists() and hash_file(goal) != hash_file(path):
            goal.unlink(missing_ok=True)
    for path in sorted(source.rglob("*"), key=lambda p: (p.name in MARKERS, p)):
        goal = target / path.relative_to(source)
        if path.is_dir():
            goal.mkdir(parents=True, exist_ok=True)
            continue
        goal.parent.mkdir(parents=True, exist_ok=True)
        for unfinished in left_over(goal):
            if unfinished.suffix[1:].isdigit():
                unfinished.unlink(missing_ok=True)
        while not _put(path, goal):
            pass


def _put(source: Path, goal: Path) -> bool:
    """Link one file to where it is to be. False if another process took it for left over before it was there."""
    temporary = goal.with_name(f".{goal.name}.{os.getpid()}")
    with naming(goal, temporary):
        try:
            link_file(source, temporary)
            os.replace(temporary, goal)
        except FileNotFoundError:
            if not source.exists() or not goal.parent.exists():
                raise
            return False
        finally:
            # renaming a hard link onto another link of the same file does nothing and leaves both
            _discard(temporary)
    return True


def copy_tree(source: Path, target: Path) -> None:
    """Copy the files of `source` into `target`, over those of the same name. Times and permissions are those of new files."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            goal = target / path.relative_to(source)
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, goal)


def follow_umask(path: Path) -> None:
    """Set the permissions of a new file, or of a new folder and all in it, to those that the umask allows. Some
    libraries, such as safetensors, write files that only the owner can read. Files with several hard links are not
    changed."""
    mask = os.umask(0)
    os.umask(mask)
    for one in (path, *path.rglob("*")):
        found = one.lstat()
        if stat.S_ISDIR(found.st_mode):
            wanted = 0o777
        elif stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            wanted = 0o777 if found.st_mode & 0o111 else 0o666
        else:
            continue
        # other bits, such as setgid, are kept
        mode = stat.S_IMODE(found.st_mode) & ~0o777 | wanted & ~mask
        if mode != stat.S_IMODE(found.st_mode):
            with suppress(PermissionError):  # a file system without permissions
                one.chmod(mode)


def forbid_writing(folder: Path) -> None:
    """Take the permission to write from all files in a folder: hard links to one of them are one file, and who writes into
    it would change all. Who replaces a file changes none of the others."""
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & 0o222:
            with suppress(PermissionError):  # a link to a file of another user
                path.chmod(stat.S_IMODE(mode) & ~0o222)


def to_disk(folder: Path) -> None:
    """Wait until all files of a folder, and their names, are on the disk."""
    for path in (*folder.rglob("*"), folder):
        if not path.is_symlink() and (path.is_file() or path.is_dir()):
            _flush(path)


def _flush(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk; not on file systems that can't say when."""
    try:
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno in LOST:
            raise OSError(error.errno, error.strerror, str(path)) from None


def _discard(path: Path) -> None:
    """Remove an unfinished file; one that can't be removed stays."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """An unused hidden name beside `path`."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}")
