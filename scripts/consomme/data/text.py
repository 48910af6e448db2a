"""Text as it is stored, and text as it is compared."""

from __future__ import annotations

import unicodedata

# what is not seen and only says where a line may break: soft hyphen, zero-width space, word joiner, byte order mark.
# (The joiners U+200C and U+200D stay: they change how letters look.)
BREAKS = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
# Unicode's category Cc, which will have no others: a space
CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")


def nfc(text: str) -> str:
    """The text in Unicode's normal form C: letters with marks are one character each, however they were typed or stored."""
    return unicodedata.normalize("NFC", text)


def half_characters(text: str) -> bool:
    """Whether the text has lone surrogates, halves of characters that can't be written: JSON can spell them, and bytes that
    aren't UTF-8 may become them."""
    return not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)


def clean(text: str) -> str:
    """Unicode NFC, every run of white space and control characters one space, none at the ends, no BREAKS."""
    return " ".join(nfc(text.translate(BREAKS)).translate(CONTROLS).split())


def compared(text: str) -> str:
    """What is left of `text` when case, punctuation and symbols don't count (NFKC, casefold).

    A text of nothing but punctuation is compared as it is."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("i\u0307", "i")  # the second is a folded İ
    kept = "".join(" " if unicodedata.category(c)[0] in "PSZ" else c for c in folded)
    return " ".join(kept.split()) or " ".join(text.split())
