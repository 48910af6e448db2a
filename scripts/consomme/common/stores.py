"""Stores in clouds, and the web, by fsspec: what they have, and what they answer, in words. Logins come from the environment or
the machine's identity."""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from consomme.common.addresses import SCHEMES, need_package, parts, without_secrets
from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

THREADS = 16  # requests at once
WEB = ("http", "https")  # names are quoted, and folders have no lists but pages of links
TIMES = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime", "created")
LOGIN = {
    "s3": "AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the machine's role; FSSPEC_S3_ANON=true for a public bucket",
    "azure": "AZURE_STORAGE_ACCOUNT_NAME with a managed identity or `az login`, or AZURE_STORAGE_CONNECTION_STRING",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the machine's service account",
    "": "here there is none: what the web has is read without a login",
}
# the classes of errors, of several packages, by what has happened
DENIED = re.compile(
    r"Credential|AuthenticationError|Unauthorized|Forbidden|AccessDenied|Permission|RefreshError|TokenRetrieval",
    re.IGNORECASE,
)
AWAY = re.compile(
    r"Connect|Timeout|Timed|Disconnected|ServiceRequest|ServiceResponse|TransportError|gaierror|NameResolution|ClientOSError"
)
Info = Mapping[str, Any]  # what a store says of an object
# scheme, host or bucket -> why it can't be reached: its reader has tried for long
_away: dict[tuple[str, str], str] = {}


class Away(ConsommeError):
    """A store that can't be reached."""


class Absent(Exception):
    """The store has nothing of that name."""


def forget() -> None:
    """Log in, and try to reach them, anew."""
    _away.clear()
    _store.cache_clear()


@functools.cache
def _store(scheme: str) -> AbstractFileSystem:
    """Reads addresses of a scheme, as the environment says."""
    import fsspec

    options: dict[str, Any] = {}
    if scheme in WEB:
        import aiohttp

        # a large file takes its time; trust_env: proxies
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60)
        options = {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True, **options)


def inside(address: str) -> str:
    """How the store spells an address."""
    return str(asked(address, lambda store: store._strip_protocol(address))).strip("/")


def info(address: str) -> Info | None:
    """What the store says of an object or folder; None for neither."""
    try:
        return asked(address, lambda store: store.info(address))
    except Absent:
        return None


def files(address: str, by: str) -> list[Info]:
    """What a folder holds, by `ls`, or with all that lies below it, by `find`."""
    try:
        found = asked(address, lambda store: getattr(store, by)(address, detail=True))
    except Absent:
        return []
    infos = found.values() if isinstance(found, dict) else found
    # pages of links have some that sort the page
    return [one for one in infos if one["type"] == "file" and not re.search(r"[?#]|/$", one["name"])]


def asked(address: str, do: Callable[[AbstractFileSystem], Any], done: str = "read") -> Any:
    """What a store answers. Raises Absent, or ConsommeError in words, which is Away where it can't be reached. done: what is
    asked for, read or written."""
    scheme, rest = parts(address)
    need_package(address)
    store = scheme, rest.partition("/")[0]
    if store in _away:
        raise Away(f"{address} can't be reached ({_away[store]})")
    try:
        return do(_store(scheme))
    except Exception as error:  # each package has its own
        # what happened first says most: the web's reader makes FileNotFoundError of everything
        chain = [*_chain(error)][::-1]
    codes, words = {_code(one) for one in chain}, " ".join(without_secrets(str(chain[0])).split())[:200]
    names = [f"{type(one).__name__}: {one}" if isinstance(one, ValueError) else type(one).__name__ for one in chain]
    if codes & {401, 403} or any(DENIED.search(name) for name in names):
        login = LOGIN[SCHEMES[scheme][1]]
        raise ConsommeError(
            f"{address} may not be {done} ({type(chain[0]).__name__}): the login is missing, or has no right to it; some stores "
            f"say so of what isn't there, too. A login comes from the environment: {login}"
        )
    if any(AWAY.search(name) for name in names) or any(
        isinstance(one, ConnectionError | TimeoutError) for one in chain
    ):
        _away[store] = f"{type(chain[0]).__name__}: {words}"
        raise Away(f"{address} can't be reached ({_away[store]})")
    if isinstance(chain[-1], FileNotFoundError):
        raise Absent
    if any(getattr(one, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for one in chain):
        raise ConsommeError(f"{address} can't be copied: no space is left on this disk")
    raise ConsommeError(f"{address} can't be {done} ({type(chain[0]).__name__}: {words})")


def times(info: Info) -> list[Any]:
    """The times that a store says of an object, in seconds since 1970 where it does; a web server's are texts."""
    return [_seconds(info[key]) for key in TIMES if info.get(key)]


def _seconds(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException) -> Any:
    """The status of HTTP in an error, where it has one."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return next(
        (code for name in ("status", "status_code", "code") if isinstance(code := getattr(error, name, None), int)),
        None,
    )
