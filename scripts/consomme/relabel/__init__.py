"""Corpora made by a model of the graph: pseudo-labels, sequence-level distillation, back-translation."""
