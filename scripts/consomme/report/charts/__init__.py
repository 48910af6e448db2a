"""Charts: Vega-Lite specs and SVG."""
