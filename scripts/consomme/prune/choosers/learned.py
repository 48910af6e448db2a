"""Layer scores learnt by gradient on the development sets, the weights frozen."""

from __future__ import annotations

from consomme.prune.choosers.base import Answer, Chooser, Question


def choose(question: Question) -> Answer:
    """The layers with the lowest scores, ties: the lowest layer (Xu et al. 2024, arXiv 2407.18930, who train the
    weights along with the scores)."""
    assert question.learnt is not None, "learned needs the gates"
    scores, losses = question.learnt(question.drop, question.seed)
    gone = sorted(sorted(range(question.depth), key=lambda n: (scores[n], n))[: question.drop])
    return gone, [*losses, *({"layer": n + 1, "score": score} for n, score in enumerate(scores))]


LEARNED = Chooser("learned", choose, searches=True, seeded=True, layers_only=True)
