"""The table of averaging methods. One more method is one more small file and one line here, or an entry point of another
package in the group `consomme.averaging` that loads to a `Method`. Importing this imports nothing heavy."""

from __future__ import annotations

from consomme.average.methods.base import Method
from consomme.average.methods.best import BEST
from consomme.average.methods.greedy import GREEDY
from consomme.average.methods.interpolate import INTERPOLATE
from consomme.average.methods.uniform import UNIFORM
from consomme.common.table import Table

__all__ = ["TABLE", "Method", "method_named"]

TABLE: Table[Method] = Table("averaging method", "consomme.averaging", UNIFORM, GREEDY, INTERPOLATE, BEST)
method_named = TABLE.named
