"""A folder of audio files whose names say what they are: `{text}_{speaker}_{index}.wav`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Place, Text
from consomme.data import remote
from consomme.data.sources.base import Raw, Source, is_there, kept, place_of, text_of, where_of
from consomme.data.text import nfc


class Settings(Section):
    """A folder of recordings whose names say what they are."""

    path: Place = Field(description="the folder, or its address")
    pattern: Text = Field(description='such as "{text}_{speaker}_{index}.wav"; without {text}, X.txt lies beside X.wav')
    texts: Annotated[
        dict[str, Text],
        BeforeValidator(
            lambda texts: {str(k): v for k, v in texts.items()} if isinstance(texts, dict) else texts,
            json_schema_input_type=dict[str, str],
        ),
    ] = Field(default_factory=dict, description="the text field's value: what is spoken")


class Folder(Source):
    """{"path": FOLDER, "pattern": "{text}_{speaker}_{index}.wav", "texts": {"0": "zero", ...}}.

    Fields of the pattern: text, speaker, document, and any other for `where`; a pattern may hold slashes. Where there
    is no {text}, a .txt file of the same stem beside the audio holds the transcript. The file's stem is the source
    recording."""

    name = "folder"
    settings = Settings
    in_place = True
    indifferent = ("texts",)
    tasks = ("asr",)

    def recordings(self, corpus: Mapping[str, Any], data_root: Path) -> tuple[Path, Iterable[str]]:
        root = place_of(corpus, data_root, "/")
        # a file that `where` leaves out is none of this corpus
        where = where_of(corpus)
        paths = [p.relative_to(root) for p, fields in _matches(corpus, root) if kept(fields, where)]
        beside = "text" not in _fields(corpus["pattern"]) and not corpus.get("missing")
        texts = [p.with_suffix(".txt") for p in paths] if beside else []
        return root, map(str, [*paths, *texts])

    def check(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        root = place_of(corpus, data_root, "/")
        if not root.is_dir():
            return [f"no folder {root}"]
        try:
            found = next(_matches(corpus, root), None)
        except ConsommeError as error:
            return [str(error)]
        if found is None:
            seen = next((p for p in sorted(root.rglob("*")) if p.is_file()), None)
            like = f"; its first file is {seen.relative_to(root)}" if seen else "; it holds no files"
            return [f"no file of {root} is named like the pattern '{corpus['pattern']}'{like}"]
        return []

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        root = place_of(corpus, data_root, "/")
        problems = self.check(corpus, languages, data_root)
        if problems:
            raise ConsommeError("; ".join(problems))
        texts = {nfc(str(k)): str(v) for k, v in (corpus.get("texts") or {}).items()}
        named = "text" in _fields(corpus["pattern"])
        found = sorted(_matches(corpus, root), key=lambda match: Path(nfc(str(match[0]))))
        if not named and not corpus.get("missing"):
            remote.fetch([path.with_suffix(".txt") for path, _ in found])
        for path, fields in found:
            row = Raw(path.relative_to(root).with_suffix("").as_posix(), audio=path, fields=fields)
            row.speaker, row.document = text_of(fields.get("speaker")), text_of(fields.get("document"))
            row.recordings = (path.stem,)
            if corpus.get("missing"):
                row.target = None
            elif named:
                row.target = texts.get(fields["text"], fields["text"])
            else:
                row.target = _beside(path, row)
            yield row


def _beside(path: Path, row: Raw) -> str | None:
    try:
        text = path.with_suffix(".txt").read_text(encoding="utf-8")
    except FileNotFoundError:
        row.problem = ("no text", f"no file {path.with_suffix('.txt').name} beside it")
    except UnicodeDecodeError as error:
        row.problem = ("encoding", f"{path.with_suffix('.txt').name} is not UTF-8 at its byte {error.start + 1}")
    else:
        return text
    return None


def _matches(corpus: Mapping[str, Any], root: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The files whose names match, and their fields, compared and given in NFC."""
    pattern = _regex(corpus["pattern"])
    depth = corpus["pattern"].count("/")
    for path in root.glob("*/" * depth + "*"):
        found = pattern.fullmatch(nfc(path.relative_to(root).as_posix()))
        if found and is_there(path):
            yield path, found.groupdict()


@functools.cache
def _regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", nfc(pattern))
    names = parts[1::2]
    if len(set(names)) != len(names):
        raise ConsommeError(f"pattern '{pattern}': a field occurs in it twice")
    if any(name[0].isdigit() for name in names):
        raise ConsommeError(f"pattern '{pattern}': a field's name can't begin with a digit")
    # a field takes as little as it can, and never a slash
    return re.compile(
        "".join(f"(?P<{part}>[^/]+?)" if k % 2 else re.escape(part) for k, part in enumerate(parts)), re.DOTALL
    )


def _fields(pattern: str) -> set[str]:
    return set(_regex(pattern).groupindex)
