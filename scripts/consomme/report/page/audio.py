"""Recordings to play on the page."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np

BYTES = 512 << 10  # of FLAC on the page, over all test sets: about half a minute to a minute of speech


class Clips:
    """Rows' recordings as data URLs, as many as there is room for."""

    def __init__(self, rows: Any, room: int) -> None:
        self.rows, self.room = rows, room

    def next(self, row: int) -> dict[str, str]:
        """`clip` of the row; nothing for this and all further rows once there is no more room."""
        if self.room <= 0 or self.rows.sampling_rate is None:
            return {}
        found = flac(self.rows.audio(row), self.rows.sampling_rate)
        self.room -= len(found)
        if self.room < 0:
            return {}
        return {"clip": f"data:audio/flac;base64,{base64.b64encode(found).decode()}"}


def flac(wave: np.ndarray, rate: int) -> bytes:
    """A waveform, float32 [samples] in -1..1, without loss at 16 bits. rate: in Hz."""
    import soundfile

    stream = BytesIO()
    soundfile.write(stream, np.round(wave * 32768).clip(-32768, 32767).astype(np.int16), rate, format="FLAC")
    return stream.getvalue()
