"""The properties of a corpus that a configuration depends on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.data.audio import BadAudio, is_file, span
from consomme.data.sources import source_named
from consomme.data.sources.base import Raw
from consomme.data.sources.manifest import SUFFIXES
from consomme.data.sources.roles import NEEDED
from consomme.data.sources.tables import header_of, like_data
from consomme.data.text import clean, compared

MEASURED = 2000  # largest number of recordings whose headers are read; of more, every n-th is read
AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3")
UNUSABLE = 0.01  # as a corpus's max_skipped

# role -> usual names of its column
COLUMNS = {
    "audio": ("audio", "path", "file", "filename", "file_name", "audio_path", "audio_file", "audio_filepath", "wav"),
    "text": ("text", "sentence", "transcript", "transcription", "raw_transcription", "transcripts"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk", "spk_id"),
    "source": ("source", "src", "source_text"),
    "target": ("target", "tgt", "trg", "target_text"),
}


@dataclass
class Seen:
    """The measurements of one corpus."""

    # its settings in a configuration
    corpus: dict[str, Any]
    # counts for each text (nmt: of the target)
    characters: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    # lengths of the measured recordings
    seconds: list[float] = field(default_factory=list)
    # sampling rate in Hz -> number of measured recordings
    rates: Counter[int] = field(default_factory=Counter)
    # nmt: characters of the longer side / of the shorter side
    ratios: list[float] = field(default_factory=list)
    speakers: set[str] = field(default_factory=set)
    # hashes of sentences without case and punctuation, to find overlap between corpora
    sentences: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return len(self.characters)

    @property
    def hours(self) -> float:
        """Hours of audio, estimated from the measured recordings."""
        return sum(self.seconds) / max(len(self.seconds), 1) * self.rows / 3600

    @property
    def exact(self) -> bool:
        """Whether every recording was measured."""
        return len(self.seconds) == self.rows


def look(given: Path, task: str, languages: Sequence[str], option: str) -> Seen:
    """Read a corpus's texts and the headers of its recordings. ConsommeError, with the command's `option`, if it isn't a
    corpus, or if it has more unusable rows than a preparation accepts."""
    seen = Seen(_corpus(given, task, languages, option))
    source = source_named(seen.corpus["source"])
    if problems := source.check(seen.corpus, languages, Path()):
        raise ConsommeError(f"{option} {given}: {'; '.join(problems)}")
    rows, bad = [], []
    for row in source.read(seen.corpus, task, languages, Path()):
        whole = all((side or "").strip() for side in ((row.target, row.source) if task == "nmt" else (row.target,)))
        (rows if whole and not row.problem else bad).append(row)
    problems = [f"{row.id}: {row.problem[1] if row.problem else 'no text'}" for row in bad]
    heard = rows[:: -(-len(rows) // MEASURED) or 1] if task == "asr" else rows
    if task == "asr":
        problems += _measure(seen, heard)
    for row in rows:
        _add(seen, row)
    if not rows:
        raise ConsommeError(f"{option} {given}: no row with {' and '.join(NEEDED[task])}")
    looked = len(bad) + len(heard)
    if len(problems) > UNUSABLE * looked:
        raise ConsommeError(
            f"{option} {given}: of {looked} rows {len(problems)} can't be used; at most 1 % is allowed. The first: "
            f"{problems[0]}"
        )
    return seen


def _add(seen: Seen, row: Raw) -> None:
    text = clean(row.target or "")
    seen.characters.append(len(text))
    seen.words.append(len(compared(text).split()))
    sides = [text]
    if row.source is not None:
        sides.append(clean(row.source))
        short, long = sorted(map(len, sides))
        seen.ratios.append(long / max(short, 1))
    seen.sentences.append(tuple(hash(compared(side)) for side in sides))
    if row.speaker:
        seen.speakers.add(row.speaker)


def _measure(seen: Seen, rows: Sequence[Raw]) -> list[str]:
    """Add lengths and rates of recordings from their headers. Returns a line for each that can't be read."""
    import soundfile

    problems = []
    for row in rows:
        if not isinstance(row.audio, Path):
            problems.append(f"{row.id}: no audio file")
        elif not is_file(row.audio):
            problems.append(f"{row.id}: no file {row.audio}")
        else:
            try:
                found = soundfile.info(str(row.audio))
                first, last = span(found.frames, found.samplerate, row.start, row.end)
            except (soundfile.LibsndfileError, RuntimeError, BadAudio) as error:
                problems.append(f"{row.audio}: {error}")
                continue
            seen.seconds.append((last - first) / found.samplerate)
            seen.rates[found.samplerate] += 1
    return problems


# -- what kind of corpus it is -----------------------------------------------------------------------------------------
def _corpus(given: Path, task: str, languages: Sequence[str], option: str) -> dict[str, Any]:
    if task == "nmt" and not given.is_dir():
        prefix = given
        for ending in [f".{language}{zipped}" for language in languages for zipped in ("", ".gz")]:
            prefix = prefix.with_name(prefix.name.removesuffix(ending))
        sides = [prefix.with_name(f"{prefix.name}.{language}") for language in languages]
        if all(side.is_file() or side.with_name(f"{side.name}.gz").is_file() for side in sides):
            return {"source": "parallel", "path": str(prefix)}
        if given.name.endswith((".tsv", ".tsv.gz")) and given.is_file() and not _header(given, task, languages):
            return {"source": "parallel", "path": str(given)}
    if given.is_file() and given.suffix in SUFFIXES:
        if task == "asr" and (given.parent / "clips").is_dir() and given.suffix == ".tsv":
            return {"source": "common_voice", "path": str(given.parent), "split": given.stem}
        return _manifest(given, task, languages, option)
    if given.is_dir() and task == "asr":
        return _folder(given, option)
    wanted = (
        f"a table ({', '.join(SUFFIXES)}) with a header, a folder of recordings with a .txt file for each, or a table "
        "of Common Voice next to its clips/"
        if task == "asr"
        else f"PREFIX of two files PREFIX.{languages[0]} and PREFIX.{languages[1]}, a table with a header, or a .tsv of "
        "source and target"
    )
    there = "there is no such file" if not given.exists() else "it is neither"
    raise ConsommeError(
        f"{option} {given}: {there}; wanted: {wanted}. For a data set of the hub, write the corpus into the "
        "configuration by hand, with source: hub"
    )


def _manifest(given: Path, task: str, languages: Sequence[str], option: str) -> dict[str, Any]:
    columns = _header(given, task, languages)
    there = _first(given)
    for role in NEEDED[task]:
        if role not in columns:
            hint = like_data(there, given) or "; rename the column"
            raise ConsommeError(
                f"{option} {given}: no column is called {' or '.join(COLUMNS[role][:3])}; there are "
                f"{', '.join(there) or 'none'}{hint}"
            )
    named = {role: column for role, column in columns.items() if role != column}
    return {"source": "manifest", "path": str(given), **({"columns": named} if named else {})}


def _header(given: Path, task: str, languages: Sequence[str]) -> dict[str, str]:
    """Role -> column, for the columns with a known name in the table's header."""
    there = _first(given)
    roles = (*NEEDED[task], *(["speaker"] if task == "asr" else []))
    known = {role: COLUMNS[role] for role in roles}
    if task == "nmt":
        known = {role: (*known[role], lang) for role, lang in zip(NEEDED[task], languages, strict=True)}
    return {role: name for role, names in known.items() for name in names[::-1] if name in there}


def _first(given: Path) -> list[str]:
    """The columns of a table."""
    return (header_of(given) or []) if given.suffix in SUFFIXES else []


def _folder(given: Path, option: str) -> dict[str, Any]:
    files = [p for p in given.rglob("*") if p.suffix.lower() in AUDIO]
    shapes = Counter((len(p.relative_to(given).parts), p.suffix) for p in files)
    if len(shapes) != 1:
        found = ", ".join(f"{n} {suffix} files {depth} deep" for (depth, suffix), n in shapes.items())
        raise ConsommeError(
            f"{option} {given}: all recordings must have the same file type and folder depth; found: "
            f"{found or 'none'}; a table of audio and text can name any"
        )
    ((depth, suffix),) = shapes
    if not any(p.with_suffix(".txt").is_file() for p in files):
        raise ConsommeError(
            f"{option} {given}: no {files[0].with_suffix('.txt').name} next to {files[0].name}. If the file names hold "
            'the text, write the corpus by hand: {source: folder, pattern: "{text}_{speaker}_{index}.wav"}'
        )
    names = [f"{{folder{n}}}" if depth > 2 else "{folder}" for n in range(1, depth)] + ["{name}"]
    return {"source": "folder", "path": str(given), "pattern": "/".join(names) + suffix}


def recurring(train: Seen, others: Sequence[Seen]) -> float:
    """The fraction of training rows with a sentence that is in one of the other corpora."""
    there = {sentence for other in others for row in other.sentences for sentence in row}
    return sum(any(sentence in there for sentence in row) for row in train.sentences) / train.rows
