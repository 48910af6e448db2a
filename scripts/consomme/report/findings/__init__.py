"""Findings from the tables: means, choices, paths, pruning, as frames and plain values."""
