"""The table of layer choosers. One more is one more small file and one line here, or an entry point of another package in
the group `consomme.choosers` that loads to a `Chooser`. Importing this imports nothing heavy."""

from __future__ import annotations

from consomme.common.table import Table
from consomme.prune.choosers.base import Chooser
from consomme.prune.choosers.greedy import GREEDY
from consomme.prune.choosers.truncate import TRUNCATE
from consomme.prune.choosers.uniform import UNIFORM

__all__ = ["TABLE", "Chooser", "chooser_named"]

TABLE: Table[Chooser] = Table("layer chooser", "consomme.choosers", UNIFORM, TRUNCATE, GREEDY)
chooser_named = TABLE.named
