"""Whatever a corpus of text holds: rows are kept or listed, none is lost, and no text gets another's partner. `pytest -s` prints the
counts."""

from __future__ import annotations

import collections
import csv
import gzip
import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consomme.data.text import clean

from ..thorough import cases
from .any_corpus import marked, marks, prepared

Side = tuple[str, str] | None  # what stands before and behind its mark; None: an empty text

HARD = [
    *(
        "",
        " ",
        "\0",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\x0b",
        "\x1c",
        "\x1b[2J",
        "\x85",
        "\u00ad",
        "\u200b",
        "\u2028",
        "\u202e",
        "\ufeff",
    ),
    *(
        '"',
        '""',
        '"a',
        'a"',
        "'",
        "\\",
        "\\n",
        ",",
        "=1+1",
        "@SUM(1)",
        "</s>",
        "{0}",
        "%s",
        "e\u0301",
        "\u0130",
        "\u0301",
        "\uac00\u11a8",
    ),
    *(
        "ك",
        "\u0e33",
        "\ufdfa" * 9,
        "\uffff",
        "x" * 100_000,
        "日本語",
        "ﬁ",
        "nan",
        "null",
        "\U0001f469\u200d\U0001f680",
        "\ud800",
        "\udcff",
    ),
]
TEXTS = st.one_of(
    st.sampled_from(HARD),
    st.text(st.characters(exclude_categories=()), max_size=12),  # all of Unicode, halves of characters too
    st.text("\"'\t,;\n\r\\ a", max_size=8),
)
MARKED = st.tuples(TEXTS, TEXTS)
SIDES = st.one_of(*[MARKED] * 9, st.none())
PAIRS = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=7)
# a file of a line or two in which zeros stand at the ends of lines counts as UTF-16
PLAIN = PAIRS.map(
    lambda pairs: [tuple(side and tuple(text.replace("\0", "\1") for text in side) for side in pair) for pair in pairs]
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "limit": st.integers(1, 4),
        "normaliser": st.just("basic"),
        "max_ratio": st.sampled_from([1.5, 4.0]),
        "max_characters": st.integers(10, 60),
        "min_characters": st.integers(1, 9),
    },
)


@pytest.fixture(scope="module")
def counts() -> Iterator[collections.Counter[str]]:
    found = collections.Counter[str]()
    yield found
    print(", ".join(f"{n} {what}" for what, n in sorted(found.items())))


def spelt(number: int, side: Side) -> str:
    return "" if side is None else marked(number, *side)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def whole(text: str) -> str:
    """The text with two halves of a character that stand together as that character, as JSON has them."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def rows_of(
    counts: collections.Counter[str], corpus: dict[str, Any], files: dict[str, bytes]
) -> tuple[int, list[tuple[str, str]]]:
    """Prepare a corpus of these files: how many rows were read, and the pairs that are kept. Nothing but its having no good row is a
    reason to refuse a corpus of sound files."""
    with tempfile.TemporaryDirectory() as place:
        for name, content in files.items():
            (Path(place) / name).write_bytes(content)
        found = prepared(Path(place), corpus, "nmt")
        counts["corpora"] += 1
        if isinstance(found, str):
            counts["of them refused"] += 1
            return 0, [(found, "")]
        counts["rows kept"] += len(found.rows)
        counts["rows listed"] += len(found.skipped)
        for text in (*found.rows.sources, *found.rows.targets, *found.rows.ids):
            text.encode("utf-8")  # no halves of characters
        return found.about["read"], list(zip(found.rows.sources, found.rows.targets, strict=True))


def as_written(
    counts: collections.Counter[str],
    corpus: dict[str, Any],
    files: dict[str, bytes],
    pairs: Sequence[tuple[Side, Side]],
    every: bool = True,
) -> None:
    """Each row of sound files is as it was written, or listed. every: whether a pair is always a row."""
    read, kept = rows_of(counts, corpus, files)
    if not read:
        assert "none is left" in kept[0][0] or "no rows in it" in kept[0][0], kept
        return
    assert read == len(pairs) or not every
    numbers = [marks(source) for source, _ in kept]
    assert all(len(found) == 1 for found in numbers) and numbers == sorted(numbers, key=min) == [
        marks(target) for _, target in kept
    ], kept
    if not corpus.get("normaliser"):
        written = {n: tuple(clean(whole(spelt(n, side))) for side in pair) for n, pair in enumerate(pairs)}
        assert kept == [written[min(found)] for found in numbers]


def not_shifted(counts: collections.Counter[str], corpus: dict[str, Any], files: dict[str, bytes]) -> None:
    """Bytes may say that rows run together; but no text of one row has the partner of another."""
    for source, target in rows_of(counts, corpus, files)[1]:
        ours, theirs = marks(source), marks(target)
        assert len(ours) != 1 or len(theirs) != 1 or ours == theirs, (source, target)


# -- sound files -----------------------------------------------------------------------------------------------------------------
@cases(40, 2000)
@given(
    PLAIN,
    OPTIONS,
    st.sampled_from(["csv", "tsv"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_tables_that_a_library_writes(counts, pairs, options, kind, quoting, end):
    if kind == "tsv":  # quotes count little in it: a text with a tab and a line break may be two rows, one of them bad
        pairs = [tuple(side and tuple(text.replace("\t", " ") for text in side) for side in pair) for pair in pairs]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter="," if kind == "csv" else "\t", quoting=quoting, lineterminator=end)
    writer.writerow(["source", "target"])
    writer.writerows([spelt(n, side) for side in pair] for n, pair in enumerate(pairs))
    files = {f"m.{kind}": encoded(stream.getvalue())}
    # lines of a text that look like rows of their own may be listed as such
    as_written(counts, {"source": "manifest", "path": f"m.{kind}", **options}, files, pairs, every=False)


IDS = st.sampled_from(["a", "e\u0301", "é", "", "=1", "\x1b[2J", "a#2"])


@cases(40, 1500)
@given(PAIRS, OPTIONS, st.booleans(), st.integers(1, 2), st.lists(IDS, min_size=7, max_size=7))
def test_records(counts, pairs, options, escaped, ends, ids):
    records = [{"source": spelt(n, s), "target": spelt(n, t), "id": ids[n]} for n, (s, t) in enumerate(pairs)]
    text = "".join(json.dumps(record, ensure_ascii=escaped) + "\n" * ends for record in records)
    as_written(counts, {"source": "manifest", "path": "m.jsonl", **options}, {"m.jsonl": encoded(text)}, pairs)


@cases(40, 1500)
@given(PLAIN, OPTIONS, st.sampled_from(["", ".gz"]), st.booleans())
def test_two_files_line_by_line(counts, pairs, options, packed, byte_order_mark):
    pairs = [tuple(side and tuple(text.replace("\n", " ") for text in side) for side in pair) for pair in pairs]
    files = {}
    for place, language in enumerate(("en", "fr")):
        content = b"\xef\xbb\xbf" * byte_order_mark + encoded(
            "".join(spelt(n, pair[place]) + "\n" for n, pair in enumerate(pairs))
        )
        files[f"t.{language}{packed}"] = gzip.compress(content, 1) if packed else content
    as_written(counts, {"source": "parallel", "path": "t", **options}, files, pairs)


# -- others ------------------------------------------------------------------------------------------------------------------------
CELLS = st.lists(st.lists(TEXTS, max_size=5), max_size=6)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.integers(10**300, 10**310), st.floats(), TEXTS),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3),
    max_leaves=5,
)
COLUMNS = ["source", "target", "document", "id", "n", "sl", "tl", "e\u0301"]
MORE = st.fixed_dictionaries(
    {},
    optional={
        "where": st.sampled_from([{"n": {"from": 1, "to": 3}}, {"n": "a"}, {"é": ["a", 1]}, {"document": True}]),
        "by": st.sampled_from([["n"], ["é", "document"]]),
        "columns": st.sampled_from([{"source_language": "sl", "target_language": "tl"}, {"document": "n", "id": ""}]),
        "limit": st.integers(1, 4),
    },
)
HEADERS = st.sampled_from(["source,target\n", "source,target,document\n", "source,target,n,n\n", ""])


@cases(40, 2000)
@given(PAIRS, CELLS, st.sampled_from(["m.csv", "m.tsv", "t.tsv"]), HEADERS, MORE)
def test_ragged_tables(counts, pairs, cells, name, header, more):
    """Rows with cells too few and too many, quotes and line breaks as they fall."""
    mark = "," if name.endswith(".csv") else "\t"
    rows = [[spelt(n, side) for side in pair] for n, pair in enumerate(pairs)]
    for n, extra in enumerate(cells):
        rows.insert(2 * n, rows[n % len(rows)][:1] + extra if n % 2 else extra)
    text = header.replace(",", mark) + "".join(mark.join(row) + "\n" for row in rows)
    source = {"source": "parallel"} if name == "t.tsv" else {"source": "manifest", **more}
    not_shifted(counts, {"path": name, **source}, {name: encoded(text)})


@cases(40, 2000)
@given(
    st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, VALUES)), min_size=1, max_size=6),
    st.booleans(),
    MORE,
)
def test_records_with_values_of_any_kind(counts, records, sound, more):
    sides = ({"source": marked(n), "target": marked(n)} if sound else {} for n in range(len(records)))
    text = "\n".join(json.dumps(record | side) for record, side in zip(records, sides, strict=False))
    not_shifted(counts, {"source": "manifest", "path": "m.jsonl", **more}, {"m.jsonl": encoded(text)})


DAMAGE = st.tuples(st.integers(0, 10**6), st.integers(0, 255), st.sampled_from(["flip", "flip", "insert", "cut"]))


@cases(40, 2000)
@given(
    st.lists(st.tuples(MARKED, MARKED), min_size=1, max_size=7),
    st.sampled_from(["m.csv", "m.tsv", "m.jsonl", "t.tsv", "t.tsv.gz", "t.en"]),
    st.lists(DAMAGE, min_size=1, max_size=6),
)
def test_damaged_bytes(counts, pairs, name, damage):
    """Of texts that are all there: a line end lost between two empty ones leaves a row like any other."""
    files = {"t.fr": "".join(marked(n) + "\n" for n in range(len(pairs))).encode()}
    rows = [[" ".join(spelt(n, side).split()) for side in pair] for n, pair in enumerate(pairs)]
    if name == "m.jsonl":
        text = "".join(json.dumps(dict(zip(("source", "target"), row, strict=True))) + "\n" for row in rows)
    elif name == "t.en":
        text, damage = "".join(row[0] + "\n" for row in rows), damage[:1]  # two could undo each other's shift
    else:
        mark = "," if name == "m.csv" else "\t"
        text = "".join(
            mark.join(row) + "\n"
            for row in (["source", "target"], *([c.replace(mark, " ") for c in row] for row in rows))
        )
    content = gzip.compress(encoded(text), 1, mtime=0) if name.endswith(".gz") else encoded(text)
    for at, byte, kind in damage:
        at %= len(content) or 1
        content = (
            content[:at]
            + {"flip": bytes([byte]) + content[at + 1 :], "insert": bytes([byte]) + content[at:], "cut": b""}[kind]
        )
    corpus = {"source": "manifest" if name[0] == "m" else "parallel", "path": name.removesuffix(".en")}
    not_shifted(counts, corpus, files | {name: content})
