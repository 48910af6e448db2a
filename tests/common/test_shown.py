"""Text of others on a terminal and in a spreadsheet."""

import random
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consomme.common.errors import ConsommeError, exit_on_error
from consomme.common.log import say
from consomme.common.shown import from_cell, to_cell, visible

from ..thorough import cases

ANY = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.text("=+-@'＝＋－＠ 1a.\t\n\r\x1b", max_size=8),
)

FORMULAS = [
    '=HYPERLINK("http://x","y")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "＝1+1",
    "=",
    "-a",
]
HARMLESS = ["", "a=b", "-5", "+46 70-123", "-0.5 [-1.2, 0.3]", "-1/2", "'tis", "mail@x", " =1", "-3.5 %"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text):
    assert to_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_and_numbers_stay(text):
    assert to_cell(text) == text


def test_every_text_comes_back():
    draw = random.Random(0)
    texts = [*FORMULAS, *HARMLESS, *("".join(draw.choices("'=+-@1a. ", k=draw.randint(0, 6))) for _ in range(5000))]
    for text in texts:
        cell = to_cell(text)
        assert from_cell(cell) == text
        assert not re.match(r"[=@＝]|[+-].*[A-Za-z=@|!]", cell)


def test_control_characters_are_spelt_out():
    assert visible("a\x1b[2J\x9b\r\ud800é\n") == r"a\x1b[2J\x9b\r\ud800é\n"
    assert visible("a\n\tb\x07", keep="\n\t") == "a\n\tb\\x07"


def test_a_terminal_gets_no_control_characters_of_others(capsys):
    say("tensor \x1b]0;title\x07")
    with pytest.raises(SystemExit), exit_on_error():
        raise ConsommeError("model_type '\x1b[2J'\n  second line")
    assert capsys.readouterr().err.endswith("tensor \\x1b]0;title\\x07\nerror: model_type '\\x1b[2J'\n  second line\n")


@cases(200, 5000)
@given(ANY)
def test_any_text_is_fit_for_a_terminal_and_a_file(text):
    shown = visible(text)
    shown.encode("utf-8")
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in shown)
    assert shown == text or any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


@cases(200, 5000)
@given(ANY)
def test_any_text_comes_back_from_a_cell(text):
    cell = to_cell(text)
    assert from_cell(cell) == text
    assert not re.match(r"[=@＝＋－＠]|[+-].*[A-Za-z=@|!]", cell)


@cases(60, 1000)
@given(ANY)
def test_any_text_in_an_error_is_shown_without_control_characters(capsys, text):
    with pytest.raises(SystemExit), exit_on_error():
        raise ConsommeError(text)
    say(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", capsys.readouterr().err)
