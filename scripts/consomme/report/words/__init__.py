"""Verdicts and the summary in English."""
