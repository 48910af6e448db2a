"""What a model says and how well: hypotheses, statistics per utterance, metrics, and choices on development sets."""
