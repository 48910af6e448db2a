"""Pruned models: checks, and the shape that pruning leaves."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.families import TABLE as FAMILIES
from consomme.families import Family
from consomme.families.parts import no_side
from consomme.plan.choices import NO_CHOICE, choice, no_constraints
from consomme.plan.problems import among, fail
from consomme.plan.schema import PruneNode
from consomme.prune.choosers import TABLE as CHOOSERS
from consomme.prune.choosers.base import Question
from consomme.prune.heads import choose
from consomme.prune.layers import layers_to_drop, listed, to_drop
from consomme.prune.scores import TABLE as SCORES
from consomme.prune.vocabulary import no_trimming
from consomme.prune.width import neurons_to_drop

if TYPE_CHECKING:
    from consomme.plan.items import Model, Prepared
    from consomme.plan.schema.pruning import Layers
    from consomme.plan.view import Graph
    from consomme.prune.choosers import Chooser
    from consomme.prune.scores import Score


def searches(node: PruneNode) -> bool:
    """Whether pruning uses development sets."""
    return any(way.searches for way in _ways(node))


def draws(node: PruneNode) -> bool:
    """Whether pruning draws at random."""
    return any(way.seeded for way in _ways(node))


def _ways(node: PruneNode) -> list[Chooser | Score]:
    """The node's choosers of layers and its scores of heads and neurons."""
    sides = [node.layers.encoder, node.layers.decoder] if node.layers else []
    ways = [CHOOSERS[side.by] for side in sides if side and side.by and side.by in CHOOSERS]
    return [*ways, *(SCORES[part.by] for part in (node.heads, node.width) if part and part.by in SCORES)]


def depth_left(node: PruneNode, parent: Model, path: str, swept: bool = False) -> dict[str, int] | None:
    """Side -> layers left, None if unknown. ConfigurationError if a chooser, score, layer or side doesn't exist.

    swept: the node is one run of a sweep; keys of a choice are then allowed even if this run makes none."""
    family = FAMILIES[parent.family] if parent.family else None
    if node.heads and family and not family.stacks:
        fail(f"{path}.heads", no_side(family, "encoder"))
    if node.heads:
        among(f"{path}.heads.per", node.heads.per, ["model", "layer"], "scope")
        if family and not family.head_hooks and SCORES[node.heads.by].searches:
            blind = ", ".join(name for name, score in SCORES.items() if not score.searches)
            fail(f"{path}.heads.by", f"the heads of '{family.name}' can't be masked one by one; it has: {blind}")
    for name in ("choose_on", "metric"):
        if name in node.model_fields_set and not searches(node) and not swept:
            fail(f"{path}.{name}", "has no use here: nothing is searched")
    if (
        "metric" in node.model_fields_set
        and not any(getattr(way, "by_metric", False) for way in _ways(node))
        and not swept
    ):
        able = ", ".join(name for name, chooser in CHOOSERS.items() if chooser.by_metric)
        fail(f"{path}.metric", f"has no use here; only these need a metric: layers by {able}")
    left, known = dict(parent.depth or {}), parent.depth is not None
    for side in ("encoder", "decoder"):
        plan = getattr(node.layers, side) if node.layers else None
        if plan is None:
            continue
        if family and side not in family.stacks:
            fail(f"{path}.layers.{side}", no_side(family, side))
        among(f"{path}.layers.{side}.of", plan.of, ["layers", "sublayers"], "unit")
        if plan.of == "sublayers":
            _sublayers(plan.by, family, side, f"{path}.layers.{side}")
            if family and side in left:
                units = left[side] * len(family.stacks[side].sublayers)
                _ranked(plan, units, to_drop(Fraction(plan.drop), units), f"{path}.layers.{side}")
            known = False  # a layer is removed only if all of its sublayers are chosen
            continue
        if side not in left:
            continue
        depth, counted = left[side], isinstance(plan.drop, str)
        try:
            gone = layers_to_drop(Fraction(plan.drop), depth) if counted else 0
            left[side] = depth - gone if counted else len(listed(side, depth, plan.model_dump()))
        except ConsommeError as error:
            fail(f"{path}.layers.{side}", str(error))
        if counted:
            _ranked(plan, depth, gone, f"{path}.layers.{side}")
        elif left[side] == depth:
            fail(f"{path}.layers.{side}.keep", f"these are all {depth} layers of the {side}; nothing would be pruned")
    return left if known else None


def _sublayers(by: str, family: Family | None, side: str, path: str) -> None:
    """ConfigurationError unless the chooser can choose sublayers and the family names them."""
    if CHOOSERS[by].layers_only:
        possible = ", ".join(name for name, chooser in CHOOSERS.items() if not chooser.layers_only)
        fail(f"{path}.by", f"'{by}' looks at whole layers; for sublayers there are: {possible}")
    if family and not family.stacks[side].sublayers:
        fail(f"{path}.of", f"'{family.name}' doesn't define the sublayers of its {side}; possible: layers")


def heads_left(node: PruneNode, parent: Model, depth: dict[str, int] | None, path: str) -> dict[str, int] | None:
    """Side -> heads of each attention module, None if heads are pruned (modules then differ). ConfigurationError if too
    few heads exist: every module keeps one. depth: side -> layers left; layers are pruned first."""
    plan = node.heads
    if plan is None:
        return parent.heads
    stacks = FAMILIES[parent.family].stacks if parent.family else {}
    counts, layers = parent.heads or {}, depth or {}
    if stacks and set(stacks) <= {*layers} & {*counts}:
        alike = {
            f"{side}.{name}": [[0.0] * counts[side]] * layers[side]
            for side, stack in stacks.items()
            for name in stack.attentions
        }
        try:
            choose(alike, Fraction(plan.drop), plan.per)
        except ConsommeError as error:
            fail(f"{path}.heads.drop", str(error).removeprefix("heads.drop: "))
    return None


def width_left(node: PruneNode, parent: Model, path: str) -> dict[str, int] | None:
    """The config's key -> feed-forward width left. ConfigurationError unless the score exists and the family names the
    feed-forward blocks of those sides."""
    plan, path = node.width, f"{path}.width"
    if plan is None:
        return parent.width
    if SCORES[plan.by].each:
        possible = ", ".join(name for name, score in SCORES.items() if not score.each)
        fail(
            f"{path}.by", f"'{plan.by}' takes a pass for each unit, and there are too many neurons; it has: {possible}"
        )
    for side in plan.sides or []:
        among(f"{path}.sides", side, ["encoder", "decoder"], "side")
    family = FAMILIES[parent.family] if parent.family else None
    keys = list(parent.width or {})
    if family:
        for side in plan.sides or ["encoder"]:
            if side not in family.stacks:
                fail(f"{path}.sides" if plan.sides else path, no_side(family, side))
        sides = plan.sides or list(family.stacks)
        for side in sides:
            key = family.stacks[side].width
            if key is None:
                fail(path, f"'{family.name}' doesn't define the feed-forward blocks of its {side}")
            for other in family.stacks:
                if other not in sides and family.stacks[other].width == key:
                    fail(f"{path}.sides", f"in '{family.name}' {key} is the width of {side} and {other}; name both")
        keys = list(dict.fromkeys(str(family.stacks[side].width) for side in sides))
    if parent.width is None:
        return None
    left = dict(parent.width)
    for key in keys:
        if key not in left:
            continue
        try:
            left[key] -= neurons_to_drop(Fraction(plan.drop), left[key])
        except ConsommeError as error:
            fail(f"{path}.drop", f"{key}: {error}")
    return left


def _ranked(plan: Layers, depth: int, drop: int, path: str) -> None:
    """ConfigurationError if `rank` is beyond the number of sets that the search tries."""
    chooser = CHOOSERS[plan.by] if plan.by else None
    if chooser is None or chooser.tries is None:
        return
    settings = chooser.settings_of(plan.model_dump())
    tried = chooser.tries(Question(depth, drop, settings=settings))
    if settings.rank > tried:
        fail(f"{path}.rank", f"{settings.rank} given; the search tries at most {tried} sets of {depth - drop} layers")


def texts(graph: Graph, node: PruneNode, path: str) -> dict[str, Prepared]:
    """The corpora whose texts say which tokens stay: those for training that have texts, and the development sets."""
    if node.vocabulary is None:
        return {}
    data = graph.data.of(None)
    found = {c.name: c for corpora in graph.data.development(data, path).values() for c in corpora.values()}
    if data.train:
        _, corpora = graph.data.training(data, path, "target")
        found |= {name: c for name, c in corpora.items() if not c.settings.get("missing")}
    if not found:
        fail(
            f"{path}.vocabulary",
            "there are no texts to say which tokens stay; name corpora under data.train or data.dev",
        )
    return {name: found[name] for name in sorted(found)}


def vocabulary_left(read: dict[str, Prepared], parent: Model, path: str) -> str | None:
    """Whose tokens the vocabulary has. ConfigurationError if the family's can't be trimmed. read: the corpora of `texts`."""
    if not read:
        return parent.vocabulary
    family = FAMILIES[parent.family] if parent.family else None
    if family and not family.trimmed:
        fail(f"{path}.vocabulary", no_trimming(family))
    return f"trimmed to {', '.join(read)}"


# -- making -----------------------------------------------------------------------------------------------------------
def make(graph: Graph, name: str, node: PruneNode, own: dict[str, Any], path: str) -> list[Model]:
    """A smaller model of each parent."""
    settings = node.model_dump(by_alias=True, exclude={"prune", "sweep", "choose_on", "metric"})
    if node.vocabulary is None:
        del settings["vocabulary"]  # it came later: without it, specs are as they were
    made, read = [], texts(graph, node, path)
    for parent in graph.resolve(node.prune, f"{path}.prune"):
        depth = depth_left(node, parent, path, swept=bool(own))
        heads = heads_left(node, parent, depth, path)
        width = width_left(node, parent, path)
        chosen = NO_CHOICE
        if searches(node):
            goals = no_constraints(node.choose_on, path)
            chosen = choice(graph, goals, node.metric, graph.data.of(None), path)
        identity: dict[str, Any] = {
            "task": graph.experiment.task,
            "settings": {**settings, "choose_on": chosen.settings},
            **chosen.identity,
        }
        if read:
            identity |= {"texts": list(read), "languages": graph.languages}
        if draws(node):
            identity["seed"] = graph.replicate
        made.append(
            graph.model(
                name,
                own,
                "prune",
                identity,
                parents={parent.name: parent},
                corpora={**read, **chosen.corpora},
                references=chosen.references,
                depth=depth,
                heads=heads,
                width=width,
                vocabulary=vocabulary_left(read, parent, path),
                inherit=True,
            )
        )
    return made
