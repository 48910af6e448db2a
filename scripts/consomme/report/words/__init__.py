"""Verdicts and the summary as people write them."""
