"""The export stage: write the model, then compare its outputs with the original's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.provenance import contents, write_provenance
from consomme.common.settings import checked
from consomme.common.stage import build_once
from consomme.export.asked_otherwise import asked_otherwise
from consomme.export.card import card
from consomme.formats import TABLE, exported_as, format_named, write

if TYPE_CHECKING:
    from consomme.data.prepared import Rows

EXAMPLES = 32  # development examples that original and export both decode
ENOUGH = 0.9  # the share of equal outputs that floating-point weights are expected to reach
SHOWN = 3  # differences that are kept


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
    if reason := form.refuses(settings, family):
        raise ConsommeError(reason)
    label = job.spec.get("label") or {}
    name = "/".join(str(label[k]) for k in ("experiment", "node", "run") if label.get(k)) or parent.name
    about = {"task": family.task, "languages": job.spec.get("languages") or [], "name": name}
    write(form, parent, folder, settings, work)
    (folder / "README.md").write_text(card(parent, form, about), encoding="utf-8")
    agreed, more = None, {}
    if (rows := examples(job)) is None:
        say("agreement: no development set, so nothing was compared")
    elif (agreed := agreement(job, rows, parent, folder)) and (found := asked_otherwise(job, rows, folder)):
        more["asked_otherwise"] = found
    write_provenance(job, folder, agreement=agreed, **more)


def examples(job: Job) -> Rows | None:
    """Up to 32 rows of the development sets, spread over them; None without a set."""
    from consomme.evaluate.evaluator import rows_of

    corpora = list(dict.fromkeys(c for names in (job.spec.get("dev") or {}).values() for c in names))
    if not corpora:
        return None
    rows = rows_of(job, corpora)
    spread = [i * len(rows) // EXAMPLES for i in range(EXAMPLES)] if len(rows) > EXAMPLES else range(len(rows))
    return rows.select(spread)


def agreement(job: Job, rows: Rows, parent: Path, folder: Path) -> dict[str, Any] | None:
    """The agreement of original and export on the rows that both can take, decoded greedily: `examples`, `same` (number of
    equal texts), `share` (0..1), and the first differences. None without such rows."""
    most = (job.spec.get("decoding") or {}).get("max_new_tokens")
    greedy = replace(job, spec={**job.spec, "decoding": {"num_beams": 1, "max_new_tokens": most}})
    before, after = (_said(greedy, rows, path) for path in (parent, folder))
    heard = [i for i in range(len(rows)) if i in before and i in after]
    if not heard:
        say("agreement: the model can take no development example, so nothing was compared")
        return None
    differ = [{"id": rows.ids[i], "original": before[i], "export": after[i]} for i in heard if after[i] != before[i]]
    same = len(heard) - len(differ)
    share = same / len(heard)
    say(f"agreement: {same} of {len(heard)} development examples have equal outputs")
    settings = job.spec["settings"]
    if share < ENOUGH and format_named(settings["format"]).exact(settings):
        say(
            f"WARNING: an export in floating point should have equal outputs for {ENOUGH:.0%} of the examples or more; check it before use"
        )
        for one in differ[:SHOWN]:
            say(f"  {one['id']}: '{one['original']}' became '{one['export']}'")
    return {"examples": len(heard), "same": same, "share": share, "differences": differ[:SHOWN]}


def _said(job: Job, rows: Rows, folder: Path) -> dict[int, str]:
    """Number of a row that the model in `folder` can take -> what it says, by its engine or by transformers."""
    from consomme.evaluate.deployed import Deployed
    from consomme.evaluate.evaluator import Evaluator
    from consomme.families import load

    sets = {"examples": rows}
    if exported_as(folder):
        deployed = Deployed.open(job, sets, folder)
        texts, unheard = deployed.hypotheses("examples").texts, deployed.unheard("examples")
    else:
        evaluator = Evaluator.open(job, sets, folder)
        model = load(folder, evaluator.device)
        texts, unheard = evaluator.hypotheses(model, "examples").texts, evaluator.inputs("examples").unheard(model)
    return {i: text for i, text in enumerate(texts) if i not in unheard}
