"""What the jobs of a configuration are doing, told by their files alone."""
