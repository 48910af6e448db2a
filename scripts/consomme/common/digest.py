"""The canonical text of settings, and its digest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

DIGITS = 12


def canonical(value: Any) -> str:
    """JSON with sorted keys, no spaces, and 1.0 written as 1, so that equal settings are equal text."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any, digits: int = DIGITS) -> str:
    """The first hex digits of the BLAKE2b of `canonical(value)`."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=16).hexdigest()[:digits]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
