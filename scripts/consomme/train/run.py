"""The stage: one parent, its corpora, perhaps a teacher -> a trained model."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import hash_file, read_json, write_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.model_files import copy_inherited, inherited
from consomme.common.provenance import weights_hash, write_provenance
from consomme.common.stage import build_once

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family
    from consomme.train.augment import Augmenter
    from consomme.train.development import Development
    from consomme.train.distil import Teacher
    from consomme.train.engine import Diverged, Engine
    from consomme.train.examples import Corpus
    from consomme.train.sampler import Batches

FULL_WINDOWS = 0.05  # share of the batches of a training on short windows that get the full one
WORKERS = 4  # processes at most that read and augment waveforms


def run(job: Job) -> None:
    """Train `job`'s parent; compute nothing where this was done before on the same inputs."""
    build_once(job, identity(job), lambda folder, work: build(job, folder, work))


def identity(job: Job) -> dict[str, Any]:
    """All that the result rests on, by content."""
    spec, settings = job.spec, job.spec["settings"]
    wanted = list(spec["train"]) + (development_corpora(spec) if chooses(settings) else [])
    missing = [name for name in wanted if f"corpus/{name}" not in job.inputs]
    if missing:
        raise ConsommeError(f"inputs: corpus/{missing[0]} is needed and not among {list(job.inputs)}")
    parent = parent_of(job)
    key: dict[str, Any] = {
        "digest": spec["digest"],
        "parent": {
            "weights": weights_hash(parent),
            "files": [[n.as_posix(), hash_file(parent / n)] for n in inherited(parent)],
        },
        "corpora": {n: read_json(job.inputs[f"corpus/{n}"] / "prepared.json")["fingerprint"] for n in sorted(wanted)},
    }
    if teacher := teacher_of(job):
        key["teacher"] = weights_hash(teacher)
        if layers := layers_of_teacher(job):
            key["layers"] = layers  # the provenance of both, which says so, is no part of their weights
    from consomme.train.augment import folders

    for name, paths in folders(settings["augment"], root(spec)).items():
        key[name] = [hash_file(path) for path in paths]
    return key


def build(job: Job, folder: Path, work: Path) -> None:
    """Fill `folder` with the trained model; checkpoints live in `work` until it is done."""
    import gc

    import torch

    from consomme.families import device_named, family_of
    from consomme.families.base import value_of
    from consomme.train.checks import problems
    from consomme.train.engine import Diverged
    from consomme.train.examples import much_unknown

    torch.set_num_threads(job.threads)
    quiet()
    settings, parent, device = job.spec["settings"], parent_of(job), device_named(job.device)
    family = family_of(parent)
    config = read_json(parent / "config.json")
    depth = {side: value_of(config, stack.count) for side, stack in family.stacks.items()}
    for key, what in problems(settings, family, depth):
        raise ConsommeError(f"{key}: {what}")
    pieces = 1
    while True:
        made = assemble(job, family, parent, device, work, pieces)
        try:
            record = train(made, develop(job, made, parent, work / "best"), job, family, work)
            require_finite_weights(made.engine)
            model = plain(made)
            break
        except Diverged as error:
            model, record = diverged(made, error, parent, work)
            break
        except RuntimeError as error:
            if not out_of_memory(error) or pieces >= made.largest:
                raise
        # only here, where the error and its frames are gone, can what the engine holds be freed
        del made
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        pieces *= 2
        say(f"out of memory: going on from the newest checkpoint with each batch in {pieces} pieces")
    if layers := layers_of_teacher(job):
        record["distilled_layers"] = layers
    save(model, parent, folder, made.own)
    if made.engine.parts.kept:
        record["kept"] = made.engine.parts.kept.finish(folder, made.engine.state)
    shutil.copyfile(work / "progress.jsonl", folder / "progress.jsonl")
    if (work / "tensorboard").is_dir():
        shutil.copytree(work / "tensorboard", folder / "tensorboard")
    if pieces > 1:
        record["pieces"] = pieces
    left_out = {name: dict(corpus.left_out) for name, corpus in made.corpora.items() if corpus.left_out}
    write_provenance(job, folder, left_out=left_out, unknown=much_unknown(made.corpora), **record)
    shutil.rmtree(work)
    work.mkdir()


@dataclass(frozen=True)
class Made:
    """A training that is ready to start.

    own: keys that the saved config gets beside the parent's; adapted: peft's handle of a model with adapters; largest:
    rows of a batch at most."""

    engine: Engine
    corpora: Mapping[str, Corpus]
    own: Mapping[str, Any]
    adapted: Any
    largest: int


def assemble(job: Job, family: Family, parent: Path, device: str, work: Path, pieces: int) -> Made:
    """The engine and the corpora that it trains on. pieces: that each batch goes through the model in."""
    from transformers import set_seed

    from consomme.families.windows import KEY, SHORT, is_short
    from consomme.train import adapters, arguments, config_keys, examples, hybrid, optimizers
    from consomme.train.collate import Collator
    from consomme.train.engine import Engine, Parts
    from consomme.train.kept import Kept
    from consomme.train.layer_drop import LayerDrop
    from consomme.train.pieces import PASS
    from consomme.train.silent import keep_silent
    from consomme.train.taps import Taps

    spec, settings, seed = job.spec, job.spec["settings"], seed_of(job.spec)
    set_seed(seed)
    processor = family.processor(parent, spec["languages"])
    changed = config_keys.overrides(family, read_json(parent / "config.json"), settings)
    own = {KEY: settings["window"]} if family.windows and settings.get("window") else {}
    model = config_keys.load_with(family, parent, changed | own, "cpu")
    corpora = read(job, family, processor, model, parent)
    augmenter = augmenter_of(job, family, processor, corpora, seed)
    batches = batches_of(spec, corpora, seed)
    total = arguments.steps(settings, len(batches))
    # what is trained: all of it, or adapters; with a head for CTC beside
    optimizers.freeze(model, family, settings.get("freeze") or [])
    if silent := keep_silent(model, family):
        say(f"{silent} sublayers were pruned by zeroing; they stay zero")
    adapted = adapters.attach(model, family, settings["lora"]) if settings.get("lora") else None
    ctc_weight = settings.get("ctc_weight") or 0.0
    if ctc_weight:
        hybrid.attach(model, seed)
    drops = settings["encoder_layerdrop"] or settings["decoder_layerdrop"]
    short = is_short(family, model.config)
    full = settings.get("full_windows")
    parts = Parts(
        family=family,
        examples=examples.Examples(family, processor, corpora, augmenter),
        batches=batches,
        collator=Collator(
            family,
            processor,
            short=short,
            full=FULL_WINDOWS if full is None else full,
            ctc=ctc_weight > 0,
            per_pass=PASS["cpu" if device == "cpu" else "cuda"],
            room=settings.get("batch_seconds") or settings.get("batch_tokens"),
        ),
        optimizer=partial(optimizers.build, model, family, settings),
        smoothing=settings["label_smoothing_factor"],
        precision=settings["precision"],
        teacher=teacher(job, family, processor, device),
        taps=Taps(settings["intermediate_ctc"], model, family, seed) if settings.get("intermediate_ctc") else None,
        layer_drop=LayerDrop(settings, model, family, seed, total) if drops else None,
        kept=Kept(settings["checkpoints"], work / "kept") if settings.get("checkpoints") else None,
        ctc_weight=ctc_weight,
        max_loss=settings.get("max_loss"),
        pieces=pieces,
    )
    workers = min(WORKERS, job.threads - 1) if augmenter and augmenter.source else 0
    given = arguments.training_arguments(
        settings, total=total, seed=seed, folder=work / "checkpoints", device=device, workers=workers
    )
    rows = sum(len(corpus.usable) for corpus in corpora.values())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    parameters = sum(p.numel() for p in model.parameters())
    some = "" if trained == parameters else f", {trained:,} of them trained"
    window = f", {SHORT} windows" if short else ""
    say(
        f"{family.name} with {parameters:,} parameters{some}{window}, {rows} rows, "
        f"{len(batches)} batches an epoch, {total} steps"
    )
    return Made(Engine(model, given, parts), corpora, own, adapted, batches.largest)


def read(job: Job, family: Family, processor: Any, model: PreTrainedModel, parent: Path) -> Mapping[str, Corpus]:
    """The training corpora as the model sees them, by name."""
    from consomme.data.prepared import Rows
    from consomme.evaluate.evaluator import processor_key
    from consomme.train import examples

    spec, settings = job.spec, job.spec["settings"]
    corpora = {
        name: examples.open_corpus(
            family,
            processor,
            model,
            Rows.open({name: job.inputs[f"corpus/{name}"]}),
            share=spec.get("share", 1.0),
            share_seed=spec.get("seed", 0),
            languages=spec["languages"],
            cache=job.cache,
            processor_key=processor_key(parent, family, spec["languages"]),
            fastest=max(settings["augment"].get("speed") or [1.0]),
            labelled=not label_free(family, settings),
            hybrid=bool(settings.get("ctc_weight")),
        )
        for name in spec["train"]
    }
    examples.report_left_out(corpora)
    return corpora


def augmenter_of(
    job: Job, family: Family, processor: Any, corpora: Mapping[str, Corpus], seed: int
) -> Augmenter | None:
    """What the settings change in every example, if anything."""
    from consomme.train.augment import TABLE, Augmenter, Context

    augment = job.spec["settings"]["augment"]
    wanted = [name for name, value in augment.items() if value]
    allowed = [name for name, kind in TABLE.items() if family.task in kind.tasks]
    for name in wanted:
        if name not in allowed:
            reads = "reads text" if family.task == "nmt" else "hears speech"
            raise ConsommeError(f"augment.{name}: {family.name} {reads}; allowed: {', '.join(allowed)}")
    if not wanted:
        return None
    extractor = getattr(processor, "feature_extractor", processor)
    corpus = next(iter(corpora.values()))
    context = Context(
        rate=corpus.rows.sampling_rate or 0,
        stride=getattr(extractor, "stride", 1),
        root=root(job.spec),
        longest=getattr(extractor, "n_samples", None),
        waveform=family.task == "asr" and corpus.features[0].ndim == 1,
        subwords=partial(family.subwords, processor),
    )
    return Augmenter(augment, context, seed)


def batches_of(spec: Mapping[str, Any], corpora: Mapping[str, Corpus], seed: int) -> Batches:
    """The batches: of so many rows, of so many seconds, or of so many tokens of the longer side."""
    from consomme.train.sampler import Batches

    settings = spec["settings"]
    room = settings.get("batch_seconds") or settings.get("batch_tokens")
    if settings.get("batch_seconds"):
        lengths = {name: corpus.seconds for name, corpus in corpora.items()}
    elif settings.get("batch_tokens"):
        lengths = {name: corpus.longer for name, corpus in corpora.items()}
    else:
        lengths = {name: corpus.lengths for name, corpus in corpora.items()}
    usable = {name: corpus.usable for name, corpus in corpora.items()}
    size = None if room else settings["per_device_train_batch_size"]
    grouped = settings["train_sampling_strategy"] == "group_by_length"
    return Batches(lengths, usable, spec["train"], size, seed, room, grouped)


def teacher(job: Job, family: Family, processor: Any, device: str) -> Teacher | None:
    """The model to distil from, loaded, if the settings want one."""
    from consomme.families import family_of, load
    from consomme.train import distil
    from consomme.train.hidden import Hidden

    settings = job.spec["settings"]["distil"]
    if not settings:
        return None
    place = teacher_of(job)
    if place is None:
        raise ConsommeError("distil: no teacher among the inputs; name one with distil_from")
    distil.check(family, processor, family_of(place), place)
    layers = layers_of_teacher(job)
    hidden = Hidden(layers, family, float(settings["hidden"])) if layers else None
    for side, numbers in (layers or {}).items():
        say(f"distil: the {side}'s layers learn from the teacher's layers {numbers}")
    return distil.Teacher(load(place, device), family, settings, hidden)


def develop(job: Job, made: Made, parent: Path, folder: Path) -> Development | None:
    """The evaluations that the settings ask for."""
    from consomme.train.config_keys import as_saved

    spec, settings = job.spec, job.spec["settings"]
    if not settings["eval_steps"]:
        for name in ("early_stopping_patience", "load_best_model_at_end"):
            if settings.get(name):
                raise ConsommeError(f"{name}: {settings[name]}: needs evaluations; set eval_steps")
        return None
    from consomme.evaluate.choice import Choice, objective
    from consomme.evaluate.evaluator import Evaluator
    from consomme.train.development import Development

    choice = Choice.parse(settings["choose_on"])
    for name in choice.weights:
        if name not in spec["dev"]:
            raise ConsommeError(f"choose_on: no development set '{name}'; there are {list(spec['dev'])}")
    evaluator = Evaluator.open(job, {name: spec["dev"][name] for name in choice.weights}, parent)
    return Development(
        lambda model: objective(evaluator, model, choice),
        settings["eval_steps"],
        folder,
        patience=settings["early_stopping_patience"],
        keep=settings["load_best_model_at_end"],
        around=lambda: as_saved(made.engine.model, made.engine.family, parent, made.own),
    )


def train(made: Made, development: Development | None, job: Job, family: Family, work: Path) -> dict[str, Any]:
    """Train, from the newest whole checkpoint on; the model ends with the weights to save. Returns what to record."""
    from consomme.train import checkpoints
    from consomme.train.development import best_of, evaluations
    from consomme.train.progress import Progress

    engine = made.engine
    progress = Progress(work / "progress.jsonl", audio=family.task == "asr", events=work / "tensorboard")
    progress.engine = engine
    engine.add_callback(progress)
    if development:
        development.engine, development.progress = engine, progress
        # before what is kept of the step, which asks how good it was
        engine.callback_handler.callbacks.insert(0, development)
    checkpoint = checkpoints.newest(work / "checkpoints")
    if checkpoint:
        say(f"resuming from {checkpoint.name}")
    engine.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    engine.require_finite()
    record: dict[str, Any] = {"steps": engine.state.global_step}
    found = evaluations(engine.state.log_history)
    if development and found:
        settings = job.spec["settings"]
        best = best_of(found)
        taken = best if settings["load_best_model_at_end"] else found[-1]
        if settings["load_best_model_at_end"]:
            checkpoints.read_weights(engine.model, development.weights(best["step"]))
        record["chosen"] = {"choose_on": settings["choose_on"], "step": taken["step"], "evaluations": found}
    return record


def plain(made: Made) -> PreTrainedModel:
    """The trained model with its adapters merged, without what only training has."""
    from consomme.train import adapters, hybrid

    model = adapters.merge(made.adapted) if made.adapted else made.engine.model
    hybrid.detach(model)
    return model


def diverged(made: Made, error: Diverged, parent: Path, work: Path) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The last good model, of the newest checkpoint or else the parent itself, and what to record."""
    from consomme.families import load
    from consomme.train import checkpoints

    say(f"{error}; this run ends as diverged, with its last good checkpoint, and no soup will take it")
    # the loss of a step is that of the weights before it: a checkpoint of that step is the one that gave it
    checkpoint = checkpoints.newest(work / "checkpoints", before=error.step - 1)
    if checkpoint:
        step = int(checkpoint.name.rpartition("-")[2])
        checkpoints.read_weights(made.engine.model, checkpoint / checkpoints.WEIGHTS)
        model = plain(made)
    else:
        step, model = 0, load(parent, "cpu")
    if made.engine.parts.kept:
        made.engine.parts.kept.drop()
    loss = error.loss if math.isfinite(error.loss) else str(error.loss)
    return model, {"steps": step, "diverged": {"step": error.step, "loss": loss, "weights_of_step": step}}


def out_of_memory(error: BaseException) -> bool:
    """Whether torch says that memory is used up, on a GPU or on the processor."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def save(model: PreTrainedModel, parent: Path, folder: Path, own: Mapping[str, Any]) -> None:
    """The model's weights as float32 with every other file of its parent: config, processor, whatever it has.

    own: keys that the config gets."""
    model.float().save_pretrained(folder, max_shard_size="1TB")
    copy_inherited(parent, folder)
    config = read_json(folder / "config.json") | dict(own)
    stored = {key for key in ("dtype", "torch_dtype") if config.get(key, "float32") != "float32"}
    if stored or own:  # weights stored in half precision: from_pretrained would round ours to it
        write_json(folder / "config.json", config | dict.fromkeys(stored, "float32"))
    if config.get("pruned_heads"):
        from consomme.weights.zeroed_copy import write_twin

        write_twin(folder)


def require_finite_weights(engine: Engine) -> None:
    """Diverged if a weight is not a finite number: the loss of the last step was that of the weights before it."""
    import torch

    from consomme.train.engine import Diverged

    for name, tensor in engine.model.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            message = f"training diverged: {name} is not finite after the last step; lower learning_rate"
            raise Diverged(message, engine.state.global_step + 1, float("nan"))


def quiet() -> None:
    """No warnings of transformers on every start; errors still show."""
    import warnings

    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="torch.utils.data|torch.nn|torch.optim|accelerate|transformers")
    # cached features are read-only; they are copied into the batch
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


def parent_of(job: Job) -> Path:
    """The one model to train further."""
    parents = job.labelled("parent")
    if len(parents) != 1:
        raise ConsommeError(f"train: one parent is needed, {len(parents)} were given: {list(parents)}")
    return next(iter(parents.values()))


def teacher_of(job: Job) -> Path | None:
    """The model to distil from, if the settings want one."""
    return next(iter(job.labelled("teacher").values()), None) if job.spec["settings"].get("distil") else None


def label_free(family: Family, settings: Mapping[str, Any]) -> bool:
    """Whether a teacher says all that is to be learnt. Not in an encoder-decoder, whose decoder is given the labels."""
    return family.objective == "ctc" and bool(settings.get("distil")) and settings["distil"]["weight"] == 1


def layers_of_teacher(job: Job) -> dict[str, list[int]] | None:
    """Side -> the teacher's layer for each of the student's, from 1, where hidden states are distilled."""
    from consomme.families import family_of
    from consomme.families.ensemble import FILE
    from consomme.train.hidden import teachers_layers

    place = teacher_of(job)
    if place is None or not job.spec["settings"]["distil"].get("hidden"):
        return None
    if (place / FILE).is_file():
        raise ConsommeError(
            f"distil.hidden: {place} is an ensemble, which has no layers of its own; leave `hidden` out"
        )
    family = family_of(parent_of(job))
    if not family.stacks:
        raise ConsommeError(f"distil.hidden: where the layers of '{family.name}' are is unknown; leave `hidden` out")
    return teachers_layers(family, parent_of(job), place)


def chooses(settings: Mapping[str, Any]) -> bool:
    """Whether the result, or what is kept beside it, depends on evaluations."""
    chosen = settings["load_best_model_at_end"] or settings["early_stopping_patience"] is not None
    return bool(settings["eval_steps"] and (chosen or (settings.get("checkpoints") or {}).get("best")))


def development_corpora(spec: Mapping[str, Any]) -> list[str]:
    """The corpora of the development sets that `choose_on` weighs."""
    sets = [name for name, s in spec["settings"]["choose_on"]["sets"].items() if s.get("weight") is not None]
    return list(dict.fromkeys(c for name in sets for c in spec["dev"].get(name, []) if c not in spec["train"]))


def seed_of(spec: Mapping[str, Any]) -> int:
    """One number for the replicate's seed and the run's: 0 .. 2**31 - 1."""
    return int(digest(["train", spec.get("seed", 0), spec["settings"]["seed"]]), 16) % 2**31


def root(spec: Mapping[str, Any]) -> Path:
    """Where relative paths of the settings start."""
    return Path(spec.get("data_root") or ".")
