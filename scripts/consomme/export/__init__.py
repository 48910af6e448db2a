"""Export: a finished model in the form that others run."""
