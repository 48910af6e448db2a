"""The report: scores with intervals, claims with their evidence, a short answer, a page, pictures, costs."""
