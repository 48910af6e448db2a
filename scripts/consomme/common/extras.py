"""Packages that only some settings need. Each is an extra of this one, of the same name."""

from __future__ import annotations

from importlib.util import find_spec

from consomme.common.errors import ConsommeError


def installed(extra: str) -> bool:
    """Whether the package is here. It is not imported."""
    return find_spec(extra) is not None


def command(extra: str) -> str:
    """The command that installs it, in the clone."""
    return f"pip install -e '.[{extra}]'"


def require(extra: str, who: str) -> None:
    """ConsommeError if the package that `who` (KEY: VALUE) needs is not here."""
    if not installed(extra):
        raise ConsommeError(f"{who} needs the package {extra}, which is not installed: {command(extra)}")
