"""English sentences and their French: of everyday life, and directions for medicines.

Dates, times, money, units and the names of countries are CLDR's (by Babel), numbers in words num2words's; what stands
around them is a grammar that minds gender, number and elision. Both domains speak of dates, times and numbers; no word
that is only medical stands in the general one."""

from __future__ import annotations

import datetime
import functools
import random
from collections.abc import Sequence

from babel import Locale
from babel.dates import format_date, format_time
from babel.numbers import get_currency_name
from babel.units import format_unit
from num2words import num2words

DOMAINS = ("general", "medical")
Pair = tuple[str, str]

# -- general: English, French with its article; the country's preposition decides its own article -----------------------
EVENTS = (
    ("meeting", "la réunion"), ("train", "le train"), ("concert", "le concert"), ("lesson", "la leçon"),
    ("boat", "le bateau"), ("wedding", "le mariage"), ("game", "le match"), ("journey", "le voyage"),
)  # fmt: skip
TAKES_PLACE = (EVENTS[0], EVENTS[2], *EVENTS[5:7])
ITEMS = (
    ("ticket", "le billet"), ("book", "le livre"), ("room", "la chambre"), ("bicycle", "le vélo"),
    ("table", "la table"), ("coat", "le manteau"), ("lamp", "la lampe"), ("picture", "le tableau"),
)  # fmt: skip
THINGS = (  # English plural, French plural, feminine
    ("books", "livres", False), ("apples", "pommes", True), ("chairs", "chaises", True), ("cakes", "gâteaux", False),
    ("flowers", "fleurs", True), ("shirts", "chemises", True), ("pencils", "crayons", False),
)  # fmt: skip
PEOPLE = (
    ("brother", "mon frère"), ("sister", "ma sœur"), ("friend", "mon ami"), ("neighbor", "mon voisin"),
    ("aunt", "ma tante"), ("uncle", "mon oncle"), ("mother", "ma mère"), ("father", "mon père"),
)  # fmt: skip
PLACES = (("village", "le village"), ("station", "la gare"), ("beach", "la plage"), ("castle", "le château"))
COUNTRIES = {
    "CA": "au", "JP": "au", "BR": "au", "PT": "au", "MX": "au", "MA": "au", "PE": "au", "DK": "au",
    "FR": "en", "DE": "en", "IT": "en", "ES": "en", "EG": "en", "IN": "en", "CN": "en", "CH": "en", "BE": "en",
    "GR": "en", "SE": "en", "NO": "en", "FI": "en", "PL": "en", "IE": "en", "AU": "en", "US": "aux", "NL": "aux",
}  # fmt: skip
FOODS = (("bread", "pain"), ("cheese", "fromage"), ("rice", "riz"), ("butter", "beurre"), ("sugar", "sucre"))
PORTIONS = (  # English, French, feminine
    ("piece", "morceau", False), ("plate", "assiette", True), ("bag", "sac", False), ("bowl", "bol", False),
)  # fmt: skip
CURRENCIES = {"EUR": False, "USD": False, "GBP": True, "CHF": False, "JPY": False}  # code -> feminine in French
UNITS = ("length-kilometer", "length-meter", "length-mile")

# -- medical -----------------------------------------------------------------------------------------------------------
DRUGS = (
    ("paracetamol", "paracétamol"), ("ibuprofen", "ibuprofène"), ("amoxicillin", "amoxicilline"),
    ("aspirin", "aspirine"), ("codeine", "codéine"), ("morphine", "morphine"), ("insulin", "insuline"),
    ("penicillin", "pénicilline"), ("cortisone", "cortisone"), ("metformin", "metformine"),
    ("warfarin", "warfarine"), ("diazepam", "diazépam"), ("omeprazole", "oméprazole"), ("salbutamol", "salbutamol"),
)  # fmt: skip
FORMS = (  # English, French, feminine
    ("tablet", "comprimé", False), ("capsule", "gélule", True), ("drop", "goutte", True),
    ("spoonful", "cuillerée", True), ("sachet", "sachet", False),
)  # fmt: skip
PATIENTS = (("the patient", "le patient"), ("the infant", "le nourrisson"), ("the nurse", "l'infirmière"))
MEALS = (
    ("before meals", "avant les repas"), ("after meals", "après les repas"), ("with water", "avec de l'eau"),
    ("on an empty stomach", "à jeun"), ("at bedtime", "au coucher"),
)  # fmt: skip
SPANS = (("day", "jour", False), ("week", "semaine", True), ("month", "mois", False), ("year", "an", False))


def pair(domain: str, rng: random.Random) -> Pair:
    """A sentence of `domain`, "general" or "medical", and its translation: English, French."""
    english, french = rng.choice(GENERAL if domain == "general" else MEDICAL)(rng)
    return _sentence(english), _sentence(french)


def _sentence(text: str) -> str:
    # CLDR puts narrow and no-break spaces into dates and times
    text = " ".join(text.split())
    return f"{text[0].upper()}{text[1:]}."


# -- pieces that both domains share ---------------------------------------------------------------------------------


@functools.cache
def words(n: int, feminine: bool = False) -> Pair:
    """A number in English words, without "and", and in French ones, agreeing where it ends in one."""
    french = num2words(n, lang="fr")
    if feminine and (french == "un" or french.endswith((" un", "-un"))):
        french += "e"
    return num2words(n).replace(" and ", " "), french


def _date(rng: random.Random, widths: Sequence[str] = ("long", "full")) -> Pair:
    """March 3, 2020: never the first of a month, for which CLDR has "1" and French wants "1er"."""
    day = datetime.date(rng.randint(1990, 2029), rng.randint(1, 12), rng.randint(2, 28))
    width = rng.choice(widths)
    return format_date(day, width, "en"), format_date(day, width, "fr")


def _time(rng: random.Random) -> Pair:
    time = datetime.time(rng.randrange(24), rng.randrange(0, 60, 5))
    return format_time(time, "short", locale="en"), format_time(time, "short", locale="fr")


def _span(rng: random.Random) -> Pair:
    english, french, feminine = rng.choice(SPANS)
    n = rng.randint(2, 12)
    count = words(n, feminine)
    return f"{count[0]} {english}s", f"{count[1]} {french}{'' if french.endswith('s') else 's'}"


# -- general --------------------------------------------------------------------------------------------------------


@functools.cache
def _names(code: str) -> Pair:
    english, french = (Locale(x).territories[code] for x in ("en", "fr"))
    return f"in {'the ' if code in ('US', 'NL') else ''}{english}", f"{COUNTRIES[code]} {french}"


def _country(rng: random.Random) -> Pair:
    return _names(rng.choice(tuple(COUNTRIES)))


def _money(rng: random.Random) -> Pair:
    code, n = rng.choice(tuple(CURRENCIES)), rng.randint(2, 99)
    count = words(n, CURRENCIES[code])
    english, french = (get_currency_name(code, count=n, locale=x) for x in ("en", "fr"))
    return f"{count[0]} {english}", f"{count[1]} {french}"


def _event_date(rng: random.Random) -> Pair:
    event, country, date = rng.choice(TAKES_PLACE), _country(rng), _date(rng)
    return f"the {event[0]} {country[0]} is on {date[0]}", f"{event[1]} {country[1]} a lieu le {date[1]}"


def _event_time(rng: random.Random) -> Pair:
    event, time, country = rng.choice(EVENTS), _time(rng), _country(rng)
    where = rng.choice((("", ""), (f" {country[0]}", f" {country[1]}")))
    return f"the {event[0]}{where[0]} starts at {time[0]}", f"{event[1]}{where[1]} commence à {time[1]}"


def _price(rng: random.Random) -> Pair:
    item, money = rng.choice(ITEMS), _money(rng)
    return f"the {item[0]} costs {money[0]}", f"{item[1]} coûte {money[1]}"


def _lives(rng: random.Random) -> Pair:
    person, country, span = rng.choice(PEOPLE), _country(rng), _span(rng)
    return f"my {person[0]} lived {country[0]} for {span[0]}", f"{person[1]} a vécu {country[1]} pendant {span[1]}"


def _born(rng: random.Random) -> Pair:
    date, country = _date(rng), _country(rng)
    who = rng.choice((("she", "elle est née"), ("he", "il est né")))
    return f"{who[0]} was born {country[0]} on {date[0]}", f"{who[1]} {country[1]} le {date[1]}"


def _bought(rng: random.Random) -> Pair:
    thing, money = rng.choice(THINGS), _money(rng)
    count = words(rng.randint(2, 40), thing[2])
    who = rng.choice((("she", "elle a"), ("he", "il a"), ("we", "nous avons")))
    return (
        f"{who[0]} bought {count[0]} {thing[0]} for {money[0]}",
        f"{who[1]} acheté {count[1]} {thing[1]} pour {money[1]}",
    )


def _distance(rng: random.Random) -> Pair:
    place, n, unit = rng.choice(PLACES), rng.randint(2, 90), rng.choice(UNITS)
    english, french = (format_unit(n, unit, "long", locale=x) for x in ("en", "fr"))
    return f"the {place[0]} is {english} from here", f"{place[1]} est à {french} d'ici"


def _works(rng: random.Random) -> Pair:
    person, first, last = rng.choice(PEOPLE), _time(rng), _time(rng)
    return f"my {person[0]} works from {first[0]} to {last[0]}", f"{person[1]} travaille de {first[1]} à {last[1]}"


def _portion(rng: random.Random) -> Pair:
    """two pieces of bread"""
    food, portion, n = rng.choice(FOODS), rng.choice(PORTIONS), rng.randint(1, 10)
    count, plural = words(n, portion[2]), "" if n == 1 else "x" if portion[1].endswith("eau") else "s"
    return (
        f"{count[0]} {portion[0]}{'s' if n > 1 else ''} of {food[0]}",
        f"{count[1]} {portion[1]}{plural} de {food[1]}",
    )


def _cook(rng: random.Random) -> Pair:
    verb = rng.choice((("eat", "mangez"), ("buy", "achetez"), ("cook", "cuisinez")))
    portion, often, span = _portion(rng), _often(rng), _span(rng)
    when = rng.choice((("", ""), (f" for {span[0]}", f" pendant {span[1]}")))
    return f"{verb[0]} {portion[0]} {often[0]}{when[0]}", f"{verb[1]} {portion[1]} {often[1]}{when[1]}"


def _brought(rng: random.Random) -> Pair:
    person, portion, time = rng.choice(PEOPLE), _portion(rng), _time(rng)
    return f"my {person[0]} brought {portion[0]} at {time[0]}", f"{person[1]} a apporté {portion[1]} à {time[1]}"


# -- medical --------------------------------------------------------------------------------------------------------


def _of(french: str) -> str:
    return f"d'{french}" if french[0] in "aeiouéhAEIOUÉ" else f"de {french}"


def _amount(rng: random.Random) -> Pair:
    """two tablets of paracetamol"""
    drug, form, n = rng.choice(DRUGS), rng.choice(FORMS), rng.randint(1, 10)
    count, plural = words(n, form[2]), "s" if n > 1 else ""
    return f"{count[0]} {form[0]}{plural} of {drug[0]}", f"{count[1]} {form[1]}{plural} {_of(drug[1])}"


def _milligrams(rng: random.Random) -> Pair:
    drug, n = rng.choice(DRUGS), rng.randrange(5, 200, 5)
    english, french = (format_unit(n, "mass-milligram", "long", locale=x) for x in ("en", "fr"))
    return f"{english} of {drug[0]}", f"{french} {_of(drug[1])}"


def _often(rng: random.Random) -> Pair:
    n = rng.randint(2, 12)
    hours, days = words(n, True), words(n)
    return rng.choice(
        (
            (f"every {hours[0]} hours", f"toutes les {hours[1]} heures"),
            (f"every {days[0]} days", f"tous les {days[1]} jours"),
            ("once a day", "une fois par jour"),
            ("twice a day", "deux fois par jour"),
            ("three times a day", "trois fois par jour"),
        )
    )


def _take(rng: random.Random) -> Pair:
    verb = rng.choice((("take", "prenez"), ("swallow", "avalez"), ("give", "administrez")))
    amount, often, meal = _amount(rng), _often(rng), rng.choice(MEALS)
    return f"{verb[0]} {amount[0]} {often[0]} {meal[0]}", f"{verb[1]} {amount[1]} {often[1]} {meal[1]}"


def _take_for(rng: random.Random) -> Pair:
    verb = rng.choice((("take", "prenez"), ("swallow", "avalez"), ("inject", "injectez")))
    amount = _milligrams(rng) if verb[0] == "inject" else _amount(rng)
    often, span = _often(rng), _span(rng)
    return f"{verb[0]} {amount[0]} {often[0]} for {span[0]}", f"{verb[1]} {amount[1]} {often[1]} pendant {span[1]}"


def _at_most(rng: random.Random) -> Pair:
    form, n = rng.choice(FORMS), rng.randint(2, 12)
    count = words(n, form[2])
    return (
        f"do not take more than {count[0]} {form[0]}s a day",
        f"ne prenez pas plus de {count[1]} {form[1]}s par jour",
    )


def _received(rng: random.Random) -> Pair:
    patient, amount, time = rng.choice(PATIENTS), rng.choice((_milligrams, _amount))(rng), _time(rng)
    return f"{patient[0]} received {amount[0]} at {time[0]}", f"{patient[1]} a reçu {amount[1]} à {time[1]}"


def _until(rng: random.Random) -> Pair:
    # "jusqu'au" takes no day of the week
    drug, date = rng.choice(DRUGS), _date(rng, ("long",))
    verb, when = rng.choice(
        (
            (("stop", "arrêtez"), ("on", "le")),
            (("continue", "poursuivez"), ("until", "jusqu'au")),
        )
    )
    return (
        f"{verb[0]} the treatment with {drug[0]} {when[0]} {date[0]}",
        f"{verb[1]} le traitement par {drug[1]} {when[1]} {date[1]}",
    )


GENERAL = (_event_date, _event_time, _price, _lives, _born, _bought, _distance, _works, _cook, _cook, _brought)
MEDICAL = (_take, _take, _take_for, _take_for, _at_most, _received, _until)
