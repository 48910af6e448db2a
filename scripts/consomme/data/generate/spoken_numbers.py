"""Spoken numbers: digits, numbers, dates, times and doses in English words, and who says them."""

from __future__ import annotations

import random

from consomme.data.generate.speech import Noise, Utterance

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]

# Domains differ in who speaks, how fast, how high, and through what noise. No accent or variant is in both.
CLEAN_VOICES = ("en-us", "en-us+m1", "en-us+m3", "en-us+f1", "en-us+f4", "en", "en+m2", "en+m4", "en+f1", "en+f4")
SHIFTED_VOICES = (
    "en-gb-scotland+m7",
    "en-gb-scotland+Annie",
    "en-gb-x-rp+m6",
    "en-gb-x-rp+belinda",
    "en-029+m8",
    "en-029+steph",
)
DOMAINS = ("clean", "shifted")


def number(n: int) -> str:
    """0..999 in words: "one hundred and four"."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f" {ONES[n % 10]}" if n % 10 else "")
    return f"{ONES[n // 100]} hundred" + (f" and {number(n % 100)}" if n % 100 else "")


def year(n: int) -> str:
    """1910..1999 as it is said: "nineteen eighty four"."""
    return f"{number(n // 100)} {number(n % 100)}"


def sentence(rng: random.Random) -> str:
    """A sentence, two to eight words, from a vocabulary of 63."""
    return rng.choice((_digits, _place, _date, _time, _dose, _amount))(rng)


def _digits(rng: random.Random) -> str:
    return " ".join(rng.choice(ONES[:10]) for _ in range(rng.randint(3, 6)))


def _place(rng: random.Random) -> str:
    return f"{rng.choice(('room', 'gate'))} {number(rng.randrange(1, 1000))}"


def _date(rng: random.Random) -> str:
    day = f"{rng.choice(MONTHS)} {number(rng.randint(1, 28))}"
    return rng.choice((f"on {day}", f"{day} {year(rng.randint(1910, 1999))}"))


def _time(rng: random.Random) -> str:
    minute = rng.choice(("half past", "quarter past", "quarter to", "ten to", "ten past", "five to", "twenty past"))
    when = rng.choice(("", " in the morning", " in the evening"))
    return f"at {minute} {number(rng.randint(1, 12))}{when}"


def _dose(rng: random.Random) -> str:
    what = rng.choice(("milligrams", "tablets", "drops"))
    amount = rng.randrange(5, 1000, 5) if what == "milligrams" else rng.randint(2, 20)
    unit, most = rng.choice((("hours", 24), ("days", 30)))
    return f"take {number(amount)} {what} {rng.choice(('every', 'for'))} {number(rng.randint(2, most))} {unit}"


def _amount(rng: random.Random) -> str:
    return f"{number(rng.randint(0, 99))} point {' '.join(rng.choice(ONES[:10]) for _ in range(rng.randint(1, 3)))}"


def utterance(text: str, domain: str, rng: random.Random) -> Utterance:
    """`text` with a speaker of `domain`, "clean" or "shifted", and the way of speaking drawn by `rng`."""
    if domain == "clean":
        return Utterance(text, rng.choice(CLEAN_VOICES), rng.randint(150, 180), rng.randint(42, 58))
    noise = Noise(round(rng.uniform(10, 20), 1), rng.choice((0.0, 1.0, 2.0)), rng.getrandbits(32))
    return Utterance(text, rng.choice(SHIFTED_VOICES), rng.randint(165, 195), rng.randint(35, 65), noise)
