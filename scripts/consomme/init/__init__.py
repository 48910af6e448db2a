"""`consomme init`: a configuration for data that a user has. data looks, settings chooses, text writes."""
