"""The configuration: every key, its meaning, its default. config/schema.json is generated from this package.

Sections are validated one by one in `plan.load`, so that an error names the key's path; sweeps are expanded before a
node is validated, so that each run is checked like a node written out by hand.
"""

from consomme.plan.schema.augmentation import Augment
from consomme.plan.schema.averaging import AverageNode
from consomme.plan.schema.choice import Constraint, Decoding
from consomme.plan.schema.configuration import VERBS, Configuration, Experiment
from consomme.plan.schema.corpora import Corpus, Data, Relabelled
from consomme.plan.schema.exporting import ExportNode
from consomme.plan.schema.node import Node, Sweep
from consomme.plan.schema.pruning import PruneNode
from consomme.plan.schema.starting import FromNode
from consomme.plan.schema.training import Halving, Search, TrainNode, TrainSweep

__all__ = [
    "VERBS",
    "Augment",
    "AverageNode",
    "Configuration",
    "Constraint",
    "Corpus",
    "Data",
    "Decoding",
    "Experiment",
    "ExportNode",
    "FromNode",
    "Halving",
    "Node",
    "PruneNode",
    "Relabelled",
    "Search",
    "Sweep",
    "TrainNode",
    "TrainSweep",
]
