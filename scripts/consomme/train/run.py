"""The stage: one parent, its corpora, perhaps a teacher -> a trained model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import hash_file, read_json, write_json
from consomme.common.provenance import weights_hash, write_provenance
from consomme.common.stage import Job, finish, say

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family
    from consomme.train.development import Development
    from consomme.train.engine import Engine
    from consomme.train.examples import Corpus

# not copied from the parent: its weights in any format, and what is said of it alone
NOT_COPIED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin",
    "*.bin.index.json",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.pt",
    "*.pth",
    "*.onnx",
    "provenance.json",
    "progress.jsonl",
    "zeroed",
    ".*",
)


def run(job: Job) -> None:
    """Train `job`'s parent; compute nothing where this was done before on the same inputs."""
    finish(job, identity(job), lambda folder, work: build(job, folder, work))


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
        "parent": {"weights": weights_hash(parent), "files": [[n, hash_file(parent / n)] for n in copied(parent)]},
        "corpora": {n: read_json(job.inputs[f"corpus/{n}"] / "prepared.json")["fingerprint"] for n in sorted(wanted)},
    }
    if teacher := teacher_of(job):
        key["teacher"] = weights_hash(teacher)
    noise = settings["augment"].get("noise")
    if noise and noise.get("folder"):
        from consomme.train.augment.noise import files

        key["noise"] = [hash_file(path) for path in files(root(spec) / noise["folder"])]
    return key


def build(job: Job, folder: Path, work: Path) -> None:
    """Fill `folder` with the trained model; checkpoints live in `work` until it is done."""
    import torch

    from consomme.families import device_named, family_of

    torch.set_num_threads(job.threads)
    quiet()
    spec, settings = job.spec, job.spec["settings"]
    seed = seed_of(spec)
    device = device_named(job.device)
    parent = parent_of(job)
    family = family_of(parent)
    if settings["label_smoothing_factor"] and family.objective == "ctc":
        raise ConsommeError("label_smoothing_factor: CTC has no smoothing; allowed: 0")
    engine, corpora = assemble(job, family, parent, device, seed, work)
    development = develop(job, engine, parent, work / "best")
    training = train(engine, development, job, family, work)

    require_finite_weights(engine.model)
    left_out = {name: dict(corpus.left_out) for name, corpus in corpora.items() if corpus.left_out}
    save(engine.model, parent, folder)
    shutil.copyfile(work / "progress.jsonl", folder / "progress.jsonl")
    write_provenance(job, folder, left_out=left_out, **training)
    shutil.rmtree(work)
    work.mkdir()


def assemble(
    job: Job, family: Family, parent: Path, device: str, seed: int, work: Path
) -> tuple[Engine, Mapping[str, Corpus]]:
    """The engine, ready to train, and the corpora that it trains on."""
    from transformers import set_seed

    from consomme.data.prepared import Rows
    from consomme.evaluate.evaluator import processor_key
    from consomme.train import arguments, distil, examples, layer_drop
    from consomme.train.augment import Augmenter, Context
    from consomme.train.collate import Collator
    from consomme.train.engine import Engine
    from consomme.train.sampler import LengthGroupedBatches
    from consomme.train.taps import Taps

    spec, settings = job.spec, job.spec["settings"]
    set_seed(seed)
    processor = family.processor(parent, spec["languages"])
    changed = layer_drop.overrides(family, read_json(parent / "config.json"), settings)
    model = layer_drop.load_with(family, parent, changed, "cpu")
    wanted = {name: value for name, value in settings["augment"].items() if value}
    if wanted and family.task != "asr":
        raise ConsommeError(f"augment.{next(iter(wanted))}: {family.name} reads text; allowed: none")
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
        )
        for name in spec["train"]
    }
    examples.report_left_out(corpora)
    augmenter = None
    if wanted:
        extractor = getattr(processor, "feature_extractor", processor)
        context = Context(
            rate=next(iter(corpora.values())).rows.sampling_rate,
            stride=getattr(extractor, "stride", 1),
            root=root(spec),
            longest=getattr(extractor, "n_samples", None),
        )
        augmenter = Augmenter(settings["augment"], context, seed)
    batches = LengthGroupedBatches(
        {name: corpus.lengths for name, corpus in corpora.items()},
        {name: corpus.usable for name, corpus in corpora.items()},
        spec["train"],
        settings["per_device_train_batch_size"],
        seed,
    )
    total = arguments.steps(settings, len(batches))
    teacher = None
    if settings["distil"]:
        place = teacher_of(job)
        if place is None:
            raise ConsommeError("distil: no teacher among the inputs; name one with distil_from")
        from consomme.families import family_of, load

        distil.check(family, processor, family_of(place), place)
        teacher = distil.Teacher(load(place, device), settings["distil"])
    taps = Taps(settings["intermediate_ctc"], model, family, seed) if settings.get("intermediate_ctc") else None
    engine = Engine(
        model,
        arguments.training_arguments(settings, total=total, seed=seed, folder=work / "checkpoints", device=device),
        family=family,
        examples=examples.Examples(family, processor, corpora, augmenter),
        batches=batches,
        collator=Collator(family, processor),
        smoothing=settings["label_smoothing_factor"],
        precision=settings["precision"],
        teacher=teacher,
        taps=taps,
        optimizer=arguments.optimizer(settings),
    )
    rows = sum(len(corpus.usable) for corpus in corpora.values())
    parameters = sum(p.numel() for p in model.parameters())
    say(f"{family.name} with {parameters:,} parameters, {rows} rows, {len(batches)} batches an epoch, {total} steps")
    return engine, corpora


def develop(job: Job, engine: Engine, parent: Path, folder: Path) -> Development | None:
    """The evaluations that the settings ask for."""
    from consomme.train.layer_drop import as_saved

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
        around=lambda: as_saved(engine.model, engine.family, parent),
    )


def train(engine: Engine, development: Development | None, job: Job, family: Family, work: Path) -> dict[str, Any]:
    """Train, from the newest whole checkpoint on; the model ends with the weights to save. Returns what to record."""
    from consomme.train import checkpoints
    from consomme.train.development import best_of, evaluations
    from consomme.train.progress import Progress

    progress = Progress(work / "progress.jsonl", audio=family.task == "asr")
    progress.engine = engine
    engine.add_callback(progress)
    if development:
        development.engine, development.progress = engine, progress
        engine.add_callback(development)
    checkpoint = checkpoints.newest(work / "checkpoints")
    if checkpoint:
        say(f"resuming from {checkpoint.name}")
    engine.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    engine.require_finite()
    record: dict[str, Any] = {"steps": engine.state.global_step}
    found = evaluations(engine.state.log_history)
    if found:
        settings = job.spec["settings"]
        best = best_of(found)
        taken = best if settings["load_best_model_at_end"] else found[-1]
        if settings["load_best_model_at_end"]:
            checkpoints.read_weights(engine.model, development.weights(best["step"]))
        record["chosen"] = {"choose_on": settings["choose_on"], "step": taken["step"], "evaluations": found}
    return record


def save(model: PreTrainedModel, parent: Path, folder: Path) -> None:
    """The model's weights as float32 with every other file of its parent: config, processor, whatever it has."""
    model.float().save_pretrained(folder, max_shard_size="1TB")
    for name in copied(parent):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(parent / name, folder / name)
    config = read_json(folder / "config.json")
    stored = {key for key in ("dtype", "torch_dtype") if config.get(key, "float32") != "float32"}
    if stored:  # the parent's weights were stored in half precision; from_pretrained would round ours to it
        write_json(folder / "config.json", config | dict.fromkeys(stored, "float32"))
    if config.get("pruned_heads"):
        from consomme.prune.twin import write_twin

        write_twin(folder)


def copied(parent: Path) -> list[str]:
    """The parent's files that its children inherit, sorted."""

    def walk(folder: Path) -> Iterator[Path]:
        for path in folder.iterdir():
            if any(fnmatch(path.name, pattern) for pattern in NOT_COPIED):
                continue
            if path.is_dir():
                yield from walk(path)
            else:
                yield path

    return sorted(path.relative_to(parent).as_posix() for path in walk(parent))


def require_finite_weights(model: PreTrainedModel) -> None:
    """ConsommeError if a weight is not a finite number."""
    import torch

    for name, tensor in model.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise ConsommeError(f"training diverged: {name} is not finite after the last step; lower learning_rate")


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


def chooses(settings: Mapping[str, Any]) -> bool:
    """Whether the result depends on evaluations."""
    return bool(
        settings["eval_steps"]
        and (settings["load_best_model_at_end"] or settings["early_stopping_patience"] is not None)
    )


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
