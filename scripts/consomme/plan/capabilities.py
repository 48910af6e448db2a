"""What a task, a family, a method can and can't do, checked before any job starts."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.average.methods import TABLE as METHODS
from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.evaluate.metrics import TABLE as METRICS
from consomme.evaluate.normalisers import TABLE as NORMALISERS
from consomme.families import TABLE as FAMILIES
from consomme.families import Family, family_for
from consomme.families.base import value_of
from consomme.plan.problems import among, fail
from consomme.plan.schema import (
    AverageNode,
    Corpus,
    Decoding,
    Experiment,
    ExportNode,
    Folder,
    Generated,
    Parallel,
    PruneNode,
    TrainNode,
)
from consomme.plan.values import integer, number
from consomme.prune.choosers import TABLE as CHOOSERS
from consomme.prune.choosers.base import OPTIONS, Question
from consomme.prune.layers import layers_to_drop, listed, to_drop
from consomme.prune.scores import TABLE as SCORES
from consomme.prune.width import neurons_to_drop

if TYPE_CHECKING:
    from consomme.families.base import Family
    from consomme.plan.items import Model, Prepared
    from consomme.plan.schema.pruning import Layers
    from consomme.prune.choosers import Chooser
    from consomme.prune.scores import Score

METRICS_BY_TASK = {"asr": ["wer", "cer"], "nmt": ["bleu", "chrf"]}
AUGMENTATIONS = {
    "concatenate": ("asr", "nmt"),
    "speed": ("asr",),
    "pitch": ("asr",),
    "gain": ("asr",),
    "reverb": ("asr",),
    "noise": ("asr",),
    "word_dropout": ("nmt",),
    "subwords": ("nmt",),
    "spec_augment": ("asr",),
}
GENERATORS = {"spoken-numbers": ("asr", ("clean", "shifted")), "dosage": ("nmt", ("general", "medical"))}


def metrics(task: str) -> list[str]:
    """The metrics of a task."""
    return [name for name, metric in METRICS.items() if task in metric.tasks]


def decoding_digest(decoding: Decoding) -> str:
    """Eight digits for the names of hypotheses files."""
    return digest(decoding.model_dump(exclude_none=True), 8)


def experiment(experiment: Experiment, metric: str, reported: list[str], normaliser: str, path: str) -> None:
    """Metric and normaliser exist, and fit the task."""
    allowed = metrics(experiment.task)
    among(f"{path}.metric", metric, allowed, f"{experiment.task} metric")
    for name in reported:
        among(f"{path}.metrics", name, [m for m in allowed if m != "loss"], f"reported {experiment.task} metric")
    if metric not in (*reported, "loss"):
        fail(
            f"{path}.metrics", f"the experiment's metric '{metric}' is not among those reported: {', '.join(reported)}"
        )
    among(f"{path}.normaliser", normaliser, NORMALISERS, "normaliser")


def corpus(corpus: Corpus, task: str, path: str) -> None:
    """The source can give what the task needs."""
    among(f"{path}.normaliser", corpus.normaliser, NORMALISERS, "normaliser")
    if isinstance(corpus, Parallel) and task != "nmt":
        fail(f"{path}.source", "parallel text has no audio; an asr experiment needs another source")
    if isinstance(corpus, Generated):
        made_for, domains = GENERATORS[corpus.generator]
        if made_for != task:
            fail(
                f"{path}.generator", f"'{corpus.generator}' makes {made_for} data, and the experiment's task is {task}"
            )
        among(f"{path}.domain", corpus.domain, domains, "domain")
    if corpus.missing == "source" and task != "nmt":
        fail(f"{path}.missing", "what recordings can lack is their transcripts: target")
    if isinstance(corpus, Folder) and task != "asr":
        fail(f"{path}.source", "a folder of recordings serves asr; translation needs parallel, manifest or hub")
    if corpus.join and task != "asr":
        fail(f"{path}.join", "joins recordings, and the experiment's task is nmt")
    if corpus.join and corpus.join.length[0] > corpus.join.length[1]:
        fail(f"{path}.join.length", f"fewest and most, in this order; given: {list(corpus.join.length)}")


# -- starting points ---------------------------------------------------------------------------------------------------
def checkpoint_folders(patterns: list[str], root: Path, path: str) -> dict[str, Path]:
    """The folders below `root` that the patterns name, by a short label; relative as the patterns are."""
    found: list[Path] = []
    for pattern in patterns:
        matches = sorted(Path(p) for p in glob.glob(pattern, root_dir=root) if (root / p).is_dir())
        if not matches:
            fail(path, f"no folder matches '{pattern}' in {root}")
        found += [m for m in matches if m not in found]
    labels = [m.name for m in found]
    if len(set(labels)) < len(labels):
        labels = ["_".join(m.parts[-2:]) for m in found]
    if len(set(labels)) < len(labels):
        labels = [f"{label}_{i}" for i, label in enumerate(labels, 1)]
    return dict(zip(labels, found, strict=True))


def read_checkpoint(folder: Path | str) -> dict[str, Any]:
    """Family and depth of a checkpoint folder, so far as its config.json is there to be read."""
    file = Path(folder) / "config.json"
    if not file.is_file():
        return {}
    config = json.loads(file.read_text(encoding="utf-8"))
    family = family_for(Path(folder), config)
    depth = {side: value_of(config, stack.count) for side, stack in family.stacks.items()}
    width = {stack.width: value_of(config, stack.width) for stack in family.stacks.values() if stack.width}
    known = {"depth": depth, "width": width}
    return {"family": family.name, **{k: {n: v for n, v in by.items() if v is not None} for k, by in known.items()}}


def head(folder: Path, tokenizer: Mapping[str, Any], path: str) -> None:
    """A CTC family's checkpoint has a head, or gets one, so far as its config.json is there to be read."""
    file = folder / "config.json"
    if tokenizer or not file.is_file():
        return
    config = json.loads(file.read_text(encoding="utf-8"))
    family = family_for(folder, config)
    (name, *_) = config.get("architectures") or [family.architecture]
    if family.objective == "ctc" and family.tokenizer and not name.endswith("ForCTC"):
        fail(
            path,
            f"{folder} holds a {name}, which has no CTC head; tokenizer: {{type: {family.tokenizer['type']}}} beside it "
            "makes a tokenizer of the training texts, and a head for it",
        )


def new_tokenizer(given: Mapping[str, Any], family: str | None, task: str, path: str) -> dict[str, Any]:
    """The settings of a checkpoint's new tokenizer, every default filled in: they follow from its type alone, because
    the family is known only where the checkpoint can be read already."""
    makers = [f for f in FAMILIES.values() if f.objective == "ctc" and f.tokenizer]
    if family is not None and FAMILIES[family] not in makers:
        names = ", ".join(f.name for f in makers)
        fail(path, f"'{family}' keeps its own tokenizer; a new one, with a new CTC head, is for: {names}")
    if task != "asr":
        fail(path, f"makes a CTC head for a checkpoint that has none, and the experiment's task is {task}")
    kinds = {f.tokenizer["type"]: f.tokenizer for f in makers}
    allowed = list(kinds) if family is None else [FAMILIES[family].tokenizer["type"]]
    if "type" not in given:
        fail(f"{path}.type", f"this key is needed beside a checkpoint: {', '.join(allowed)}")
    among(f"{path}.type", given["type"], allowed, "tokenizer")
    return _filled(given, kinds[given["type"]], path, set())


def scratch(
    given: Mapping[str, Any], tokenizer: Mapping[str, Any], task: str, path: str
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The architecture of a model from scratch, every default filled in: (architecture, tokenizer, family)."""
    made = [name for name, family in FAMILIES.items() if family.scratch]
    if "family" not in given:
        fail(f"{path}.scratch.family", f"this key is needed: {', '.join(made)}")
    name = given["family"]
    among(f"{path}.scratch.family", name, made, "family")
    family = FAMILIES[name]
    if family.task != task:
        fail(f"{path}.scratch.family", f"'{name}' is for {family.task}, and the experiment's task is {task}")
    settings = _filled(given, family.scratch, f"{path}.scratch", {"family"})
    for stack in family.stacks.values():
        for key in [key_in_scratch(key) for key in (stack.count, stack.heads, stack.width) if key]:
            if key in settings and settings[key] < 1:
                fail(f"{path}.scratch.{key}", f"at least 1 is needed; given: {settings[key]}")
    return {"family": name, **settings}, _filled(tokenizer, family.tokenizer, f"{path}.tokenizer", set()), name


def key_in_scratch(key: str) -> str:
    """The name in `scratch` of a config's key, which may lie in a part of the config."""
    return key.rpartition(".")[2]


def files_in(folder: Path) -> tuple[str, ...]:
    """The files of a folder that a job reads, or the folder's own name where it isn't there: the plan then says so."""
    return tuple(str(p) for p in sorted(folder.iterdir()) if p.is_file()) if folder.is_dir() else (str(folder),)


def recordings(augment: Mapping[str, Any], root: Path) -> tuple[str, ...]:
    """The files below the folders that augmentations draw from, or a folder's own name where it isn't there."""
    folders = [root / s["folder"] for s in augment.values() if isinstance(s, Mapping) and s.get("folder")]
    return tuple(
        str(path)
        for folder in folders
        for path in ([p for p in sorted(folder.rglob("*")) if p.is_file()] if folder.is_dir() else [folder])
    )


def _filled(given: Mapping[str, Any], defaults: Mapping[str, Any], path: str, others: set[str]) -> dict[str, Any]:
    result = dict(defaults)
    for key, value in given.items():
        if key in others:
            continue
        among(f"{path}.{key}", key, defaults, "setting")
        default = defaults[key]
        try:
            if isinstance(default, bool):
                if not isinstance(value, bool):
                    raise ValueError("true or false is wanted here")
            elif isinstance(default, int):
                value = integer(value)
            elif isinstance(default, float):
                value = float(number(value))
            elif isinstance(default, str) and not isinstance(value, str):
                raise ValueError("text is wanted here")
        except (ValueError, TypeError) as error:
            fail(f"{path}.{key}", f"{error}; given: {value!r}")
        result[key] = value
    return result


# -- verbs -------------------------------------------------------------------------------------------------------------
def training(node: TrainNode, settings: dict[str, Any], parent: Model, task: str, path: str) -> None:
    """Settings that the task or the family can't use."""
    for key, wanted in (("batch_seconds", "asr"), ("batch_tokens", "nmt"), ("ctc_weight", "asr")):
        if getattr(node, key) is not None and task != wanted:
            fail(f"{path}.{key}", f"belongs to {wanted}, and the experiment's task is {task}")
    family = FAMILIES[parent.family] if parent.family else None
    _augmenting(settings["augment"], family, task, path)
    if family is None:
        return
    for key in ("window", "full_windows"):
        if getattr(node, key) is not None and not family.windows:
            fail(f"{path}.{key}", f"'{family.name}' takes audio of any length; it has no window")
    if node.ctc_weight is not None and family.objective == "ctc":
        fail(f"{path}.ctc_weight", f"'{family.name}' is trained with CTC alone; this is for encoder-decoders")
    if node.ctc_weight is not None and type(family).output_frames is Family.output_frames:
        fail(f"{path}.ctc_weight", f"how many frames the encoder of '{family.name}' makes is not known")
    if node.label_smoothing_factor and family.objective == "ctc":
        fail(f"{path}.label_smoothing_factor", f"CTC has none; '{family.name}' is trained with it")
    for side, probability in (("encoder", node.encoder_layerdrop), ("decoder", node.decoder_layerdrop)):
        if probability and side not in family.stacks:
            fail(f"{path}.{side}_layerdrop", _no_side(family, side))
    if node.dropout is not None and not family.dropouts:
        fail(f"{path}.dropout", f"the dropouts of '{family.name}' are unknown: its architecture is outside the table")
    if taps := node.intermediate_ctc:
        if family.objective != "ctc" and node.ctc_weight is None:
            fail(f"{path}.intermediate_ctc", f"'{family.name}' is not trained with CTC unless ctc_weight is given")
        if not family.stacks:
            fail(f"{path}.intermediate_ctc", _no_side(family, "encoder"))
        below = parent.depth["encoder"] - 1 if parent.depth else None
        for layer in taps.layers or []:
            if layer < 1 or (below is not None and layer > below):
                top = f"layers 1 to {below} lie below the top of this one" if below else "layers count from 1"
                fail(f"{path}.intermediate_ctc.layers", f"{layer} given; {top}")
        for word in ("spread", "random"):
            count = getattr(taps, word)
            if count is not None and below is not None and count > below:
                fail(f"{path}.intermediate_ctc.{word}", f"{count} given; only {below} layers lie below the top")


def distilling(node: TrainNode, student: Model, teacher: Model, corpora: Mapping[str, Prepared], path: str) -> None:
    """Labels are there where they are needed; the student's layers can come from the teacher's."""
    family = FAMILIES[student.family] if student.family else None
    for corpus in corpora.values():
        if corpus.settings.get("missing") and family and family.objective != "ctc":
            fail(
                f"{path}.data.train",
                f"'{corpus.name}' has no transcripts, and the decoder of '{family.name}' is given them: have a model write "
                f"them (a corpus of source relabelled, corpus: {corpus.name})",
            )
    if not (node.distil and node.distil.hidden):
        return
    where = f"{path}.distil.hidden"
    if teacher.ensemble:
        fail(where, f"'{teacher.name}' is an ensemble, which has no layers of its own; leave `hidden` out")
    if family and not family.stacks:
        fail(where, _no_side(family, "encoder"))
    if student.depth is None or teacher.depth is None or student.depth == teacher.depth:
        return
    for side, depth in student.depth.items():
        if depth > teacher.depth.get(side, depth):
            fail(
                where,
                f"'{student.name}' has {depth} {side} layers and its teacher '{teacher.name}' {teacher.depth[side]}; a "
                "student has as many, or some of them",
            )
    if not _ancestors(student) & _ancestors(teacher):
        fail(
            where,
            f"'{student.name}' ({student.depth}) and '{teacher.name}' ({teacher.depth}) come from different models, so "
            "nothing says which layers belong together; distil from the model that the student was pruned from",
        )


def _ancestors(model: Model) -> set[str]:
    """The digests of a model and of all that it was made of."""
    found, waiting = set(), [model]
    while waiting:
        one = waiting.pop()
        if one.digest not in found:
            found.add(one.digest)
            waiting += one.parents.values()
    return found


def _augmenting(augment: Mapping[str, Any], family: Family | None, task: str, path: str) -> None:
    """Augmentations fit the task, and the tokenizer."""
    for key, value in augment.items():
        if value and task not in AUGMENTATIONS[key]:
            works = "audio" if task == "nmt" else "sentences to translate"
            possible = ", ".join(name for name, tasks in AUGMENTATIONS.items() if task in tasks)
            fail(
                f"{path}.augment.{key}",
                f"works on {works}, and the experiment's task is {task}; possible: {possible}",
            )
    for key in ("frequency_masks", "time_warp"):
        if (augment.get("spec_augment") or {}).get(key) and family and family.waveform:
            fail(
                f"{path}.augment.spec_augment.{key}",
                f"'{family.name}' reads waveforms, which have no mel bins and aren't warped; possible: time masks",
            )
    if augment.get("subwords") and family and type(family).subwords is Family.subwords:
        fail(f"{path}.augment.subwords", f"'{family.name}' doesn't say how its tokenizer chooses pieces")


def average(node: AverageNode, path: str) -> None:
    """The method exists, its parameters belong to it, and those that it needs are given."""
    allowed = [name for name in METHODS if name != "best_run"]
    among(f"{path}.method", node.method, allowed, "averaging method")
    method = METHODS[node.method]
    parameters = {name for other in allowed for name in METHODS[other].settings if name != "points"}
    for name in [name for name in AverageNode.model_fields if name in parameters]:
        if getattr(node, name) is not None and name not in method.settings:
            owners = [other for other in allowed if name in METHODS[other].settings]
            fail(f"{path}.{name}", f"belongs to another method than {node.method}: {', '.join(owners)}")
        if getattr(node, name) is None and name in method.needs:
            fail(f"{path}.{name}", f"{node.method} needs it")
    if node.groups is not None:
        among(f"{path}.groups", node.groups, ["model", "layer"], "grouping")
    if isinstance(node.weights, dict) and node.method != "weighted":
        fail(f"{path}.weights", f"{node.method} takes a list; weights by side or name pattern belong to weighted")
    if "points" in node.model_fields_set and "points" not in method.settings:
        fail(f"{path}.points", f"belongs to another method than {node.method}: interpolate")
    why = "alpha is given" if node.alpha is not None else f"{node.method} chooses nothing"
    for name in ("choose_on", "metric", "points"):
        if name in node.model_fields_set and not chooses(node):
            fail(f"{path}.{name}", f"has no use here: {why}")


def chooses(node: AverageNode) -> bool:
    """Whether the method looks at development sets."""
    return METHODS[node.method].chooses({"alpha": node.alpha, "points": node.points})


def averaging(node: AverageNode) -> dict[str, Any]:
    """The settings that the method reads, and no others: they are the model's identity."""
    method = METHODS[node.method]
    # where alpha is given no points are tried
    read = [name for name in method.settings if name != "base" and not (name == "points" and not chooses(node))]
    return {"method": node.method, **{name: getattr(node, name) for name in read}}


def has_base(node: AverageNode) -> bool:
    """Whether the method works on differences from a base."""
    return "base" in METHODS[node.method].settings


def has_statistics(method: str, family: str | None, task: str) -> bool:
    """Whether an average by this method may have running statistics that training data has to give anew; a family that
    is not known yet may be any of the task's."""
    possible = [FAMILIES[family]] if family else [f for f in FAMILIES.values() if f.task == task]
    return METHODS[method].mixes and any(f.batch_norm for f in possible)


def holds_limits(method: str) -> bool:
    """Whether `lose_at_most` can bind the averaging method."""
    return METHODS[method].limits


def needs_limits(method: str) -> bool:
    """Whether the method is nothing without `lose_at_most`."""
    return METHODS[method].needs_limits


def choice(method: str) -> bool:
    """Whether the method takes one of its models as it is: they may then be of any shape, and what it makes is no average."""
    return not METHODS[method].mixes and METHODS[method].chooses({})


def common(values: list[Any]) -> Any:
    """What all have, None where they differ or one isn't known."""
    return values[0] if all(value == values[0] for value in values) else None


def seeded(node: AverageNode) -> bool:
    """Whether the method draws at random."""
    return METHODS[node.method].seeded


def ingredients(node: AverageNode, group: list[Model], path: str) -> None:
    """As many as the method takes and as there are weights, of one family and depth."""
    try:
        METHODS[node.method].check_parents(len(group))
    except ConsommeError as error:
        fail(f"{path}.average", f"{error}: {', '.join(m.name for m in group)}")
    if (kind := METHODS[node.method].keeps) is not None:
        _kept(kind, node.method, group[0], path)
    lists = node.weights if isinstance(node.weights, dict) else {"": node.weights} if node.weights is not None else {}
    for key, weights in lists.items():
        if len(weights) != len(group):
            names = ", ".join(m.name for m in group)
            fail(f"{path}.weights{'.' * bool(key)}{key}", f"{len(weights)} given for {len(group)} models: {names}")
        if not sum(weights) > 0 and node.method == "weighted":
            fail(f"{path}.weights{'.' * bool(key)}{key}", f"their sum is {sum(weights):g}; it must be more than 0")
    shapes = (("family", "families"), ("depth", "depths"), ("width", "widths"))
    for attribute, word in shapes if not choice(node.method) else ():
        known = {m.name: getattr(m, attribute) for m in group if getattr(m, attribute) is not None}
        values = list({json.dumps(v, sort_keys=True): v for v in known.values()}.values())
        if len(values) > 1:
            first, second = (next(n for n, v in known.items() if v == value) for value in values[:2])
            fail(
                f"{path}.average",
                f"models of different {word} can't be averaged: {first} ({values[0]}), {second} ({values[1]})",
            )


def _kept(kind: str, method: str, run: Model, path: str) -> None:
    """The training of a run, or of those that it is the best of, keeps what the method averages."""
    trained = [run] if run.verb == "train" and run.stage == "train" else list(run.parents.values())
    for model in trained:
        if model.stage != "train":
            fail(f"{path}.average", f"{method} averages checkpoints of a training, and '{run.name}' is none")
        kept = model.identity["settings"].get("checkpoints") or {}
        if not kept.get(kind):
            fail(f"{path}.method", f"'{model.name}' keeps none; its node needs checkpoints with `{kind}`")


def searches(node: PruneNode) -> bool:
    """Whether pruning looks at development sets."""
    return any(way.searches for way in _ways(node))


def draws(node: PruneNode) -> bool:
    """Whether pruning draws at random."""
    return any(way.seeded for way in _ways(node))


def _ways(node: PruneNode) -> list[Chooser | Score]:
    """How layers are chosen, heads and neurons scored."""
    sides = [node.layers.encoder, node.layers.decoder] if node.layers else []
    ways = [CHOOSERS[side.by] for side in sides if side is not None and side.by in CHOOSERS]
    return [*ways, *(SCORES[part.by] for part in (node.heads, node.width) if part and part.by in SCORES)]


def pruning(node: PruneNode, parent: Model, path: str, swept: bool = False) -> dict[str, int] | None:
    """The depth that is left, if it is known; choosers exist; layers are there; the family has that side. swept: whether the
    node is one of many runs, of which some may choose where this one doesn't."""
    family = FAMILIES[parent.family] if parent.family else None
    if node.heads and family and not family.stacks:
        fail(f"{path}.heads", _no_side(family, "encoder"))
    if node.heads:
        among(f"{path}.heads.by", node.heads.by, SCORES, "score")
        among(f"{path}.heads.per", node.heads.per, ["model", "layer"], "scope")
        if family and not family.head_hooks and SCORES[node.heads.by].searches:
            blind = ", ".join(name for name, score in SCORES.items() if not score.searches)
            fail(f"{path}.heads.by", f"the heads of '{family.name}' can't be masked one by one; it has: {blind}")
    for name in ("choose_on", "metric"):
        if name in node.model_fields_set and not searches(node) and not swept:
            fail(f"{path}.{name}", "has no use here: nothing is searched")
    left, known = dict(parent.depth or {}), parent.depth is not None
    for side in ("encoder", "decoder"):
        plan = getattr(node.layers, side) if node.layers else None
        if plan is None:
            continue
        if family and side not in family.stacks:
            fail(f"{path}.layers.{side}", _no_side(family, side))
        if plan.by is not None:
            among(f"{path}.layers.{side}.by", plan.by, CHOOSERS, "layer chooser")
        among(f"{path}.layers.{side}.of", plan.of, ["layers", "sublayers"], "unit")
        _options(plan, f"{path}.layers.{side}")
        if plan.of == "sublayers":
            _sublayers(plan.by, family, side, f"{path}.layers.{side}")
            if family and side in left:
                units = left[side] * len(family.stacks[side].sublayers)
                _ranked(plan, units, to_drop(Fraction(plan.drop), units), f"{path}.layers.{side}")
            known = False  # how many layers leave depends on which sublayers are chosen
            continue
        if side not in left:
            continue
        depth = left[side]
        try:
            if isinstance(plan.drop, str):
                gone = layers_to_drop(Fraction(plan.drop), depth)
                left[side] = depth - gone
                _ranked(plan, depth, gone, f"{path}.layers.{side}")
            else:
                left[side] = len(listed(side, depth, plan.model_dump()))
        except ConsommeError as error:
            fail(f"{path}.layers.{side}", str(error))
    return left if known else None


def _sublayers(by: str, family: Family | None, side: str, path: str) -> None:
    """The chooser can choose sublayers, and the family names them."""
    if CHOOSERS[by].layers_only:
        possible = ", ".join(name for name, chooser in CHOOSERS.items() if not chooser.layers_only)
        fail(f"{path}.by", f"'{by}' looks at whole layers; for sublayers there are: {possible}")
    if family and not family.stacks[side].sublayers:
        fail(f"{path}.of", f"'{family.name}' doesn't say what the sublayers of its {side} are; it has: layers")


def narrowing(node: PruneNode, parent: Model, path: str) -> dict[str, int] | None:
    """The feed-forward widths that are left; the score exists; the family says where they are and has those sides."""
    plan, path = node.width, f"{path}.width"
    if plan is None:
        return parent.width
    among(f"{path}.by", plan.by, SCORES, "score")
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
                fail(f"{path}.sides" if plan.sides else path, _no_side(family, side))
        sides = plan.sides or list(family.stacks)
        for side in sides:
            key = family.stacks[side].width
            if key is None:
                fail(path, f"'{family.name}' doesn't say where the feed-forward parts of its {side} are")
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


def _options(plan: Layers, path: str) -> None:
    """Options belong to the chooser."""
    for name in OPTIONS:
        if name in plan.model_fields_set and (plan.by is None or name not in CHOOSERS[plan.by].options):
            owners = ", ".join(other for other, chooser in CHOOSERS.items() if name in chooser.options)
            given = f"belongs to another chooser than {plan.by}" if plan.by else "has no use where layers are listed"
            fail(f"{path}.{name}", f"{given}; it goes with a fraction and `by`: {owners}")


def _ranked(plan: Layers, depth: int, drop: int, path: str) -> None:
    """The search tries as many sets as the rank asks for."""
    tries = CHOOSERS[plan.by].tries if plan.by else None
    if tries is None:
        return
    tried = tries(Question(depth, drop, beam=plan.beam, swaps=plan.swaps))
    if plan.rank > tried:
        fail(f"{path}.rank", f"{plan.rank} given; the search tries at most {tried} sets of {depth - drop} layers")


def _no_side(family: Family, side: str) -> str:
    if not family.stacks:
        return f"where the layers of '{family.name}' are is unknown: its architecture is outside the table of families"
    return f"'{family.name}' has no {side}; it has: {', '.join(family.stacks)}"


def exporting(node: ExportNode, parent: Model, path: str) -> None:
    """The format exists and the family can be written in it."""
    known = list(dict.fromkeys(e for f in FAMILIES.values() for e in f.exports))
    family = FAMILIES[parent.family] if parent.family else None
    among(f"{path}.format", node.format, family.exports if family else known, "export format")
    if node.format == "safetensors" and node.quantization not in (None, "float16", "bfloat16"):
        fail(f"{path}.quantization", f"safetensors holds float16 or bfloat16; given: {node.quantization}")
