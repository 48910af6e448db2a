"""Train: a model folder and prepared corpora in, a model folder out. transformers' Trainer does the work."""
