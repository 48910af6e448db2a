"""Corpora made from grammars: English numbers spoken by a synthesiser, English-French sentences."""
