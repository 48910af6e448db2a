"""Transcribe recordings of any length: `consomme transcribe MODEL AUDIO...`."""

from consomme.transcribe.command import main

__all__ = ["main"]
