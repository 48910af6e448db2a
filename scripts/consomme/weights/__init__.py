"""Weights on disk: tensors read and written in pieces, what fits together, means, and the stock shape of cut models."""
