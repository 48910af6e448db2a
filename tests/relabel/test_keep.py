"""Which labelled rows stay."""

import numpy as np
import pytest

from consomme.relabel.keep import sift

SURE = np.array([0.9, 0.5, 0.7, 0.5, 0.2])


def kept(keep, problems=(None,) * 5, scores=None):
    found = sift(problems, SURE, {k: np.array(v, float) for k, v in (scores or {}).items()}, keep)
    return [i for i, problem in enumerate(found) if problem is None], [p and p[0] for p in found]


def test_without_conditions_all_stay_that_can():
    assert kept({}, [None, ("no text", ""), None, None, None])[0] == [0, 2, 3, 4]


@pytest.mark.parametrize(("bound", "wanted"), [(0.5, [0, 1, 2, 3]), (0.51, [0, 2]), (0.9, [0]), (0.95, [])])
def test_a_confidence_is_reached_or_not(bound, wanted):
    assert kept({"confidence": bound})[0] == wanted


def test_errors_are_at_most_and_similarities_at_least_the_bound():
    errors = [0, 20, 20.5, 100, 5]
    assert kept({"wer": 20}, scores={"wer": errors}) == ([0, 1, 4], [None, None, "wer", "wer", None])
    assert kept({"chrf": 20}, scores={"chrf": errors})[0] == [1, 2, 3]
    assert kept({"wer": 20, "cer": 2}, scores={"wer": errors, "cer": [1, 9, 0, 0, 0]})[0] == [0, 4]


@pytest.mark.parametrize(
    ("share", "wanted"), [(1, [0, 1, 2, 3, 4]), (0.6, [0, 1, 2]), (0.8, [0, 1, 2, 3]), (0.5, [0, 1, 2]), (0.01, [0])]
)
def test_a_share_is_the_most_confident_and_of_equals_the_first(share, wanted):
    assert kept({"share": share})[0] == wanted


def test_a_share_is_of_what_passed_all_else():
    problems = [("no text", ""), None, None, None, None]
    assert kept({"share": 0.5, "confidence": 0.3}, problems) == ([1, 2], ["no text", None, None, "share", "confidence"])
