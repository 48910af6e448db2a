"""Which families can be written in which format."""

import re
from pathlib import Path

from consomme.families import TABLE as FAMILIES
from consomme.formats import TABLE as FORMATS

PAGE = Path(__file__).parents[2] / "docs/families.md"


def test_the_page_names_the_formats_of_each_family():
    """The last column of the table of families; a row of several says of which a format is."""
    told = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`([\w-]+)`", cells[0])
        if len(cells) != 6 or not names or names[0] not in FAMILIES:
            continue
        common, _, more = cells[-1].partition("; ")
        for name in names:
            told[name] = set(common.split(", ")) | (
                set(re.findall(r"also (\w+)", more)) if f"`{name}`" in more else set()
            )
    assert told == {name: {f.name for f in FORMATS.values() if f.fits(family)} for name, family in FAMILIES.items()}
