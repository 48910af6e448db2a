"""`without`: rows that other prepared corpora have, too."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from consomme.data.prepared import Rows
from consomme.data.text import compared


class Others:
    """What the rows of other prepared corpora hold, to leave it out here. A speaker in common is no reason."""

    def __init__(self, others: Mapping[str, Rows], source: bool) -> None:
        self.audio: dict[str, str] = {}
        self.recordings: dict[str, str] = {}
        self.documents: dict[str, str] = {}
        self.sources: dict[str, str] = {}
        self.targets: dict[str, str] = {}
        for name, rows in others.items():
            if rows.task == "asr":
                self.audio |= dict.fromkeys(rows.audio_hashes, name)
            if source and rows.task == "nmt":
                self.sources |= dict.fromkeys(filter(None, map(compared, rows.sources)), name)
            self.targets |= dict.fromkeys(filter(None, map(compared, rows.targets)), name)
            self.recordings |= dict.fromkeys(itertools.chain.from_iterable(rows.recordings), name)
            self.documents |= dict.fromkeys((d for d in rows.documents if d is not None), name)

    def origin(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """Audio, recording or document in common, as a reason to skip."""
        if row.get("audio_hash") in self.audio:
            return "without", f"audio of '{self.audio[row['audio_hash']]}'"
        for recording in row["recordings"]:
            if recording in self.recordings:
                return "without", f"recording {recording} of '{self.recordings[recording]}'"
        if row["document"] in self.documents:
            return "without", f"document {row['document']} of '{self.documents[row['document']]}'"
        return None

    def wording(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """Source or target in common, as a reason to skip."""
        if self.sources and (name := self.sources.get(compared(row["source"]))):
            return "without", f"source of '{name}'"
        if self.targets and (name := self.targets.get(compared(row["target"] if "target" in row else row["text"]))):
            return "without", f"target of '{name}'"
        return None
