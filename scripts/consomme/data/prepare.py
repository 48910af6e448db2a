"""The stage: a corpus, read once and checked, as a prepared corpus."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import importlib.metadata
import itertools
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from consomme.common.errors import ConsommeError, nearest
from consomme.common.files import whole_file, write_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.mirror import store
from consomme.common.shown import to_cell, visible
from consomme.common.stage import build_once
from consomme.common.stores import THREADS
from consomme.data import audio, remote, waveforms
from consomme.data.audio import Recording
from consomme.data.check import DEFAULT_MAX_SECONDS, Checked, checker, limits, seconds_problem, speech_row
from consomme.data.join import join_plan
from consomme.data.limit import Limit, rank
from consomme.data.parts import Ahead
from consomme.data.pooled import chunks, pooled
from consomme.data.prepared import BY, VERSION, Rows, Writer, extent, schema_of
from consomme.data.segments import Segments
from consomme.data.shared import once_for_all
from consomme.data.sources import Raw, Source, source_named
from consomme.data.sources.base import by_of, language_columns, meets, named_languages, where_of
from consomme.data.text import half_characters, nfc
from consomme.data.without import Others

DEFAULT_MAX_SKIPPED = 0.01
FETCHED = 128  # recordings of a store that are fetched at once

# Reasons that the configuration asked for, and rows that are there already; every other reason means that something is
# wrong with the corpus.
DECLARED = frozenset(
    {
        "where",
        "limit",
        "without",
        "too short",
        "longer than asked",
        "few characters",
        "many characters",
        "ratio",
        "duplicate",
    }
)

ADVICE = {
    "missing": "check that the paths in the corpus are right, and that all of it is unpacked",
    "unreadable": "check whether the files play elsewhere; convert or remove them",
    "truncated": "fetch, unpack or copy those files again; their beginnings are no good with the whole text",
    "sampling rate": "check whether the files play as they should; convert them to 16 kHz, for instance by ffmpeg -ar 16000",
    "beyond full scale": "divide their samples by what their full scale is, or save them in 16 bits",
    "empty": "remove those files from the corpus; where channels cancel each other, keep one of them",
    "too long": f"cut the recordings up, or set max_seconds if more than {DEFAULT_MAX_SECONDS:g} s is meant",
    "no text": "give those rows a text, or choose another normaliser",
    "encoding": "save the text as UTF-8",
    "columns": "check that every line has as many columns as the others",
    "no language": "fill the column, or leave it out of `columns` and give the corpus one language",
    "several languages": "give each row one language, or leave those rows out",
    "normaliser": "choose a normaliser that has the language of those rows, or leave them out by `where`",
    "ragged": "check for a tab or comma inside a text: remove it, or in a .csv put the text in quotes",
    "quotes": "close the quote; quotes inside of a quoted text are doubled",
    "not text": "give the text in quotes, and audio as a path",
    "not a time": "start, end and duration are seconds, such as 12.5; columns: {start: '', end: ''} reads whole recordings",
    "end before start": "check the times, and whether `end` is a duration",
    "command": "commands are not run: write what they would make to files, and name these in wav.scp",
    "beyond the end": "check the times: they are seconds from the beginning of the file. "
    "If the audio is cut already, say columns: {start: '', end: ''}",
}


class Skipped:
    """The rows left out: id, reason, detail."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def add(self, row_id: str, reason: str, detail: str = "") -> None:
        """Note a row that is left out."""
        self.rows.append((visible(row_id), reason, visible(remote.with_addresses(detail))))

    def counts(self) -> dict[str, int]:
        """How many for each reason, most first."""
        return dict(collections.Counter(reason for _, reason, _ in self.rows).most_common())

    def write(self, path: Path) -> None:
        """Write skipped.tsv, which people open in spreadsheets and no tool reads back."""
        with whole_file(path) as stream:
            stream.write("id\treason\tdetail\n")
            for row in self.rows:
                stream.write("\t".join(to_cell(" ".join(str(cell).split())) for cell in row) + "\n")

    def check(self, name: str, read: int, allowed: float) -> None:
        """Raise ConsommeError where more than the share `allowed` of the `read` rows was bad."""
        bad = [row for row in self.rows if row[1] not in DECLARED]
        if not bad or len(bad) <= allowed * read:
            return
        counts = collections.Counter(reason for _, reason, _ in bad).most_common()
        examples = "".join(f"\n  {row_id}: {reason}: {detail}" for row_id, reason, detail in bad[:3])
        advice = "".join(f"\n  {reason}: {ADVICE[reason]}" for reason, _ in counts if reason in ADVICE)
        raise ConsommeError(
            f"corpus '{name}': {len(bad)} of {read} rows can't be used ({', '.join(f'{n} {r}' for r, n in counts)}), "
            f"and max_skipped allows {allowed:g} of them. The first:{examples}\nWhat to do:{advice}\n"
            f"  or, if that many may go, set max_skipped: {_up(len(bad) / read):g}"
        )


def run(job: Job) -> None:
    """Make a prepared corpus at `job.out`; computes nothing where the same content was prepared there before."""
    corpus, task, languages, data_root = asked(job)
    source, name, identity = begin(job)
    without = {label: Rows.open([folder]) for label, folder in job.labelled("without").items()}
    key = {**identity, "without": sorted(rows.fingerprint for rows in without.values())}
    # rows in place name their files from here
    root = {"data_root": str(data_root)} if corpus.get("keep_audio") == "in_place" else {}

    def build(folder: Path, work: Path) -> None:
        if os.environ.get("CONSOMME_CACHE") and not store():
            once_for_all(key, folder, job.cache, lambda new: make(new, work), waveforms.found_anywhere)
        else:
            make(folder, work)

    def make(folder: Path, work: Path) -> None:
        with named(name):
            ahead = Ahead.open(job.parts, source.part_of, identity) if job.parts else None
            raws = source.read(corpus, task, languages, data_root)
            prepare(raws, corpus, task, name, folder, work, without, job.threads, languages, ahead)
            if ahead:
                say(f"corpus '{name}': {ahead.taken} rows were checked ahead, {ahead.missed} here")

    build_once(job, key | root, build)


def asked(job: Job) -> tuple[dict[str, Any], str, list[str], Path]:
    """The corpus's settings, the task, the languages and the data's root that a job is given."""
    spec = job.spec
    return spec["corpus"], spec["task"], spec.get("languages") or [], Path(spec.get("data_root") or ".")


def begin(job: Job) -> tuple[Source, str, dict[str, Any]]:
    """The source, the corpus's name, and what identifies its checked rows. Raises ConsommeError where it can't be read."""
    corpus, task, languages, data_root = asked(job)
    source, name = source_named(corpus["source"]), _name(job)
    if unfit := source.unfit(corpus, task):
        raise ConsommeError(f"corpus '{name}': {unfit[0]}: {unfit[1]}")
    problems = source.problems(corpus, languages, data_root)
    if problems:
        raise ConsommeError(f"corpus '{name}': " + "; ".join(problems))
    with named(name):
        content = source.content(corpus, languages, data_root, job.cache)
    identity = {
        "stage": "data",
        "version": [VERSION, job.spec.get("version")],
        "task": task,
        "languages": languages,
        "name": name,
        "corpus": {k: v for k, v in corpus.items() if k != "without"},
        "content": content,
        "packages": _packages("soundfile", "torchaudio") if task == "asr" else {},
    }
    return source, name, identity


@contextlib.contextmanager
def named(name: str) -> Generator[None]:
    """Errors inside of this say which corpus it is, and have the addresses of what lies in stores."""
    try:
        yield
    except ConsommeError as error:
        said = remote.with_addresses(str(error))
        raise ConsommeError(said if said.startswith("corpus '") else f"corpus '{name}': {said}") from None


def prepare(
    raws: Iterable[Raw],
    corpus: Mapping[str, Any],
    task: str,
    name: str,
    folder: Path,
    work: Path,
    without: Mapping[str, Rows],
    threads: int = 1,
    languages: Sequence[str] = (),
    ahead: Ahead | None = None,
) -> dict[str, Any]:
    """Write raw rows as a prepared corpus into `folder`, and return its prepared.json.

    languages: of the corpus, where its rows have none of their own. `work` is a folder for what is needed in between.
    ahead: rows that were checked by other jobs.
    Raises ConsommeError where too many rows are bad, or none is left."""
    skipped, read, seen = Skipped(), itertools.count(), set()
    by, there = by_of(corpus), dict[str, None]()
    join = corpus.get("join") if task == "asr" else None
    limit = Limit(corpus.get("limit"), first=bool(corpus.get("streaming")))
    drawn = Limit(None) if join else limit  # of single recordings all are needed
    segments = Segments()
    wanted = segments.noted(chosen(raws, corpus, skipped, read, there if by else None))
    texts = Others(without, source=task == "nmt")
    checked = checked_rows(wanted, corpus, task, languages, drawn, skipped, threads, ahead)
    schema = schema_for(corpus, task)

    def good() -> Iterator[dict[str, Any]]:
        for row_id, row, problem in checked:
            # asked anew: what came before it has been checked since
            if drawn.hopeless(row_id):
                skipped.add(row_id, "limit")
                continue
            if row is not None:
                problem = texts.origin(row) or (None if join else texts.wording(row))
            if problem:
                skipped.add(row_id, *problem)
                continue
            assert row is not None  # a row that can't be stored has a problem
            if row_id in seen:
                raise ConsommeError(f"two rows have the id '{row_id}'; ids have to differ")
            seen.add(row_id)
            yield row

    rows = good()
    with contextlib.ExitStack() as stack:
        if join:
            rows = _joined(rows, corpus, work, skipped, texts, limit, stack)
        writer = stack.enter_context(Writer(folder / "rows.arrow", task, schema))
        for row in limit.keep(rows, work, schema, task, lambda row_id: skipped.add(row_id, "limit")):
            writer.add(row)
            segments.stored(row)
    total = next(read)
    skipped.check(name, total, float(corpus.get("max_skipped", DEFAULT_MAX_SKIPPED)))
    counts = skipped.counts()
    left_out = ", ".join(f"{n} {reason}" for reason, n in counts.items())
    if not total:
        raise ConsommeError(f"corpus '{name}': there are no rows in it")
    if not writer.rows:
        raise ConsommeError(f"corpus '{name}': of {total} rows none is left" + (f" ({left_out})" if left_out else ""))
    skipped.write(folder / "skipped.tsv")
    own = named_languages(corpus, task)
    about = {
        "task": task,
        "name": name,
        "fingerprint": writer.fingerprint(corpus.get("sampling_rate", 16000), own),
        "rows": writer.rows,
        "seconds": round(writer.seconds, 3),
        "read": total,
        "skipped": counts,
        "version": VERSION,
    }
    if overlaps := segments.overlaps():
        about["overlapping"] = len(overlaps)
        say(
            f"corpus '{name}': caution: {len(overlaps)} segments overlap in time with another of the same recording that has "
            f"another text, the first {overlaps[0]}. Right where two people speak at once; else check the times"
        )
    for column in (column for column in by if column not in there):
        say(
            f"corpus '{name}': caution: no column '{column}' to report by{nearest(column, there)}; "
            f"there are {', '.join(there) or 'none'}"
        )
    if by:
        about["by"] = writer.by  # without it, a change of these columns alone would start no report
    if own:
        about["languages"] = own
    if corpus.get("missing"):
        about["missing"] = corpus["missing"]
    if task == "asr":
        about["sampling_rate"] = corpus.get("sampling_rate", 16000)
    write_json(folder / "prepared.json", about | extent(folder / "rows.arrow", about))
    speech = f", {writer.seconds / 3600:.2f} h" if task == "asr" else ""
    say(f"corpus '{name}': {writer.rows} rows{speech}; {total} read" + (f"; left out: {left_out}" if left_out else ""))
    return about


def schema_for(corpus: Mapping[str, Any], task: str, checked: bool = False) -> pa.Schema:
    """The columns in which this corpus is stored. checked: those of its rows as they were checked, before any are joined."""
    joined = checked and task == "asr" and corpus.get("join")
    keep = waveforms.DEFAULT if joined else corpus.get("keep_audio", waveforms.DEFAULT)
    return schema_of(task, languages=bool(language_columns(corpus, task)), by=by_of(corpus), keep_audio=keep)


# -- which rows ----------------------------------------------------------------------------------------------------


def chosen(
    raws: Iterable[Raw],
    corpus: Mapping[str, Any],
    skipped: Skipped,
    read: Iterator[int],
    there: dict[str, None] | None = None,
) -> Iterator[Raw]:
    """The rows that are to be checked, as far as that is known without. read: counts them; there: as in `_counted`."""
    return _once(_where(_counted(raws, read, there), where_of(corpus), skipped), skipped)


def checked_rows(
    raws: Iterable[Raw],
    corpus: Mapping[str, Any],
    task: str,
    languages: Sequence[str],
    drawn: Limit,
    skipped: Skipped,
    threads: int,
    ahead: Ahead | None = None,
) -> Iterator[Checked]:
    """What is stored of rows that `drawn` may still keep, or why not, in the order of `raws`. ahead: as in `prepare`."""
    check = checker(corpus, task, task == "asr" and bool(corpus.get("join")), languages)
    fetched = _read_ahead if corpus.get("keep_audio") == "in_place" else _fetched
    hopeful = fetched(_hopeful(raws, drawn, skipped), ahead)
    longest = limits(corpus)[1] or float("inf")
    needed = drawn.most if drawn.first else None
    if ahead:
        return pooled(ahead.before(check), hopeful, 1, longest, needed)
    return pooled(check, hopeful, threads if task == "asr" else 1, longest, needed)


def _counted(raws: Iterable[Raw], read: Iterator[int], there: dict[str, None] | None) -> Iterator[Raw]:
    """The rows, with their numbers, and their names in NFC. The names of their columns are added to `there`. Names with
    characters that no text may have can't be stored: such rows are bad."""
    for raw in raws:
        place = next(read)
        if raw.number < 0:
            raw.number = place
        if there is not None:
            there |= dict.fromkeys(map(nfc, raw.fields))
        # names are the same names in whatever normal form files and tables have them
        raw.id, raw.recordings = nfc(raw.id), tuple(map(nfc, raw.recordings))
        raw.speaker, raw.document = raw.speaker and nfc(raw.speaker), raw.document and nfc(raw.document)
        if any(name and half_characters(name) for name in (raw.id, raw.speaker, raw.document, *raw.recordings)):
            raw.id = visible(raw.id)
            raw.problem = raw.problem or ("encoding", "an id, speaker, document or recording with halves of characters")
        yield raw


def _where(raws: Iterable[Raw], where: Mapping[str, Any], skipped: Skipped) -> Iterator[Raw]:
    for raw in raws:
        known = {nfc(column): value for column, value in raw.fields.items()} if where else {}
        if not raw.problem:
            known = {"speaker": raw.speaker, "document": raw.document} | known
        reason = None
        for column, wanted in where.items():
            if column not in known:
                if raw.problem:
                    continue  # what can't be read stays, as bad
                raise ConsommeError(f"where: no column '{column}' in this corpus; there are {', '.join(sorted(known))}")
            if not meets(known[column], wanted):
                reason = f"{column} is {known[column]}"
                break
        if reason:
            skipped.add(raw.id, "where", reason)
        else:
            yield raw


def _once(raws: Iterable[Raw], skipped: Skipped) -> Iterator[Raw]:
    """Each clip with each of its texts once. Sentence pairs may recur: how often is part of a corpus of text."""
    seen: dict[tuple[Any, ...], str] = {}
    for raw in raws:
        heard = hashlib.blake2b(raw.audio).digest() if isinstance(raw.audio, bytes) else raw.audio
        if raw.problem or not isinstance(heard, Path | bytes):
            yield raw
            continue
        first = seen.setdefault((heard, raw.start, raw.end, raw.target), raw.id)
        if first == raw.id:
            yield raw
        else:
            skipped.add(raw.id, "duplicate", f"audio and text of {first}")


def _hopeful(raws: Iterable[Raw], limit: Limit, skipped: Skipped) -> Iterator[Raw]:
    """Rows that may still be among those that `limit` keeps."""
    for raw in raws:
        if limit.hopeless(raw.id):
            skipped.add(raw.id, "limit")
        else:
            yield raw


def _fetched(raws: Iterable[Raw], ahead: Ahead | None = None) -> Iterator[Raw]:
    """The rows, with the recordings on this disk that lie in a store and weren't checked `ahead`. Of other rows none is read
    ahead."""
    waiting: list[Raw] = []

    def fetched() -> list[Raw]:
        remote.fetch([r.audio for r in waiting if isinstance(r.audio, Path) and not (ahead and ahead.has(r))])
        return waiting

    for raw in raws:
        waiting.append(raw)
        if len(waiting) == FETCHED or not remote.viewed(waiting[0].audio):
            yield from fetched()
            waiting = []
    yield from fetched()


def _read_ahead(raws: Iterable[Raw], ahead: Ahead | None = None) -> Iterator[Raw]:
    """The same, with the bytes of recordings that lie in a store, which leave no copy on this disk."""
    for waiting in chunks(iter(raws), THREADS):
        wanted = {r.audio for r in waiting if isinstance(r.audio, Path) and not (ahead and ahead.has(r))}
        contents = remote.contents(wanted)
        for row in waiting:
            if isinstance(row.audio, Path) and row.audio in contents:
                row.audio = Recording(row.audio, 0, -1, contents[row.audio])
            yield row


# -- strings -------------------------------------------------------------------------------------------------------


def _joined(
    rows: Iterator[dict[str, Any]],
    corpus: Mapping[str, Any],
    work: Path,
    skipped: Skipped,
    others: Others,
    limit: Limit,
    stack: contextlib.ExitStack,
) -> Iterator[dict[str, Any]]:
    """Strings of the single recordings. These lie in a file in between: there may be more than memory holds."""
    place, rate = work / "singles", corpus.get("sampling_rate", 16000)
    place.mkdir(parents=True, exist_ok=True)
    stack.callback(lambda: (place / "rows.arrow").unlink(missing_ok=True))
    speakers: dict[str, list[int]] = collections.defaultdict(list)
    by_column = list(language_columns(corpus, "asr"))
    by = by_of(corpus)
    with Writer(place / "rows.arrow", "asr", schema_for(corpus, "asr", checked=True)) as writer:
        for row in rows:
            if row["speaker"] is None:
                raise ConsommeError(f"join: row '{row['id']}' has no speaker, and a string is of one speaker")
            # where rows differ in their language, a string is of one speaker in one language
            speakers["-".join([row["speaker"], *(row[column] for column in by_column)])].append(writer.rows)
            writer.add(row)
    write_json(place / "prepared.json", {"task": "asr", "name": "singles", "sampling_rate": rate, "fingerprint": ""})
    if not writer.rows:
        return
    singles = Rows.open([place])
    spoken = singles.languages()
    values = {column: singles.by(column) for column in by}
    for row_id, parts, gaps in join_plan(speakers, corpus["join"]):
        if limit.hopeless(row_id):
            skipped.add(row_id, "limit")
            continue
        # noise of one quantisation step, as dither: digital zeros would dominate log-mel frames once these are normalised
        rng = np.random.default_rng(rank(row_id))
        silences: list[np.ndarray] = [rng.integers(-1, 2, [round(seconds * rate)], dtype=np.int16) for seconds in gaps]
        pieces = [silences[0]]
        for part, silence in zip(parts, silences[1:], strict=True):
            pieces += [audio.to_int16(singles.audio(part)), silence]
        documents = {singles.documents[p] for p in parts}
        shared = {
            "id": row_id,
            "speaker": singles.speakers[parts[0]],
            "document": documents.pop() if len(documents) == 1 else None,
            "recordings": [r for p in parts for r in singles.recordings[p] or [singles.ids[p]]],
            **dict(zip(by_column, spoken[parts[0]], strict=True)),
            # what a string is reported by is what all of its recordings have
            **{f"{BY}{c}": v[parts[0]] if len({v[p] for p in parts}) == 1 else None for c, v in values.items()},
        }
        row = speech_row(
            shared,
            np.concatenate(pieces),
            rate,
            " ".join(filter(None, (singles.targets[p] for p in parts))),
            corpus.get("keep_audio", waveforms.DEFAULT),
        )
        problem = seconds_problem(row["seconds"], limits(corpus)) or others.wording(row)
        if problem:
            skipped.add(row_id, *problem)
        else:
            yield row


# -- small things --------------------------------------------------------------------------------------------------


def _name(job: Job) -> str:
    label = job.spec.get("label")
    if isinstance(label, Mapping):
        label = label.get("corpus") or label.get("name")
    return str(job.spec.get("name") or label or job.out.name)


def _packages(*names: str) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in names}


def _up(share: float) -> float:
    """A share with two digits, rounded up."""
    step = 10.0 ** (int(np.floor(np.log10(share))) - 1)
    return min(1.0, float(np.ceil(share / step) * step))
