"""Vega-Lite specs and SVG: how numbers are drawn."""
