"""The table of corpus sources: name -> Source. A new one is a file here and a line in the table, or an entry point of
the group "consomme.sources" in another package."""

from __future__ import annotations

from consomme.common.table import Table
from consomme.data.sources.base import Raw, Source
from consomme.data.sources.common_voice import CommonVoice
from consomme.data.sources.folder import Folder
from consomme.data.sources.generated import Generated
from consomme.data.sources.hub import Hub
from consomme.data.sources.kaldi import Kaldi
from consomme.data.sources.manifest import Manifest
from consomme.data.sources.parallel import Parallel
from consomme.data.sources.shards import Shards

__all__ = ["TABLE", "Raw", "Source", "source_named"]

TABLE: Table[Source] = Table(
    "corpus source",
    "consomme.sources",
    Manifest(),
    Folder(),
    CommonVoice(),
    Kaldi(),
    Shards(),
    Parallel(),
    Hub(),
    Generated(),
)
source_named = TABLE.named
