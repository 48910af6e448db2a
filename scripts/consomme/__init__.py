"""Consommé: train many, average, reduce."""

__version__ = "0.1.0"
