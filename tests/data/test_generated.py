import random
import subprocess
import sys

import numpy as np
import pytest

from consomme.common.errors import ConsommeError
from consomme.data.generate import dosage, spoken_numbers
from consomme.data.generate.speech import Noise, Utterance, speak, with_noise
from consomme.data.sources import TABLE

NUMBERS = {
    "source": "generated",
    "generator": "spoken-numbers",
    "domain": "clean",
    "size": 12,
    "seed": 1,
    "split": "train",
}
DOSAGE = NUMBERS | {"generator": "dosage", "domain": "general"}


def read(corpus, task):
    return list(TABLE["generated"].read(corpus, task, ["en", "fr"], None))


# -- any grammar ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("corpus", "task"), [(NUMBERS, "asr"), (DOSAGE, "nmt")])
def test_a_row_depends_on_nothing_but_its_number(corpus, task):
    few, many = read(corpus, task), read(corpus | {"size": 30}, task)
    assert few == many[:12]
    assert read(corpus | {"seed": 2}, task) != few


@pytest.mark.parametrize(
    ("corpus", "task"), [(NUMBERS, "asr"), (DOSAGE, "nmt"), (DOSAGE | {"domain": "medical"}, "nmt")]
)
def test_splits_share_no_sentence(corpus, task):
    texts = [
        {r.source or r.target for r in read(corpus | {"size": 400, "split": s, "seed": k}, task)}
        for k, s in enumerate(("train", "dev", "test", "adapt"))
    ]
    train, dev, test, adapt = texts
    assert not train & dev and not train & test and not dev & test and not adapt & (dev | test)


def test_problems_are_known_before():
    check = TABLE["generated"].check
    assert check(NUMBERS, ["en"], None) == check(DOSAGE, ["fr", "en"], None) == []
    assert "did you mean 'dosage'" in check(DOSAGE | {"generator": "dosages"}, ["en", "fr"], None)[0]
    assert "clean, shifted" in check(NUMBERS | {"domain": "general"}, ["en"], None)[0]
    assert "not en, de" in check(DOSAGE, ["en", "de"], None)[0]


# -- spoken numbers ------------------------------------------------------------------------------------------------


def test_numbers_in_words():
    known = {0: "zero", 13: "thirteen", 40: "forty", 99: "ninety nine", 100: "one hundred", 104: "one hundred and four"}
    assert {n: spoken_numbers.number(n) for n in known} == known
    assert spoken_numbers.year(1984) == "nineteen eighty four"
    from num2words import num2words

    assert all(spoken_numbers.number(n) == num2words(n).replace("-", " ") for n in range(1000))


def test_domains_share_no_voice_and_the_vocabulary_is_small():
    clean, shifted = spoken_numbers.CLEAN_VOICES, spoken_numbers.SHIFTED_VOICES
    assert not {v.partition("+")[0] for v in clean} & {v.partition("+")[0] for v in shifted}
    assert not {v.partition("+")[2] for v in clean} & {v.partition("+")[2] for v in shifted}
    words = {w for k in range(3000) for w in spoken_numbers.sentence(random.Random(k)).split()}
    assert 50 <= len(words) <= 70


HASHES = """
import hashlib, random, sys
from consomme.data.generate.spoken_numbers import CLEAN_VOICES, SHIFTED_VOICES, utterance
from consomme.data.generate.speech import Utterance
jobs = [Utterance("take twenty drops every two days", v, 160 + k) for k, v in enumerate(CLEAN_VOICES + SHIFTED_VOICES)]
jobs += [utterance("room one hundred and four", d, random.Random(k)) for d in ("clean", "shifted") for k in range(6)]
random.Random(sys.argv[1]).shuffle(jobs)
held = bytearray(int(sys.argv[2]))  # another history of the memory
for job in jobs[int(sys.argv[3]):]:
    print(job, hashlib.blake2b(job.waveform()[0].tobytes()).hexdigest())
"""


def test_speech_depends_on_no_order_and_no_process():
    told = [
        dict(
            line.rsplit(" ", 1)
            for line in subprocess.check_output([sys.executable, "-c", HASHES, *args], text=True).splitlines()
        )
        for args in (("a", "0", "0"), ("b", "1000000", "0"), ("c", "12345", "25"))
    ]
    assert len(told[0]) == 28 and told[0] == told[1]
    assert told[2].items() <= told[0].items()
    assert len(set(told[0].values())) == 28


def test_a_refused_voice_is_an_error():
    for voice in ("en-xx", "en-us+f3"):
        with pytest.raises(ConsommeError, match=r"voice"):
            speak("one", voice, 170, 50)


def test_noise_has_the_ratio_and_the_colour_asked_for():
    samples = (0.1 * np.sin(np.arange(20000) / 10)).astype(np.float32)
    for colour in (0.0, 1.0, 2.0):
        noise = with_noise(samples, Noise(10.0, colour, 3)) - samples
        assert 10 * np.log10(np.mean(samples**2) / np.mean(noise**2)) == pytest.approx(10.0, abs=0.01)
        power = np.abs(np.fft.rfft(noise * np.hanning(len(noise)))) ** 2
        bands = [power[a:b].mean() for a, b in ((50, 100), (1600, 3200))]
        assert np.log2(bands[0] / bands[1]) == pytest.approx(5 * colour, abs=1.0)


def test_utterances_are_short_and_audible(prepare):
    rows = prepare(NUMBERS | {"sampling_rate": 16000})
    assert len(rows) == 12 and rows.seconds.min() > 0.7 and rows.seconds.max() < 6
    assert all(0.05 < np.abs(rows.audio(i)).max() <= 1 for i in range(12))
    shifted = Utterance("two", "en", 170, 50, Noise(5, 1, 1)).waveform()[0]
    assert np.abs(shifted).max() <= 1


# -- dosage --------------------------------------------------------------------------------------------------------


def test_french_agrees():
    assert dosage.words(21, True) == ("twenty-one", "vingt et une") and dosage.words(1, False)[1] == "un"
    assert dosage._of("aspirine") == "d'aspirine" and dosage._of("morphine") == "de morphine"
    assert dosage._names("US") == ("in the United States", "aux États-Unis")
    assert dosage._names("CA") == ("in Canada", "au Canada")
    assert dosage._names("EG")[1] == "en Égypte"


def test_sentences_are_short_plain_and_know_one_space():
    for domain in dosage.DOMAINS:
        for k in range(1500):
            english, french = dosage.pair(domain, random.Random(k))
            assert 5 <= len(english.split()) <= 14, english
            for text in (english, french):
                assert (
                    text == " ".join(text.split()) and text[0].isupper() and text.endswith(".") and "\u202f" not in text
                )
                assert " le 1 " not in text and " un comprimés" not in text


def test_medical_words_are_absent_from_general():
    words = {
        d: {w.strip(".,").lower() for k in range(3000) for w in dosage.pair(d, random.Random(k))[0].split()}
        for d in dosage.DOMAINS
    }
    medical = {"take", "tablets", "drops", "paracetamol", "patient", "treatment", "milligrams", "meals"}
    assert medical <= words["medical"] and not medical & words["general"]
    assert {"march", "eight", "for", "pm", "months"} <= words["medical"] & words["general"]
