"""Weights on disk: tensors read and written in chunks, compatibility checks, means, and the stock shape of head-pruned
models."""
