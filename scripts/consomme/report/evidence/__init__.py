"""Evidence from test sets: randomisation for p, bootstrap for intervals, Holm over the declared claims."""
