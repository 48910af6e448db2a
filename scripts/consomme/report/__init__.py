"""The report: what a run's numbers say, in tables, a short answer and a page.

outcomes, lineage, provenance   what the models said, how they stem from each other, what they were made with
evidence/                       scores with intervals, claims and their tests
findings/                       what is counted from the tables: means, choices, paths, pruning, landscapes
words/                          claims and the summary in English
charts/                         how all this is drawn
page/                           report.html
numbers                         how numbers are written
write, links, pictures          the files: all of a report's; names for models; the graphs of a configuration
"""
