"""Addresses of objects in stores, such as s3://BUCKET/KEY. What is secret in one is never shown or written."""

from __future__ import annotations

import re

from consomme.common.errors import ConsommeError, nearest
from consomme.common.extras import command, installed

# scheme -> the package that reads it, and our extra that has the package; empty where nothing has to be installed
SCHEMES = {
    "s3": ("s3fs", "s3"),
    "az": ("adlfs", "azure"),
    "abfs": ("adlfs", "azure"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "https": ("", ""),
    "http": ("", ""),
    "file": ("", ""),
    "memory": ("", ""),
}
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# user and password; the rest; query and fragment
_WITHIN = re.compile(r"(://)([^/\s'\"]*@)?([^\s'\"?#]*)([?#][^\s'\"]*)?")


class Secret(ConsommeError):
    """An address with something in it that may be secret. The message doesn't show it."""


def is_address(text: object) -> bool:
    """Whether it is a text of the form SCHEME://REST."""
    return isinstance(text, str) and _ADDRESS.fullmatch(text) is not None


def parts(address: str) -> tuple[str, str]:
    """The scheme, and what stands behind ://. Raises Secret for an address with a user, a password, a query or a fragment,
    and ConsommeError for one that can't be read."""
    found = _ADDRESS.fullmatch(address)
    scheme, rest = found.groups() if found else ("", address)
    if "?" in rest or "#" in rest or "@" in rest.partition("/")[0]:
        raise Secret(
            f"the address {without_secrets(address)} has a user, a password or a query in it, which may be secret and would be "
            "written with it: give the address alone. Credentials come from the environment or the machine's identity"
        )
    if scheme not in SCHEMES:
        what = (
            f"addresses that begin with {scheme}:// can't be read{nearest(scheme, SCHEMES)}" if found else "no address"
        )
        raise ConsommeError(f"{address}: {what}; allowed: {', '.join(f'{name}://' for name in SCHEMES)}")
    if not rest.strip("/"):
        raise ConsommeError(f"{address}: the name of what is meant is missing")
    if ".." in rest.split("/"):
        raise ConsommeError(f"{address}: .. has no meaning in an address")
    return scheme, rest


def need_package(address: str) -> None:
    """ConsommeError if the package that reads an address isn't installed."""
    package, extra = SCHEMES[parts(address)[0]]
    if package and not installed(package):
        raise ConsommeError(f"{address} needs the package {package}, which is not installed: {command(extra)}")


def without_secrets(text: str) -> str:
    """A text in which users, passwords, queries and fragments of addresses are ***."""
    return _WITHIN.sub(lambda m: f"{m[1]}{'***@' if m[2] else ''}{m[3]}{'?***' if m[4] else ''}", text)
