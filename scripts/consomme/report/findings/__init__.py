"""What the tables say: means, choices, paths, pruning, as frames and plain values."""
