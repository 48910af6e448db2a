"""The table of corpus sources: name -> Source. A new one is a file here and a line in the table, or an entry point of
the group "consomme.sources" in another package."""

from __future__ import annotations

from importlib.metadata import entry_points

from consomme.common.errors import ConsommeError, nearest
from consomme.data.sources.base import Raw, Source
from consomme.data.sources.common_voice import CommonVoice
from consomme.data.sources.folder import Folder
from consomme.data.sources.generated import Generated
from consomme.data.sources.hub import Hub
from consomme.data.sources.manifest import Manifest
from consomme.data.sources.parallel import Parallel

__all__ = ["TABLE", "Raw", "Source", "source_named"]

TABLE: dict[str, Source] = {s.name: s for s in (Manifest(), Folder(), CommonVoice(), Parallel(), Hub(), Generated())}
for _entry in entry_points(group="consomme.sources"):
    TABLE.setdefault(_entry.name, _entry.load())


def source_named(name: str) -> Source:
    """The source of that name. Raises ConsommeError with the names there are."""
    if name not in TABLE:
        raise ConsommeError(f"source: '{name}' is unknown{nearest(name, TABLE)}; there are {', '.join(TABLE)}")
    return TABLE[name]
