"""How a prepared corpus keeps its waveforms: as samples, as FLAC, or in place, where each is decoded anew whenever it is
needed. Whatever the way, a row has the same samples."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from consomme.common import stores
from consomme.common.addresses import is_address
from consomme.common.errors import ConsommeError
from consomme.data import audio, remote
from consomme.data.sources.base import on_disk

# the number of a row -> its waveform, int16 [samples]
Waveform = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Way:
    """One way of keeping waveforms.

    columns: of the table, beside those of every corpus of speech; cells: int16 [samples], their rate in Hz, and where they
    come from (a file, or a part of one, start, end) -> the row's cells in these columns; reader: table, rate -> what gives a
    row's waveform."""

    columns: Mapping[str, pa.DataType]
    cells: Callable[[np.ndarray, int, Any, float | None, float | None], dict[str, Any]]
    reader: Callable[[pa.Table, int], Waveform]


def reader_of(table: pa.Table, rate: int | None) -> Waveform | None:
    """What gives the waveforms of a table's rows; None for a table without any."""
    way = next((w for w in TABLE.values() if w.columns.keys() <= set(table.column_names)), None)
    return way.reader(table, rate or 0) if way else None


def is_kept(table: pa.Table) -> bool:
    """Whether the samples themselves are in the table, so that reading them costs nothing."""
    return "audio" in table.column_names


def found_anywhere(folder: Path) -> bool:
    """Whether the waveforms of the prepared corpus in `folder` are found from every working folder: none lies in place under a
    relative path."""
    table = pa.ipc.open_file(pa.memory_map(str(folder / "rows.arrow"))).read_all()
    files = table.column("file").unique().to_pylist() if "file" in table.column_names else []
    return all(is_address(file) or Path(file).is_absolute() for file in files)


def hash_of(samples: np.ndarray) -> str:
    """A hash of a waveform, int16 [samples]."""
    return hashlib.blake2b(samples.astype("<i2").tobytes(), digest_size=16).hexdigest()


# -- samples ------------------------------------------------------------------------------------------------------------
def _views(table: pa.Table, _rate: int) -> Waveform:
    """Read-only views of the memory-mapped file."""
    chunks = table.column("audio").chunks
    views = [(chunk.offsets.to_numpy(), chunk.values.to_numpy(zero_copy_only=True)) for chunk in chunks]
    starts = np.cumsum([0, *map(len, chunks)])

    def waveform(row: int) -> np.ndarray:
        batch = int(np.searchsorted(starts, row, side="right")) - 1
        offsets, values = views[batch]
        at = row - starts[batch]
        return values[offsets[at] : offsets[at + 1]]

    return waveform


# -- FLAC ---------------------------------------------------------------------------------------------------------------
def encode(samples: np.ndarray, rate: int) -> bytes:
    """int16 [samples] at `rate` Hz as a FLAC file, which loses nothing."""
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def _decoded(table: pa.Table, _rate: int) -> Waveform:
    import soundfile

    column = table.column("flac")

    def waveform(row: int) -> np.ndarray:
        return soundfile.read(io.BytesIO(column[row].as_buffer()), dtype="int16")[0]

    return waveform


# -- in place -----------------------------------------------------------------------------------------------------------
def _place(_samples: np.ndarray, _rate: int, source: Any, start: float | None, end: float | None) -> dict[str, Any]:
    whole = source if isinstance(source, audio.Recording) else audio.Recording(source, 0, -1)
    name = remote.address_of(whole.file) if remote.viewed(whole.file) else str(whole.file)
    return {"file": name, "offset": whole.offset, "size": whole.size, "start": start, "end": end}


def _from_places(table: pa.Table, rate: int) -> Waveform:
    columns = {name: table.column(name) for name in ("id", *IN_PLACE, "audio_hash")}

    def waveform(row: int) -> np.ndarray:
        cell = {name: column[row].as_py() for name, column in columns.items()}
        try:
            source = _source(cell["file"], cell["offset"], cell["size"])
            samples = audio.to_int16(audio.read(source, rate, None, cell["start"], cell["end"]))
        except (audio.BadAudio, OSError) as error:
            raise _changed(cell, str(error)) from None
        if hash_of(samples) != cell["audio_hash"]:
            raise _changed(cell, "its content is another")
        return samples

    return waveform


def _source(file: str, offset: int, size: int) -> Path | bytes | audio.Recording:
    """What `audio.read` takes: a file of its own, or the bytes of a part of one, or of an object in a store."""
    if is_address(file):
        part = {"start": offset, "end": offset + size} if size >= 0 else {}
        try:
            found = stores.asked(file, lambda store: store.cat_file(file, **part))
        except stores.Absent:
            raise audio.BadAudio("missing", "the store has it no more") from None
        # some web servers answer with the whole file, whatever part of it is asked for
        return found[offset : offset + size] if 0 <= size < len(found) else found
    path = on_disk(Path(file))
    return audio.Recording(path, offset, size) if size >= 0 else path


def _changed(cell: Mapping[str, Any], why: str) -> ConsommeError:
    return ConsommeError(
        f"row '{cell['id']}': {cell['file']} isn't what it was when its corpus was prepared ({why}). With keep_audio: "
        "in_place it has to stay as it is: bring it back, or start the workflow again, which prepares the corpus anew"
    )


IN_PLACE = {
    "file": pa.string(),  # a path, or an address
    "offset": pa.int64(),  # bytes
    "size": pa.int64(),  # bytes; -1: all of the file
    "start": pa.float64(),  # seconds; null: from the beginning
    "end": pa.float64(),  # seconds; null: to the end
}
TABLE: Mapping[str, Way] = {
    "samples": Way({"audio": pa.large_list(pa.int16())}, lambda samples, *_: {"audio": samples}, _views),
    "flac": Way({"flac": pa.large_binary()}, lambda samples, rate, *_: {"flac": encode(samples, rate)}, _decoded),
    "in_place": Way(IN_PLACE, _place, _from_places),
}
DEFAULT = "samples"
