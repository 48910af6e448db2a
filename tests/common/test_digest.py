"""Equal settings have equal digests, and others have others."""

import pytest

from consomme.common.digest import canonical, digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1.0}, {"a": 1}),
        ({"a": [1, (2, 3)]}, {"a": (1, [2, 3])}),
        ({"a": 1e-5}, {"a": 0.00001}),
        ({1: "x"}, {"1": "x"}),
    ],
)
def test_equal(one, other):
    assert canonical(one) == canonical(other)
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": True}, {"a": 1}),
        ({"a": None}, {}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": 0.1}, {"a": 0.1000001}),
    ],
)
def test_different(one, other):
    assert digest(one) != digest(other)


def test_the_digest_is_the_same_in_every_process():
    assert digest({"learning_rate": 1e-5, "text": "é"}) == digest({"text": "é", "learning_rate": 0.00001})
    assert len(digest({})) == 12
    assert digest({}, 8) == digest({})[:8]
    assert set(digest({})) <= set("0123456789abcdef")


def test_no_number_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": float("nan")})
