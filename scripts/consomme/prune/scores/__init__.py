"""The table of scores of units, heads and neurons alike. A new one is a small file and one line here, or an entry
point of another package in the group `consomme.scores` that loads to a `Score`. Importing this imports nothing heavy."""

from __future__ import annotations

from consomme.common.table import Table
from consomme.prune.scores.base import Score
from consomme.prune.scores.draws import RANDOM
from consomme.prune.scores.leave_one_out import LEAVE_ONE_OUT
from consomme.prune.scores.magnitude import MAGNITUDE
from consomme.prune.scores.taylor import TAYLOR

__all__ = ["TABLE", "Score", "score_named"]

TABLE: Table[Score] = Table("score", "consomme.scores", TAYLOR, LEAVE_ONE_OUT, MAGNITUDE, RANDOM)
score_named = TABLE.named
