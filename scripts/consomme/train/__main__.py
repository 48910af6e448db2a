"""`python -m consomme.train --spec JSON_OR_FILE --inputs PATH... --out DIR`."""

from consomme.common.stage import main
from consomme.train.stage import run

if __name__ == "__main__":
    main(run, "train a model further: a model folder in, a model folder out")
