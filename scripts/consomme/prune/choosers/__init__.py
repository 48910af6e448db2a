"""The table of layer choosers. A new one is a small file and one line here, or an entry point of another package in the
group `consomme.choosers` that loads to a `Chooser`. Importing this imports nothing heavy."""

from __future__ import annotations

from consomme.common.table import Table
from consomme.prune.choosers.base import Chooser
from consomme.prune.choosers.draws import RANDOM, RANDOM_SEARCH
from consomme.prune.choosers.greedy import GREEDY, LEAVE_ONE_OUT
from consomme.prune.choosers.learned import LEARNED
from consomme.prune.choosers.similarity import ANGULAR, SIMILARITY
from consomme.prune.choosers.truncate import TRUNCATE
from consomme.prune.choosers.uniform import SPACED, UNIFORM

__all__ = ["TABLE", "Chooser", "chooser_named"]

_CHOOSERS = (
    *(UNIFORM, SPACED, TRUNCATE, RANDOM),
    *(GREEDY, LEAVE_ONE_OUT, RANDOM_SEARCH, SIMILARITY, ANGULAR, LEARNED),
)
TABLE: Table[Chooser] = Table("layer chooser", "consomme.choosers", *_CHOOSERS)
chooser_named = TABLE.named
