"""`consomme init`: a configuration for a user's data. data.py reads the data, settings.py chooses, text.py writes."""
