"""Shared by all stages: errors, atomic writes, digests, the command line of a job."""
