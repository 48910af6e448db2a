"""Export: a finished model in a format that other programs load."""
