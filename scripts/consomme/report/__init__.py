"""The report: tables, a short answer and a page.

outcomes, lineage, provenance   hypotheses, relations between models, settings and versions
evidence/                       scores with intervals, claims and their tests
findings/                       computed from the tables: means, languages, choices, paths, pruning, landscapes
words/                          claims and the summary in English
charts/                         Vega-Lite specs and SVG
page/                           report.html
numbers                         formats of numbers
write, links, pictures          the files: a whole report; links to models; the graphs of a configuration
"""
