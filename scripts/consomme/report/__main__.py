"""python -m consomme.report --spec FILE --out results/EXPERIMENT"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from consomme.common import content
from consomme.common.files import write_json
from consomme.common.job import Job
from consomme.common.mirror import bring, keep, light
from consomme.common.stage import main


def run(job: Job) -> None:
    """Write the links, the tables, the short answer and the page, the hashes of them, and the spec that they were made from,
    for those who check them."""
    os.environ.setdefault("OMP_NUM_THREADS", str(job.threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(job.threads))
    from consomme.report.write import FILES, REPORTED, write_report

    bring(*map(Path, _read(job.spec)), wanted=lambda path: light(path) or path.parts[1] == "prepared")
    content.require_whole(map(Path, job.spec.get("corpora", {}).values()), job.cache)
    write_report(job.spec, job.out, job.cache, job.threads)
    write_json(job.out / REPORTED, job.spec)
    written = [path for pattern in FILES for path in sorted(job.out.glob(pattern))]
    content.record(job.out, [path.relative_to(job.out).as_posix() for path in written])
    keep(*written, job.out / REPORTED)


def _read(spec: Mapping[str, Any]) -> Iterator[str]:
    """What the report reads."""
    for model in spec["models"]:
        yield model["folder"]
        if model["evaluation"]:
            yield os.path.dirname(model["evaluation"])
    yield from (landscape["path"] for landscape in spec.get("landscapes", ()))
    yield from spec.get("corpora", {}).values()


if __name__ == "__main__":
    main(run, "Write the tables, the short answer and the page of an experiment.")
