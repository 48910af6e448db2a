"""Pruning: layers, attention heads and neurons leave, what remains is a model again."""
