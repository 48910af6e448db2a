"""The export stage: write the model, then compare its outputs with the original's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.provenance import contents, write_provenance
from consomme.common.settings import checked
from consomme.common.stage import build_once
from consomme.export.formats import TABLE, format_named
from consomme.export.formats.base import Ask

EXAMPLES = 32  # development examples that original and export both decode
ENOUGH = 0.9  # the share of equal outputs that floating-point weights are expected to reach
MAX_NEW_TOKENS = 128


def run(job: Job) -> None:
    """Export the job's one parent."""
    import torch

    torch.set_num_threads(job.threads)
    build_once(job, contents(job), lambda folder, work: build(job, folder, work))


def build(job: Job, folder: Path, work: Path) -> None:
    """Fill the empty `folder` with the exported model and its provenance, which has the agreement of both.

    ConsommeError for a format that the family does not have, or for settings that the format does not have."""
    from consomme.families import family_of

    (parent,) = job.labelled("parent").values()
    settings, family = job.spec["settings"], family_of(parent)
    form = format_named(settings["format"])
    if not form.fits(family):
        able = ", ".join(name for name, other in TABLE.items() if other.fits(family))
        raise ConsommeError(f"format: '{family.name}' can't be written as {form.name}; allowed: {able}")
    checked(form.settings, {k: v for k, v in settings.items() if k != "format"})
    label = job.spec.get("label") or {}
    name = "/".join(str(label[k]) for k in ("experiment", "node", "run") if label.get(k)) or parent.name
    about = {"task": family.task, "languages": job.spec.get("languages") or [], "name": name}
    form.write(parent, folder, settings, about, work)
    write_provenance(job, folder, agreement=agreement(job, parent, folder))


def agreement(job: Job, parent: Path, folder: Path) -> dict[str, Any] | None:
    """The agreement of original and export on up to 32 development examples that the model can take, decoded greedily:
    `examples`, `same` (number of equal texts), `share` (0..1), and the first differences. None without such examples."""
    from consomme.data.features import usable
    from consomme.evaluate.evaluator import rows_of
    from consomme.export.formats.safetensors import SAFETENSORS
    from consomme.families import family_of

    corpora = list(dict.fromkeys(c for names in (job.spec.get("dev") or {}).values() for c in names))
    if not corpora:
        say("agreement: no development set, so nothing was compared")
        return None
    rows = rows_of(job, corpora)
    rows = rows.select(
        [i * len(rows) // EXAMPLES for i in range(EXAMPLES)] if len(rows) > EXAMPLES else range(len(rows))
    )
    family, languages = family_of(parent), job.spec.get("languages") or []
    taken = usable(family, family.processor(parent, languages), rows, range(len(rows)), languages)
    rows = rows.select([i for i, _ in taken])
    if not len(rows):
        say("agreement: the model can take no development example, so nothing was compared")
        return None
    tokens = int((job.spec.get("decoding") or {}).get("max_new_tokens") or MAX_NEW_TOKENS)
    ask = Ask(family, rows, languages, tokens, job.threads)
    settings = job.spec["settings"]
    form = format_named(settings["format"])
    before, after = SAFETENSORS.say(parent, ask), form.say(folder, ask)
    differ = [{"id": i, "original": b, "export": a} for i, b, a in zip(rows.ids, before, after, strict=True) if a != b]
    same = len(rows) - len(differ)
    share = same / len(rows)
    say(f"agreement: {same} of {len(rows)} development examples have equal outputs")
    if share < ENOUGH and form.exact(settings):
        say(
            f"WARNING: an export in floating point should have equal outputs for {ENOUGH:.0%} of the examples or more; check it before use"
        )
        for one in differ[:3]:
            say(f"  {one['id']}: '{one['original']}' became '{one['export']}'")
    return {"examples": len(rows), "same": same, "share": share, "differences": differ[:3]}
