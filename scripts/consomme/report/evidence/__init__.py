"""Evidence from test sets.

paired         the sums of two models by replicate and unit, their differences, and how each unit pulls at them
randomisation  swaps of whole units: p of `beats`, of these models
student        Student's t and the bootstrap t on the pulls: p of `keeps`, of these models, and intervals
crossed        replicates and units as crossed random factors: p and intervals of the method
visible        the difference that a test could have seen
holm           adjustment over the declared claims
questions      the declared claims and what is compared beside them
claims         the answers
scores         the scores of all models, with intervals
"""
