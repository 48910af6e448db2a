"""How many cases those tests try that make their own: few, and thousands with CONSOMME_THOROUGH=1.

The cases follow from the test alone, so that every machine tries the same ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

THOROUGH = os.environ.get("CONSOMME_THOROUGH") == "1"


def cases(few: int, many: int) -> settings:
    """Hypothesis's settings for so many examples."""
    return settings(
        max_examples=many if THOROUGH else few,
        derandomize=True,
        database=None,
        deadline=None,  # no test asserts speed
        suppress_health_check=list(HealthCheck),
    )
