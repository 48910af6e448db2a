"""The table of averaging methods. A new method is one small file and one line here, or an entry point of another
package in the group `consomme.averaging` that loads to a `Method`. Importing this imports nothing heavy."""

from __future__ import annotations

from consomme.average.methods.adapters import ADAPTERS
from consomme.average.methods.base import Method
from consomme.average.methods.best_run import BEST_RUN
from consomme.average.methods.breadcrumbs import BREADCRUMBS
from consomme.average.methods.checkpoints import BEST, EMA, LAST, WINDOW
from consomme.average.methods.della import DELLA
from consomme.average.methods.ensemble import ENSEMBLE
from consomme.average.methods.fastest import FASTEST
from consomme.average.methods.fisher import FISHER
from consomme.average.methods.greedy import GREEDY
from consomme.average.methods.interpolate import INTERPOLATE
from consomme.average.methods.iso_c import ISO_C
from consomme.average.methods.karcher import KARCHER
from consomme.average.methods.learned import LEARNED
from consomme.average.methods.model_stock import MODEL_STOCK
from consomme.average.methods.regmean import REGMEAN
from consomme.average.methods.slerp import SLERP
from consomme.average.methods.smallest import SMALLEST
from consomme.average.methods.task_vectors import DARE_LINEAR, DARE_TIES, TASK_ARITHMETIC, TIES
from consomme.average.methods.tsv import TSV
from consomme.average.methods.uniform import UNIFORM
from consomme.average.methods.weighted import WEIGHTED
from consomme.common.table import Table

__all__ = ["TABLE", "Method", "method_named"]

_METHODS = (
    *(UNIFORM, WEIGHTED, GREEDY, LEARNED, INTERPOLATE, FISHER, REGMEAN, BEST_RUN),
    *(LAST, BEST, EMA, WINDOW, ENSEMBLE, SMALLEST, FASTEST),
    *(SLERP, KARCHER, TASK_ARITHMETIC, TIES, DARE_LINEAR, DARE_TIES, DELLA, BREADCRUMBS, TSV, ISO_C, MODEL_STOCK),
    ADAPTERS,
)
TABLE: Table[Method] = Table("averaging method", "consomme.averaging", *_METHODS)
method_named = TABLE.named
