"""`python -m consomme.train --spec JSON_OR_FILE --inputs PATH... --out DIR`."""

import os

# before transformers is imported: no forked tokenizers, nothing fetched in the middle of a job, no progress bars
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

from consomme.common.stage import main
from consomme.train.run import run

if __name__ == "__main__":
    main(run, "train a model further: a model folder in, a model folder out")
