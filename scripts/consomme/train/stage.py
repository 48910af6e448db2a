"""The stage: one parent, its corpora, perhaps a teacher -> a trained model."""

from __future__ import annotations

import math
import shutil
import socket
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.files import copy_tree, hash_file, read_json, write_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.mirror import carried
from consomme.common.model_files import ADAPTER, copy_inherited
from consomme.common.provenance import NAME, model_content, write_provenance
from consomme.common.stage import build_once
from consomme.train import rungs, trials
from consomme.train.assemble import Made, assemble, develop
from consomme.train.interruption import Interrupted, Interruption, interruptible
from consomme.train.launch import LESS_AT_ONCE, ask_again, launch, processes
from consomme.train.ranks import ALONE, DIVERGED, FAILED, INTERRUPTED, OUT_OF_MEMORY, Ranks, Told, Untold
from consomme.train.spec import chooses, development_corpora, layers_of_teacher, parent_of, root, teacher_of
from consomme.train.trackers import TENSORBOARD

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family
    from consomme.train.trackers import Run
    from consomme.train.trainer import AsrNmtTrainer, Diverged

RUNNING = "running.json"


def run(job: Job) -> None:
    """Train the job's parent. Computes nothing if the result for these inputs exists, or if the run has been stopped."""
    job = trials.settled(rungs.at_home(job))
    if why := rungs.ended(job):
        build_once(job, rungs.identity(job, why), lambda folder, work: rungs.stay(job, why, folder))
        return
    with carried(job.state), interruptible() as interruption:

        def make(folder: Path, work: Path) -> None:
            if processes(job) > 1:
                launch(job, folder, work)
            else:
                build(job, folder, work, interruption)

        def leave(finished: Path, work: Path) -> None:
            rungs.leave(work, checkpoint="until" in job.spec and "diverged" not in read_json(finished / NAME))

        build_once(job, identity(job), make, leave)


def identity(job: Job) -> dict[str, Any]:
    """Everything that the result depends on, by content."""
    spec, settings = job.spec, job.spec["settings"]
    wanted = list(spec["train"]) + (development_corpora(spec) if chooses(settings) else [])
    missing = [name for name in wanted if f"corpus/{name}" not in job.inputs]
    if missing:
        raise ConsommeError(f"inputs: corpus/{missing[0]} is needed; the inputs are {list(job.inputs)}")
    parent = parent_of(job)
    key: dict[str, Any] = {
        "digest": spec["digest"],
        "parent": model_content(parent),
        "corpora": {n: read_json(job.inputs[f"corpus/{n}"] / "prepared.json")["fingerprint"] for n in sorted(wanted)},
    }
    if trial := job.spec.get("trial"):
        key["trial"] = trial["values"]
    if teacher := teacher_of(job):
        key["teacher"] = model_content(teacher)
        if layers := layers_of_teacher(job):
            key["layers"] = layers  # from the provenance of both, which their contents don't cover
    from consomme.train.augment import folders

    for name, paths in folders(settings["augment"], root(spec)).items():
        key[name] = [hash_file(path) for path in paths]
    return key


def build(
    job: Job, folder: Path, work: Path, interruption: Interruption, ranks: Ranks = ALONE, splits: int = 1
) -> None:
    """Fill `folder` with the trained model; checkpoints are in `work` until it is finished. Of several ranks the first one
    writes. splits: parts of each microbatch."""
    import gc

    import torch

    from consomme.families import device_named, family_of
    from consomme.families.base import value_of
    from consomme.train.checks import problems
    from consomme.train.examples import left_out, much_unknown
    from consomme.train.trainer import Diverged

    torch.set_num_threads(job.threads)
    quiet()
    settings, parent, device = job.spec["settings"], parent_of(job), device_named(job.device)
    family = family_of(parent)
    config = read_json(parent / "config.json")
    depth = {side: value_of(config, stack.count) for side, stack in family.stacks.items()}
    for key, what in problems(settings, family, depth):
        raise ConsommeError(f"{key}: {what}")
    if ranks.first:
        rungs.bring(job, lambda known: identity(job) | {"digest": known}, work)
    while True:
        made = ranks.telling(partial(assemble, job, family, parent, device, work, splits, ranks), event_of)
        try:
            record = ranks.telling(partial(train, made, job, family, parent, work, interruption, ranks), event_of)
            if not ranks.first:
                return
            require_finite_weights(made.trainer)
            model = plain(made, work)
            break
        except Diverged as error:
            if not ranks.first:
                return
            model, record = diverged(made, error, parent, work)
            break
        except RuntimeError as error:
            if event_of(error) != OUT_OF_MEMORY or splits >= made.largest:
                raise
            if made.trainer.parts.sharded:
                ask_again(work, 2 * splits)
        # free the trainer here: inside `except` the error's frames would still hold it
        del made
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        splits *= 2
        say(LESS_AT_ONCE.format(splits))
    if layers := layers_of_teacher(job):
        record["distilled_layers"] = layers
    save(model, parent, folder, made.own)
    family.name_languages(folder, {c.languages[row] for c in made.corpora.values() for row in c.usable})
    if made.trainer.parts.kept:
        record["kept"] = made.trainer.parts.kept.finish(folder, made.trainer.state)
    shutil.copyfile(work / "progress.jsonl", folder / "progress.jsonl")
    for beside in (TENSORBOARD, ADAPTER):
        if (work / beside).is_dir():
            copy_tree(work / beside, folder / beside)
    if splits > 1:
        record["pieces"] = splits
    if ranks.several:
        record["processes"] = ranks.count
    if trial := job.spec.get("trial"):
        record["trial"] = trial
    write_provenance(job, folder, left_out=left_out(made.corpora), unknown=much_unknown(made.corpora), **record)


def train(
    made: Made,
    job: Job,
    family: Family,
    parent: Path,
    work: Path,
    interruption: Interruption,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Train, from the newest whole checkpoint if there is one. The trainer's model then holds the weights to save. Returns
    the record for the provenance."""
    from consomme.train import checkpoints
    from consomme.train.development import best_of, evaluations
    from consomme.train.progress import Progress
    from consomme.train.saving import MINUTES, Saving
    from consomme.train.trackers import Trackers

    trainer, execution = made.trainer, job.spec.get("execution", {})
    development = develop(job, made, parent, work / "best", ranks)
    trackers = Trackers(execution.get("track"))
    progress = Progress(work / "progress.jsonl", family.task == "asr", trackers, tracked(job, work), ranks)
    progress.trainer = trainer
    trainer.add_callback(progress)
    if development:
        development.trainer, development.progress = trainer, progress
        # before the callback that keeps checkpoints: it needs this step's evaluation
        trainer.callback_handler.callbacks.insert(0, development)
    if trainer.parts.sharded:  # before those that look at the model
        trainer.callback_handler.callbacks.insert(0, trainer.parts.sharded)
    # after all others: a training that ends with this checkpoint has to have them done
    trainer.add_callback(Saving(execution.get("save_minutes", MINUTES), interruption, work, ranks))
    checkpoint = checkpoints.newest(work / "checkpoints") if ranks.first else None
    step = int(ranks.of_first(int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0))
    if step:
        checkpoint = work / "checkpoints" / f"checkpoint-{step}"
        say(f"resuming from {checkpoint.name}")
    if ranks.first:
        describe(trainer, step, work)
    try:
        if not (checkpoint and trainer.reached(checkpoint)):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.require_finite()
        if trainer.parts.sharded:
            trainer.parts.sharded.gather()
    finally:
        trackers.close()
    record: dict[str, Any] = {"steps": trainer.state.global_step}
    found = evaluations(trainer.state.log_history)
    if development and found:
        settings = job.spec["settings"]
        best = best_of(found)
        taken = best if settings["load_best_model_at_end"] else found[-1]
        if settings["load_best_model_at_end"] and ranks.first:
            checkpoints.read_weights(trainer.whole, development.weights(best["step"]))
        record["chosen"] = {"choose_on": settings["choose_on"], "step": taken["step"], "evaluations": found}
    return record


def describe(trainer: AsrNmtTrainer, first: int, work: Path) -> None:
    """Write beside progress.jsonl what it doesn't say: the number of steps, the first one of this attempt, when and where it
    began. `consomme status` reads it."""
    import torch

    device = trainer.args.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    begun = time.strftime("%Y-%m-%d %H:%M:%S")
    record = {
        "steps": trainer.args.max_steps,
        "first": first,
        "began": begun,
        "host": socket.gethostname(),
        "device": name,
    }
    write_json(work / RUNNING, record)
    say(f"begun {begun} with step {first + 1} on {name} of {record['host']}")


def tracked(job: Job, work: Path) -> Run:
    """The training as a tracker knows it: named by experiment, node, run and replicate."""
    from consomme.common.digest import digest
    from consomme.train.trackers import Run, flat

    label = job.spec.get("label", {})
    names = [label.get("node", job.out.name), label.get("run")]
    replicate = f" #{label['replicate']}" if "replicate" in label else ""
    return Run(
        project=label.get("experiment", "consomme"),
        name="/".join(filter(None, names)) + replicate,
        key=digest([job.spec["digest"], str(job.out)], 16),
        settings=flat(job.spec["settings"]),
        first=0,
        work=work,
    )


def require_finite_weights(trainer: AsrNmtTrainer) -> None:
    """Raise Diverged if a weight is not finite. The loss of the last step does not show it: it was computed before
    the update."""
    import torch

    from consomme.train.trainer import Diverged

    for name, tensor in trainer.whole.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            message = f"training diverged: {name} is not finite after the last step; lower learning_rate"
            raise Diverged(message, trainer.state.global_step + 1, float("nan"))


def plain(made: Made, work: Path) -> PreTrainedModel:
    """The trained model with its adapters merged and without the head for hybrid CTC. Adapters that are kept are written to
    `work` first."""
    from consomme.train import adapters, hybrid

    if made.keep_adapter:
        adapters.save(made.adapted, work / ADAPTER)
    model = adapters.merge(made.adapted) if made.adapted else made.trainer.whole
    hybrid.detach(model)
    return model


def diverged(made: Made, error: Diverged, parent: Path, work: Path) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The last good model (of the newest good checkpoint, else the parent), and the record for the provenance."""
    from consomme.families import load
    from consomme.train import checkpoints

    say(f"{error}; the run is recorded as diverged with its last good checkpoint, and soups leave it out")
    # the loss of a step is computed with the weights before it, those of the step before
    good = {s: path for s, path in checkpoints.remembered(work / "checkpoints").items() if s < error.step - 1}
    if good:
        step = max(good)
        checkpoints.read_weights(made.trainer.whole, good[step])
        model = plain(made, work)
    else:
        step, model = 0, load(parent, "cpu")
    if made.trainer.parts.kept:
        made.trainer.parts.kept.drop()
    loss = error.loss if math.isfinite(error.loss) else str(error.loss)
    return model, {"steps": step, "diverged": {"step": error.step, "loss": loss, "weights_of_step": step}}


def event_of(error: BaseException) -> str:
    """Why a training ended by this error, as the ranks tell it."""
    import torch

    from consomme.train.trainer import Diverged

    if isinstance(error, Told):
        return error.event
    if isinstance(error, Untold) and error.__cause__:
        return event_of(error.__cause__)
    if isinstance(error, Diverged | Interrupted):
        return DIVERGED if isinstance(error, Diverged) else INTERRUPTED
    # torch's words for a lack of memory on the processor
    lacks = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
    return OUT_OF_MEMORY if lacks else FAILED


def save(model: PreTrainedModel, parent: Path, folder: Path, own: Mapping[str, Any]) -> None:
    """Write the model's weights as float32, and every other file of its parent (config, processor and so on).

    own: keys to add to the config."""
    model.float().save_pretrained(folder, max_shard_size="1TB")
    copy_inherited(parent, folder)
    config = read_json(folder / "config.json") | dict(own)
    stored = {key for key in ("dtype", "torch_dtype") if config.get(key, "float32") != "float32"}
    if stored or own:  # the parent is in half precision: from_pretrained would round our weights to it
        write_json(folder / "config.json", config | dict.fromkeys(stored, "float32"))
    if config.get("pruned_heads"):
        from consomme.weights.zeroed_copy import write_zeroed_copy

        write_zeroed_copy(folder)


def quiet() -> None:
    """Turn off transformers' warnings at each start. Errors are still shown."""
    import warnings

    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="torch.utils.data|torch.nn|torch.optim|accelerate|transformers")
    # cached features are read-only; they are copied into the batch
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
