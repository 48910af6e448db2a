"""Numbers and verdicts as people write them."""
