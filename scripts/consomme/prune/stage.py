"""The prune stage: layers first, then heads of the remaining layers, then neurons of their feed-forward parts, and at last
the vocabulary, so that searches use the parent's."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError, nearest
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.provenance import contents, write_provenance
from consomme.common.stage import build_once
from consomme.prune import heads
from consomme.prune.choosers import chooser_named
from consomme.prune.choosers.base import Question
from consomme.prune.layers import from_one, layers_to_drop, listed, share
from consomme.prune.merging import Merging
from consomme.prune.scores import score_named
from consomme.prune.scores.scored import scored
from consomme.prune.search import Search
from consomme.prune.sublayers import prune_sublayers
from consomme.prune.vocabulary import Vocabulary, cut, finish, no_trimming, size_of, vocabulary
from consomme.prune.width import prune_width

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.evaluate.judge import Judge
    from consomme.families.base import Family

METRIC = "loss"  # the metric of a search if the configuration names none
SEARCH = "search.tsv"
COLUMNS = ("side", "kept", "metric", "value", "computed", "seconds")


def run(job: Job) -> None:
    """Prune the job's one parent."""
    import torch

    torch.set_num_threads(job.threads)
    build_once(job, contents(job), lambda folder, work: build(job, folder))


def build(job: Job, folder: Path) -> None:
    """Fill the empty `folder` with the pruned checkpoint, its zeroed copy if heads were cut out, and its provenance."""
    from consomme.common.model_files import copy_inherited
    from consomme.families import family_of, load
    from consomme.weights.mean import precision
    from consomme.weights.zeroed_copy import save, write_zeroed_copy

    parents, settings = job.labelled("parent"), job.spec["settings"]
    (parent,) = parents.values()
    family = family_of(parent)
    plans = {side: plan for side, plan in (settings.get("layers") or {}).items() if plan}
    _check_sides(family, plans, "layers")
    _check_sides(family, (settings.get("width") or {}).get("sides") or [], "width.sides")
    judge = _Lazy(job, parents)
    model = load(parent)
    chosen: dict[str, Any] = {}
    finer = {side: plan for side, plan in plans.items() if plan.get("of") == "sublayers"}
    seed = int(job.spec.get("seed") or 0)
    searches: dict[str, Search] = {}
    if plans:
        whole = {side: plan for side, plan in plans.items() if side not in finer}
        chosen["layers"] = prune_layers(model, family, whole, judge, searches, precision(parent))
        chosen["layers"] |= prune_sublayers(model, family, finer, judge, seed)
    if settings.get("heads"):
        chosen["heads"] = prune_heads(model, family, settings["heads"], judge)
    if settings.get("width"):
        chosen["width"] = prune_width(model, family, settings["width"], judge, seed)
    words = trimmed(model, family, parent, job) if settings.get("vocabulary") else None
    if not chosen and not words:
        raise ConsommeError("prune: nothing to do: give layers, heads, width or vocabulary")
    copy_inherited(parent, folder)
    save(model, folder, precision(parent))
    if words:
        chosen["vocabulary"] = finish(family, folder, words, job.spec["languages"])
    if getattr(model.config, "pruned_heads", None):
        write_zeroed_copy(folder)
    write_provenance(job, folder, chosen=chosen)
    if any(search.asked for search in searches.values()):
        _write_search(folder / SEARCH, searches, judge())


def _write_search(path: Path, searches: Mapping[str, Search], judge: Judge) -> None:
    """Write every set of layers that was evaluated. Not part of the provenance, because it contains times."""
    lines = ["\t".join(COLUMNS)]
    for side, search in searches.items():
        for kept, objective, computed, seconds in search.asked:
            numbers = " ".join(map(str, from_one(kept)))
            value = f"{judge.score(objective):.6g}"
            lines.append("\t".join([side, numbers, judge.choice.metric, value, str(int(computed)), f"{seconds:.3f}"]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class _Lazy:
    """The judge, created when a search first needs it: pruning by rule reads no data."""

    def __init__(self, job: Job, parents: Mapping[str, Path]) -> None:
        self.job, self.parents, self._judge = job, parents, None

    def __call__(self) -> Judge:
        if self._judge is None:
            from consomme.evaluate.judge import Judge

            self._judge = Judge(self.job, self.parents, metric=METRIC)
            if self._judge.choice.limits:
                raise ConsommeError(
                    f"choose_on: lose_at_most on {', '.join(self._judge.choice.limits)} has no use in pruning, where the "
                    f"settings fix how much is removed; give weights, and declare a claim (keeps) for what must not get worse"
                )
        return self._judge


# -- layers ------------------------------------------------------------------------------------------------------------
def prune_layers(
    model: PreTrainedModel,
    family: Family,
    plans: Mapping[str, Mapping[str, Any]],
    judge: _Lazy,
    searches: dict[str, Search] | None = None,
    dtype: str = "F32",
) -> dict[str, Any]:
    """Remove layers from `model` in place, or merge them into others. Returns by side: the layers kept and dropped (from 1),
    how they were merged and, for a search, its steps and the number of evaluations. The searches themselves are added to
    `searches`, by side. dtype: safetensors' name of the one that the model will be stored in.

    Sides without a search are pruned first; searches then run on the pruned model, the encoder's before the
    decoder's."""
    from consomme.families.surgery import layers

    merging = Merging({side: plan["merge"] for side, plan in plans.items() if plan.get("merge")}, dtype)
    depths = {side: len(layers(model, family.stacks[side])) for side in plans}
    kept: dict[str, list[int]] = {}
    traces: dict[str, list[dict[str, Any]]] = {}
    searches = {} if searches is None else searches
    for side, plan in sorted(plans.items(), key=lambda item: (_searches(item[1]), item[0] != "encoder")):
        depth = depths[side]
        if plan.get("by") is None:
            kept[side] = listed(side, depth, plan)
            continue
        chooser, drop = chooser_named(plan["by"]), layers_to_drop(share(plan["drop"]), depth)
        question = Question(depth, drop, int(judge.job.spec.get("seed") or 0), settings=chooser.settings_of(plan))
        if chooser.searches:
            search = searches[side] = Search(model, family, side, kept, judge(), merging=merging)
            question = replace(
                question, objective=search, similarity=search.similarity, learnt=search.learnt, near=search.near
            )
        gone, trace = chooser.choose(question)
        kept[side] = [n for n in range(depth) if n not in gone]
        if chooser.searches:
            traces[side] = [{k: judge().score(v) if k == "objective" else v for k, v in step.items()} for step in trace]
            say(f"{side}: {searches[side].summary()}")
            searches[side].replay = None  # frees the states, which are not needed any more
    merging.keep_layers(model, family, kept)
    found: dict[str, Any] = {}
    for side in plans:
        gone = [n for n in range(depths[side]) if n not in kept[side]]
        found[side] = {"kept": from_one(kept[side]), "dropped": from_one(gone)}
        if side in merging.ways:
            found[side]["merge"] = merging.ways[side]
        if side in traces:
            found[side] |= {"metric": judge().choice.metric, "trace": traces[side]}
            found[side]["search"] = {"evaluations": len(searches[side].asked)}
        rest = f"; the others were merged into them by {merging.ways[side]}" if side in merging.ways else ""
        say(f"{side}: kept layers {found[side]['kept']} of {depths[side]}{rest}")
    return found


def _searches(plan: Mapping[str, Any]) -> bool:
    return plan.get("by") is not None and chooser_named(plan["by"]).searches


def _check_sides(family: Family, sides: Iterable[str], where: str) -> None:
    for side in sides:
        if side not in family.stacks:
            raise ConsommeError(
                f"{where}.{side}: '{family.name}' has no {side}; it has: {', '.join(family.stacks)}"
                f"{nearest(side, family.stacks)}"
            )


# -- heads -------------------------------------------------------------------------------------------------------------
def prune_heads(model: PreTrainedModel, family: Family, plan: Mapping[str, Any], judge: _Lazy) -> dict[str, Any]:
    """Remove heads from `model` in place. Returns which ones, counted from 1, and the scores.

    Heads are cut out of the projections; if the family can't do that for this config they are zeroed instead."""
    from consomme.families.surgery import dead_heads, slice_heads, zero_heads

    began = time.monotonic()
    raw = scored(plan, "heads", model, family, judge, int(judge.job.spec.get("seed") or 0))
    scores = heads.normalised(raw) if score_named(plan["by"]).by_module else raw
    reason = family.no_slicing(model.config)
    dead = dead_heads(model, family) if reason else set()  # if heads can be cut out, zeroed ones can be cut out too
    gone = heads.choose(scores, share(plan["drop"]), plan.get("per") or "model", dead)
    total = sum(len(v) for by in raw.values() for v in by) - len(dead)
    count = sum(len(h) for by in gone.values() for h in by.values())
    say(f"heads: {count} of {total} removed, scored in {time.monotonic() - began:.1f} s: {heads.describe(gone)}")
    if reason:
        zero_heads(model, family, gone)
        say(f"heads: only zeroed, the model is no smaller: {reason}")
    else:
        slice_heads(model, family, gone)
    digits = {g: [[float(f"{v:.6g}") for v in values] for values in by] for g, by in scores.items()}
    return {"by": plan["by"], "removed": heads.describe(gone), "of": total, "scores": digits, "sliced": not reason}


# -- vocabulary --------------------------------------------------------------------------------------------------------
def trimmed(model: PreTrainedModel, family: Family, parent: Path, job: Job) -> Vocabulary:
    """Cut the tokens out of `model`, in place, that the texts of the job's `texts` corpora don't use."""
    from consomme.data.prepared import Rows

    if not family.trimmed:
        raise ConsommeError(no_trimming(family))
    sets = [Rows.open({name: job.inputs[f"corpus/{name}"]}) for name in job.spec["texts"]]
    found = vocabulary(family, parent, size_of(model), sets, job.spec["languages"])
    cut(model, found.kept)
    return found
