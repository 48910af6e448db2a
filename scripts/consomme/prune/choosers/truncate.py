"""Remove the top layers."""

from __future__ import annotations

from consomme.prune.choosers.base import Answer, Chooser, Question


def choose(question: Question) -> Answer:
    """The last `drop` layers."""
    return list(range(question.depth - question.drop, question.depth)), []


TRUNCATE = Chooser("truncate", choose)
