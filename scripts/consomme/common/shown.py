"""Text of others where it is shown: on a terminal, which obeys control characters, and in a table, which a spreadsheet opens.

Corpora and models bring ids, cells and names of any kind. What tools read back stays exact, in Arrow and JSON."""

from __future__ import annotations

import re
import unicodedata

FORMULA = re.compile(
    r"[=+\-@＝＋－＠]"
)  # how a cell begins that a spreadsheet computes; the wide ones where Japanese is set
NUMBER = re.compile(r"[-+][\d\s.,;:%()\[\]/±–+-]*")  # a number, or several, such as an interval
MARK = "'"  # a spreadsheet takes what follows for text


def visible(text: str, keep: str = "") -> str:
    """The text with control characters and lone surrogates spelt out, such as \\x1b, except those in `keep`: fit for a terminal
    and a file."""
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cs") and c not in keep else c for c in text)


def one_line(text: str) -> str:
    """`visible` text on one line, for a cell of a table or a label of a picture."""
    return visible(" ".join(text.splitlines()))


def to_cell(text: str) -> str:
    """A text for a cell of a table: with an apostrophe before it where a spreadsheet would take it for a formula. Texts that
    look so already get one more, so that `from_cell` has all of them back."""
    return MARK + text if _computed(text.lstrip(MARK)) else text


def from_cell(cell: str) -> str:
    """The text that `to_cell` made a cell of."""
    return cell.removeprefix(MARK) if _computed(cell.lstrip(MARK)) else cell


def _computed(text: str) -> bool:
    return bool(FORMULA.match(text)) and not NUMBER.fullmatch(text)


def size(count: float) -> str:
    """Bytes as GiB or MiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
