"""The page of tables gives each claim the answer that the report gives."""

import pytest

from consomme.report.publish import answer


@pytest.mark.parametrize(
    ("hypothesis", "margin", "difference", "high", "p", "wanted"),
    [
        ("beats", "", 2, 3, 0.01, "shown"),
        ("beats", "", -2, -1, 0.01, "refuted"),
        ("beats", "", -2, 1, 0.2, "not shown"),
        ("keeps", 3, -1, 0, 0.01, "shown"),
        ("keeps", 3, -2, 0, 0.2, "not shown"),
        ("keeps", 3, -6, -4, 1.0, "refuted"),
    ],
)
def test_answers(hypothesis, margin, difference, high, p, wanted):
    row = {"hypothesis": hypothesis, "margin": str(margin), "difference": str(difference), "ci_high": str(high)}
    assert answer({**row, "p_holm": str(p)}) == wanted
