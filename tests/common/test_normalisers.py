"""What the basic normaliser keeps and what it drops."""

import random
import unicodedata

import pytest

from consomme.common.errors import ConsommeError
from consomme.common.normalisers import basic, normaliser_named, verbatim


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello,  World!", "hello world"),
        ("Don’t 'quote' rock'n'roll", "don't quote rock'n'roll"),
        ("twenty-one — 3.5%", "twenty one 3 5"),
        ("STRASSE Straße", "strasse strasse"),
        ("ﬁne ＡＢＣ", "fine abc"),
        ("e\u0301te\u0301", "été"),
        ("हिन्दी, भाषा।", "हिन्दी भाषा"),  # vowel signs and virama stay
        ("می\u200cروم", "می\u200cروم"),  # the non-joiner is spelling
        ("so\u00adft", "soft"),
        ("❤️ ok", "ok"),
        ("İSTANBUL İstanbul I\u0307stanbul i\u0307stanbul", "istanbul istanbul istanbul istanbul"),
        ("Diyarbakır", "diyarbakır"),
        ("...", ""),
        ("", ""),
    ],
)
def test_basic(text, wanted):
    assert basic(text) == wanted


def test_basic_twice_is_basic_once():
    draw = random.Random(0)
    pool = [chr(c) for c in range(1, 0x3100) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    pool += ["'", " ", "’", "İ", "\u0307", "i"] * 500
    for _ in range(3000):
        text = "".join(draw.choice(pool) for _ in range(12))
        assert basic(basic(text)) == basic(text), ascii(text)


def test_names():
    assert normaliser_named("verbatim") is verbatim
    assert normaliser_named(str.upper) is str.upper
    with pytest.raises(ConsommeError, match="did you mean 'basic'"):
        normaliser_named("basik")
