"""What each normaliser keeps and what it drops."""

import pickle
import random
import unicodedata

import pytest

from consomme.common.errors import ConsommeError
from consomme.common.normalisers import TABLE, by_language, normaliser_named, signature, whisper
from consomme.common.normalisers.basic import basic


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


def test_basic_knows_the_dotless_i_of_its_languages():
    for language in ("tr", "tur_Latn", "az"):
        normalise = normaliser_named("basic", language)
        assert normalise("IŞIK İzmir I\u0307ki Ｉ ılık") == "ışık izmir iki ı ılık"
        assert normalise(normalise("IŞIK İzmir")) == normalise("IŞIK İzmir")
    assert normaliser_named("basic", "en")("IŞIK") == "işik"


def test_names():
    assert normaliser_named("verbatim")(" As it\tis ") == " As it\tis "
    assert normaliser_named(str.upper) is str.upper
    with pytest.raises(ConsommeError, match="did you mean 'basic'"):
        normaliser_named("basik")
    with pytest.raises(ConsommeError, match="no normaliser 'numbrs'"):
        normaliser_named("basic+numbrs", "en")


def test_several_act_in_their_order():
    assert (
        normaliser_named("numbers+basic", "en")("It costs 1,021.5.")
        == "it costs one thousand and twenty one point five"
    )
    assert normaliser_named("basic + numbers", "en")("1,021.5") == "one zero two one five"
    assert by_language("basic+numbers", "en")
    assert not by_language("whisper-basic+basic", "en")


@pytest.mark.parametrize("name", TABLE)
def test_each_can_be_sent_to_another_process_and_bears_any_text(name):
    if name == "whisper-english":
        pytest.importorskip("whisper_normalizer")
    normalise = normaliser_named(f"{name}+basic", "en")
    elsewhere = pickle.loads(pickle.dumps(normalise))
    for text in [
        "",
        " ",
        "a",
        "9",
        "٣",
        "（",
        "\u0301",
        "𝟗",
        "2²",
        "½",
        "१२३",
        "\u200d",
        "'",
        "1.",
        ".5",
        "1,2,3,4",
        "€5%",
        "0" * 400,
    ]:
        assert elsewhere(text) == normalise(text), ascii(text)


@pytest.mark.parametrize(
    ("language", "text", "wanted"),
    [
        ("de", "9 Uhr", "neun Uhr"),
        ("de", "1.250,5 km am 3.", "eintausendzweihundertfünfzig Komma fünf km am drei."),
        ("deu_Latn", "21", "einundzwanzig"),
        ("fr", "les 1 000 et les 71 et 21 12", "les mille et les soixante et onze et vingt et un douze"),
        ("it", "3,14", "tre virgola uno quattro"),
        ("fr-BE", "71", "septante et un"),
        ("fr", "le 1er, le 2e et la 90ème", "le premier, le deuxième et la quatre-vingt-dixième"),
        ("es", "el 2º de 16", "el segundo de dieciséis"),
        ("en", "The 4th of 30", "The fourth of thirty"),
        ("en", "3D, A4 and 007", "three D, A four and zero zero seven"),
        ("en", "$1,000,000", "$one million"),
        ("en-IN", "1,00,000", "one lakh"),
        ("nb", "9", "ni"),
        ("kk", "9", "тоғыз"),
        ("ar", "٩", "تسعة"),
        ("ja", "9時", "九時"),
        ("en", "nine", "nine"),
    ],
)
def test_digits_become_words(language, text, wanted):
    assert normaliser_named("numbers", language)(text) == wanted


def test_numbers_too_large_for_words_are_read_digit_by_digit():
    said = normaliser_named("numbers", "fr")("12" * 400).split()
    assert said == ["un", "deux"] * 400


@pytest.mark.parametrize("language", ["sw", "zh", "ces_Latn", "cs", "", "xx"])
def test_numbers_know_their_languages(language):
    problem = TABLE["numbers"].unfit(language)
    if language in ("cs", "ces_Latn"):
        assert problem is None
        assert normaliser_named("numbers", language)("3") == "tři"
    else:
        assert f"no words for numbers of the language '{language}'" in problem
        with pytest.raises(ConsommeError, match="Leave it out"):
            normaliser_named("numbers", language)


def test_whisper_basic_is_transformers_own_and_breaks_scripts_with_marks():
    normalise = normaliser_named("whisper-basic")
    assert normalise("Hello, [noise] World (laughs) l'été!") == "hello world l été "
    assert normalise("हिन्दी") != "हिन्दी"
    assert len(normalise("हिन्दी").split()) > 1


def test_whisper_english_is_transformers_own_with_the_table_of_spellings():
    pytest.importorskip("whisper_normalizer")
    normalise = normaliser_named("whisper-english", "en")
    same = [
        ("Um, I'm sure that Mr. Smith's favourite colour isn't grey.", "i am sure that mister smith is favorite color is not gray"),
        ("Twenty-one people paid $5 [applause] on the 3rd", "21 people paid five dollars on the third"),
        ("nine", "9"),
    ]  # fmt: skip
    for first, second in same:
        assert normalise(first).split() == normalise(second).split()
    assert signature("whisper-english").startswith("whisper-english-")
    assert normalise("grey") == "gray"


@pytest.mark.parametrize("language", ["fr", "eng_Latn", "en-GB", "deu_Latn"])
def test_whisper_english_is_for_english(monkeypatch, language):
    monkeypatch.setattr(whisper, "find_spec", lambda name: name)
    problem = TABLE["whisper-english"].unfit(language)
    assert (problem is None) == language.startswith("en")
    if problem:
        assert f"for English, not for '{language}'" in problem
    monkeypatch.setattr(whisper, "find_spec", lambda name: None)
    with pytest.raises(ConsommeError, match=r"pip install whisper-normalizer|is for English"):
        normaliser_named("whisper-english", language)


def test_signatures_name_the_packages_that_decide():
    assert signature("basic") == "basic"
    assert signature("numbers+basic").startswith("numbers-0.")
    assert signature("numbers+basic").endswith("+basic")
