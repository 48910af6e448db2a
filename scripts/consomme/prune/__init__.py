"""Pruning: layers, attention heads and neurons are removed; the result is a model again."""
