"""python -m consomme.report --spec FILE --out results/EXPERIMENT"""

from __future__ import annotations

import os

from consomme.common.job import Job
from consomme.common.stage import main


def run(job: Job) -> None:
    """Write the links, the tables, the short answer and the page."""
    os.environ.setdefault("OMP_NUM_THREADS", str(job.threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(job.threads))
    from consomme.report.write import write_report

    write_report(job.spec, job.out, job.cache, job.threads)


if __name__ == "__main__":
    main(run, "Write the tables, the short answer and the page of an experiment.")
