"""A job's settings -> a training that is ready to start: model, corpora, batches, augmentation, teacher."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.train.ranks import ALONE, Ranks
from consomme.train.spec import label_free, layers_of_teacher, root, seed_of, teacher_of

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel

    from consomme.families.base import Family
    from consomme.train.augment import Augmenter
    from consomme.train.development import Development
    from consomme.train.distil import Teacher
    from consomme.train.examples import Corpus
    from consomme.train.sampler import Batches
    from consomme.train.trainer import AsrNmtTrainer

FULL_WINDOWS = 0.05  # share of the batches of a training on short windows that get the full one
WORKERS = 16  # processes at most that read and augment waveforms


@dataclass(frozen=True)
class Made:
    """A training that is ready to start."""

    trainer: AsrNmtTrainer
    corpora: Mapping[str, Corpus]
    own: Mapping[str, Any]  # keys of the saved config in addition to the parent's
    adapted: Any  # peft's model with adapters; None without
    keep_adapter: bool  # also by themselves
    largest: int  # most rows of a batch


def assemble(
    job: Job, family: Family, parent: Path, device: str, work: Path, splits: int, ranks: Ranks = ALONE
) -> Made:
    """The trainer and the corpora that it trains on. splits: parts of each microbatch, one forward pass each."""
    from transformers import set_seed

    from consomme.families.windows import KEY, SHORT, Window
    from consomme.train import adapters, arguments, config_keys, examples, gradient_checkpointing, hybrid, optimizers
    from consomme.train.collate import Collator
    from consomme.train.freeze_pruned import freeze_zeroed_sublayers
    from consomme.train.intermediate_ctc import IntermediateCtc
    from consomme.train.kept import Kept
    from consomme.train.layer_drop import LayerDrop
    from consomme.train.microbatches import PASS
    from consomme.train.timestamps_and_prompts import TimestampsAndPrompts
    from consomme.train.trainer import AsrNmtTrainer, TrainerParts

    spec, settings, seed = job.spec, job.spec["settings"], seed_of(job.spec)
    set_seed(seed)
    processor = family.processor(parent, spec["languages"])
    changed = config_keys.overrides(family, read_json(parent / "config.json"), settings)
    own = {KEY: settings["window"]} if family.windows and settings.get("window") else {}
    model = config_keys.load_with(family, parent, changed | own, "cpu")
    execution = spec.get("execution", {})
    shard_optimizer = ranks.several and execution.get("shard_optimizer", False)
    if execution.get("gradient_checkpointing"):
        gradient_checkpointing.switch_on(model, family)
    corpora = read(job, family, processor, model, parent)
    short = Window.of(family, model.config).short
    augmenter = augmenter_of(job, family, processor, corpora, seed)
    timestamps, previous_text = settings.get("timestamps") or 0.0, settings.get("previous_text") or 0.0
    if timestamps:
        # raises here if the model has no tokens for them
        family.timed_labels(processor, [], next(iter(corpora.values())).languages[0])
    more = None
    if timestamps or previous_text:
        more = TimestampsAndPrompts(family, processor, corpora, timestamps, previous_text, seed)
    batches = batches_of(spec, corpora, seed)
    total = arguments.steps(settings, len(batches))
    # trainable: everything, or adapters; plus the head for hybrid CTC
    optimizers.freeze(model, family, settings.get("freeze") or [])
    if frozen := freeze_zeroed_sublayers(model, family):
        say(f"{frozen} sublayers were pruned by zeroing and are frozen at zero")
    adapted = adapters.attach(model, family, settings["lora"]) if settings.get("lora") else None
    ctc_weight = settings.get("ctc_weight") or 0.0
    if ctc_weight:
        hybrid.attach(model, seed)
    drops = settings["encoder_layerdrop"] or settings["decoder_layerdrop"]
    full = settings.get("full_windows")
    sharded = None
    if ranks.several and execution.get("shard_weights"):
        from consomme.train.sharded_weights import ShardedWeights

        looks = settings["eval_steps"], (settings.get("checkpoints") or {}).get("every")
        sharded = ShardedWeights(model, family, device, ranks, [steps for steps in looks if steps])
    parts = TrainerParts(
        family=family,
        examples=examples.Examples(family, processor, corpora, augmenter, more),
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
        optimizer=partial(optimizers.build, model, family, settings, sharded=shard_optimizer),
        smoothing=settings["label_smoothing_factor"],
        precision=settings["precision"],
        teacher=teacher(job, family, processor, device),
        intermediate_ctc=IntermediateCtc(settings["intermediate_ctc"], model, family, seed)
        if settings.get("intermediate_ctc")
        else None,
        layer_drop=LayerDrop(settings, model, family, seed, total) if drops else None,
        kept=Kept(settings["checkpoints"], work / "kept") if settings.get("checkpoints") and ranks.first else None,
        ctc_weight=ctc_weight,
        max_loss=settings.get("max_loss"),
        splits=splits,
        until=spec.get("until"),
        ranks=ranks,
        costs=costs(family, corpora, short) if ranks.several else None,
        sharded=sharded,
    )
    # examples that take work are made beside the training
    busy = (augmenter and augmenter.source) or not all(corpus.features.kept for corpus in corpora.values())
    workers = min(WORKERS, job.threads - 1) if busy else 0
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
        + (f", {ranks.count} processes" if ranks.several else "")
        + (f", until the rung at step {spec['until']}" if spec.get("until") else "")
    )
    keep = bool((settings.get("lora") or {}).get("keep"))
    return Made(AsrNmtTrainer(model, given, parts), corpora, own, adapted, keep, batches.largest)


def read(job: Job, family: Family, processor: Any, model: PreTrainedModel, parent: Path) -> Mapping[str, Corpus]:
    """The training corpora as the model sees them, by name."""
    from consomme.data.prepared import Rows
    from consomme.evaluate.identity import checkpoint_key, processor_key
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
            processor_key=processor_key(parent),
            labels_key=checkpoint_key(parent),
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
    """The augmentation of the settings; None without any."""
    from consomme.train.augment import TABLE, Augmenter, Context

    augment = job.spec["settings"]["augment"]
    wanted = [name for name, value in augment.items() if value]
    allowed = [name for name, kind in TABLE.items() if family.task in kind.tasks]
    for name in wanted:
        if name not in allowed:
            reads = "reads text" if family.task == "nmt" else "reads speech"
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
    """The batches: of a fixed number of rows, or filled by seconds, or filled by tokens of the longer side."""
    from consomme.train.pools import by_corpus, by_language
    from consomme.train.sampler import Batches, draws

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
    if temperature := spec.get("temperature"):
        spoken = {name: corpus.languages for name, corpus in corpora.items()}
        pools = by_language(usable, spec["train"], spoken, temperature)
        parts = [f"{pool.name} {draws(pool)}" for pool in pools]
        say(f"at temperature {temperature:g} an epoch draws {', '.join(parts)}")
    else:
        pools = by_corpus(usable, spec["train"])
    return Batches(lengths, pools, size, seed, room, grouped)


def costs(family: Family, corpora: Mapping[str, Corpus], short: bool) -> dict[str, np.ndarray]:
    """Corpus -> the work of each row: frames of speech, tokens of both sides of a translation, 1 each in full windows."""
    import numpy as np

    found = {}
    for name, corpus in corpora.items():
        if family.windows and not short:
            found[name] = np.ones(len(corpus.lengths))
        else:
            written = [0 if family.task == "asr" else len(label) for label in corpus.labels]
            found[name] = np.maximum(corpus.lengths + np.array(written), 1).astype(float)
    return found


def teacher(job: Job, family: Family, processor: Any, device: str) -> Teacher | None:
    """The loaded model to distil from; None if the settings have no `distil`."""
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
        say(f"distil: the {side}'s layers are trained on the states of the teacher's layers {numbers}")
    return distil.Teacher(load(place, device), family, settings, hidden)


def develop(job: Job, made: Made, parent: Path, folder: Path, ranks: Ranks = ALONE) -> Development | None:
    """The evaluations during training; None if the settings have no eval_steps."""
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

    @contextmanager
    def around() -> Generator[None]:
        trainer = made.trainer
        with as_saved(trainer.whole, trainer.family, parent, made.own):
            yield
        if trainer.parts.sharded:
            trainer.whole.to("cpu")  # the GPU has its part

    return Development(
        lambda model: objective(evaluator, model, choice),
        settings["eval_steps"],
        folder,
        patience=settings["early_stopping_patience"],
        keep=settings["load_best_model_at_end"],
        around=around,
        ranks=ranks,
    )
