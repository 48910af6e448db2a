"""`python -m consomme.costs --spec FILE --out results/EXPERIMENT/costs.tsv --threads N`, on an otherwise idle machine."""

from consomme.common.stage import main
from consomme.costs.stage import run

if __name__ == "__main__":
    main(run, "Measure what the models of an experiment cost.")
