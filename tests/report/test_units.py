"""What counts as a unit, for all sets or for some."""

from pathlib import Path

import pytest

from consomme.report.write import measured


@pytest.mark.parametrize(
    ("declared", "medical", "general"),
    [
        ("speaker", 60, 120),  # documents of two rows, where they are known
        ("recording", 120, 120),
        ({"medical": "recording"}, 120, 120),
        ({"general": "recording"}, 60, 120),
    ],
)
def test_units_are_those_of_the_set(tree, declared, medical, general):
    _, _, comparisons, _, _ = measured(tree | {"units": declared}, Path("cache"))
    found = {c.set: c.units for c in comparisons if c.declared}
    assert found == {"medical": medical, "general": general}
