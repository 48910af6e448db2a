"""Codes of languages in every spelling."""

import pytest

from consomme.common.languages import base, unspaced


@pytest.mark.parametrize("code", ["de", "DE", "de-AT", "de_DE", "deu_Latn", "deu"])
def test_one_language_in_all_its_spellings(code):
    assert base(code) == "de"


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("cmn_Hans", "zh"),
        ("zho_Hant", "zh"),
        ("yue", "yue"),
        ("en_XX", "en"),
        ("arb_Arab", "ar"),
        ("haw", "haw"),
        ("", ""),
    ],
)
def test_what_is_the_same_language_has_one_code(code, wanted):
    assert base(code) == wanted


@pytest.mark.parametrize(
    "code",
    [
        "zh",
        "zh-CN",
        "zho_Hans",
        "yue_Hant",
        "ja",
        "ja_XX",
        "jpn_Jpan",
        "th",
        "tha_Thai",
        "lo",
        "lao_Laoo",
        "km",
        "khm_Khmr",
        "my",
        "mya_Mymr",
        "bo",
        "dzo_Tibt",
    ],
)
def test_written_without_spaces(code):
    assert unspaced(code)


@pytest.mark.parametrize("code", ["en", "ko", "kor_Hang", "vi", "hi", "ar", "zho_Latn", "fra_Latn", "", "id"])
def test_written_with_spaces(code):
    assert not unspaced(code)
