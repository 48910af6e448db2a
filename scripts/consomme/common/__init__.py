"""What every stage shares: errors, files that appear whole, digests, the command line of a job."""
