"""The text as it is."""

from __future__ import annotations

from consomme.common.normalisers.base import Normaliser


def verbatim(text: str) -> str:
    """The text as it is."""
    return text


VERBATIM = Normaliser("verbatim", lambda language: verbatim)
