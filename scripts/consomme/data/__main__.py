"""`python -m consomme.data --spec JSON_OR_FILE --inputs PATH... --out FOLDER`"""

from __future__ import annotations

import os

from consomme.common.stage import main
from consomme.data.prepare import run

if __name__ == "__main__":
    # read when torch is loaded: its threads would slow down the processes that decode in parallel
    os.environ["OMP_NUM_THREADS"] = "1"
    main(run, "Read a corpus once: check it, normalise its text, decode its audio, write it as Arrow.")
