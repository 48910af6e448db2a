"""`python -m consomme.data --spec JSON_OR_FILE --inputs PATH... --out FOLDER`"""

from __future__ import annotations

import os

from consomme.common.stage import main
from consomme.data import prepare, prepare_part

if __name__ == "__main__":
    # read when torch is loaded: its threads would slow down the processes that decode in parallel
    os.environ["OMP_NUM_THREADS"] = "1"
    main(
        lambda job: (prepare_part if "part" in job.spec else prepare).run(job),
        "Read a corpus once: check it, normalise its text, decode its audio, write it as Arrow.",
    )
