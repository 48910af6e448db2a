"""Evaluation: hypotheses, statistics per utterance, metrics, and choices on development sets."""
