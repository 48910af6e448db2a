"""The register of an experiment's claims, results/EXPERIMENT/claims.jsonl: what was claimed when, and which test scores
were known then. All of it is read from the report's spec and from files.

chain      the file: lines that each hold the hash of the one before
claims     a claim's hash, and what it is about
scores     the test scores that are there, and those that a plan asks for
entry      the line of a start of the workflow
standing   what the register says of claims, and of itself
looks      how often a test set was scored, in all experiments
"""
