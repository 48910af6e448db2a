"""Configuration → plan: every node with its spec, digest, inputs and outputs. Pure: no torch, numpy or pandas."""
