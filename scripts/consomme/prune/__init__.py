"""Pruning: layers and attention heads leave, what remains is a model again."""
