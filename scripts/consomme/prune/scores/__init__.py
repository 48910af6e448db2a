"""The table of head scores. One more is one more small file and one line here, or an entry point of another package in the
group `consomme.heads` that loads to a `HeadScore`. Importing this imports nothing heavy."""

from __future__ import annotations

from consomme.common.table import Table
from consomme.prune.scores.base import HeadScore
from consomme.prune.scores.draws import RANDOM
from consomme.prune.scores.leave_one_out import LEAVE_ONE_OUT
from consomme.prune.scores.magnitude import MAGNITUDE
from consomme.prune.scores.taylor import TAYLOR

__all__ = ["TABLE", "HeadScore", "score_named"]

TABLE: Table[HeadScore] = Table("head score", "consomme.heads", TAYLOR, LEAVE_ONE_OUT, MAGNITUDE, RANDOM)
score_named = TABLE.named
