"""What the test sets prove: randomisation for p, bootstrap for intervals, Holm over the declared claims."""
