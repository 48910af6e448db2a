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


def test_another_sets_units_change_no_claim_on_this_one(tree):
    """What the register says of a claim rests on the units of its own test set."""
    from consomme.register.claims import subject

    (claim, *_) = (c for c in tree["claims"] if c["on"] == "medical")
    before = subject(tree | {"units": "speaker"}, claim)
    assert subject(tree | {"units": {"general": "recording"}}, claim) == before
    assert subject(tree | {"units": {"medical": "recording"}}, claim) != before
