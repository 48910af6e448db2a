# The plan, and functions of the plan for the other rule files. A job gets one spec, its inputs and its outputs, and
# nothing else of the configuration. Specs depend on the wildcards only, because Snakemake tracks no other functions.
import gc
import logging
import os
import re
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import IOFile

SCRIPTS = str(Path(workflow.basedir) / "scripts")
sys.path.insert(0, SCRIPTS)
# jobs find the library even if it isn't installed; jobs on a cluster read this file too
os.environ.update(
    PYTHONPATH=os.pathsep.join(filter(None, [SCRIPTS, os.environ.get("PYTHONPATH")])),
)

# a graph of jobs is made of objects that stay: Python would look through them for garbage whenever 700 more have come, which
# takes a fifth of a dry run of a thousand trainings
gc.set_threshold(100_000)

# on a full disk Snakemake can't write its own log; it would print a trace for each line
logging.raiseExceptions = False

# modules that nearly every stage needs
PRELOADED = "consomme.train.stage,consomme.train.trainer,consomme.evaluate.evaluator"
# jobs on this machine are forked from one process with loaded libraries (consomme/preload.py), jobs on other machines
# are not; CONSOMME_PRELOAD="" before the command turns this off
if workflow.is_main_process:
    os.environ.update(CONSOMME_PRELOAD_FOR=str(os.getpid()))
    os.environ.setdefault("CONSOMME_PRELOAD", PRELOADED)
elif workflow.remote_exec:
    os.environ.pop("CONSOMME_PRELOAD_FOR", None)
    # what corpora have in stores was asked by the process that submitted this job, which shares its disk
    if not workflow.storage_settings.default_storage_provider:
        os.environ.setdefault("CONSOMME_URLS", "kept")
# results lie in the store of Snakemake's default storage provider, if there is one
os.environ.update(CONSOMME_STORE=workflow.storage_settings.default_storage_prefix or "")

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError, in_words
from consomme.common.mirror import bring, keep, store
from consomme.data import remote
from consomme.data.sources import TABLE as SOURCES
from consomme.data.sources.base import CACHE, inventory_of
from consomme.plan import keeping
from consomme.plan.load import read
from consomme.plan.plan import Plan
from consomme.register.chain import NAME as REGISTER
from consomme.register.entry import declare
from consomme.register.standing import fingerprint
from consomme.scheduler import cancel_left

BEGUN = time.time()


@contextmanager
def told():
    # what a user can do something about, in words
    try:
        yield
    except ConsommeError as error:
        raise WorkflowError(f"the configuration can't be run:\n{error}") from None
    except OSError as error:
        if (words := in_words(error)) is None:
            raise
        raise WorkflowError(words) from None


def bring_from_store(experiments):
    # the registers, which say what test sets are open, to all jobs; what a run has to show to its first process alone
    if store() and workflow.is_main_process:
        from consomme.report.fetch import bring_pages  # imports pandas

        for name in experiments:
            bring_pages(Path("results") / name)
    else:
        bring(*(Path("results") / name / REGISTER for name in experiments))


with told():
    # `config` is merged already; read the files again for errors that Snakemake ignores, such as a key given twice
    if workflow.is_main_process:
        read(workflow.configfiles)
    bring_from_store(config.get("experiments") or {})
    plan = Plan(config)
    plan.need_sources()
    if store():
        keeping.refuse_with_store(plan)
    for study in plan.studies.values():
        study.write_specs()
# what has been loaded and planned stays, too, and is never looked through again
gc.freeze()

# closes "(set -x; python -m ...": a job's log begins with its command, and the screen shows only its output
LOGGED = " ) 2>&1 | tee {log:q} | (grep --line-buffered -v '^+ ' || true)"
# the same for a job that may take several attempts: Snakemake removes the log of the one before, so all are in a second file
# what writes them outlives signals to all processes of the job
LOGGED_EACH = " ) 2>&1 | (trap '' INT TERM USR1; tee --append {log:q} {log:q}.attempts | (grep --line-buffered -v '^+ ' || true))"
# opens the command of a job that saves at these signals: its shells wait for it. They don't ignore them, for then Python
# would, too, until it has been loaded
SAVING = "trap : INT TERM USR1; (trap '{{ :; }} 2>/dev/null' INT TERM USR1; set -x; "


wildcard_constraints:
    experiment="[A-Za-z0-9_-]+",
    corpus="[A-Za-z0-9_-]+-[0-9a-f]+",
    model="[A-Za-z0-9_-]+-[0-9a-f]+",
    evaluation="[0-9a-f]+",
    landscape="[0-9a-f]+",


def without_braces(path):
    """The path, or a link to it: Snakemake takes braces in an input's path for wildcards."""
    if "{" not in str(path):
        return str(path)
    # named by the path as it is given, so that it has one name in a copy of the working folder, and leads to the copy's data
    link = Path("results/cache/links") / digest(str(path))
    target = str(Path(path).absolute())
    if not (link.is_symlink() and os.readlink(link) == target):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return str(link)


# -- corpora
def asked(ask, corpus):
    try:
        return ask(corpus.settings, corpus.languages, corpus.root)
    except ConsommeError as error:
        raise WorkflowError(f"corpora.{corpus.name}: {error}") from None


def corpus_spec(wildcards):
    return plan.corpora[wildcards.corpus].spec


def corpus_others(wildcards):
    return list(plan.corpora[wildcards.corpus].inputs.values())


def corpus_files(wildcards):
    corpus = plan.corpora[wildcards.corpus]
    source = SOURCES[corpus.settings["source"]]
    files = asked(source.files, corpus)
    # copies of what lies in stores are no inputs: others may share or remove them, and their inventory is a parameter
    return [local(without_braces(f)) for f in files if not remote.viewed(f)]


def corpus_inventory(wildcards):
    return inventory(wildcards.corpus)


@cache
def inventory(name):
    # recordings are too many for inputs, and a file may be replaced by an older one: one value stands for their names
    # and contents
    corpus = plan.corpora[name]
    source = SOURCES[corpus.settings["source"]]
    return asked(source.inventory, corpus)


def corpus_parts(wildcards):
    corpus = plan.corpora[wildcards.corpus]
    return corpus.part_files(finished_parts(corpus) or corpus.parts)


def finished_parts(corpus):
    # a finished corpus stays as it is, whatever its parts are by now: Snakemake has to find the inputs that it remembers
    if not (store() or Path(corpus.marker).exists()):
        return None
    marker = IOFile(
        workflow.modifier.path_modifier.apply_default_storage(corpus.marker)
    )
    made = workflow.persistence.metadata(marker)
    if made is None or not any(
        inventory(corpus.id) in str(param) for param in made.params or ()
    ):
        return None
    read = (
        re.search(f"prepared/parts/{corpus.id}/([0-9]+)/", path)
        for path in made.input or ()
    )
    return next((int(found[1]) for found in read if found), 1)


def part_spec(wildcards):
    return plan.corpora[wildcards.corpus].part_spec(
        int(wildcards.part), int(wildcards.parts)
    )


def parts_folder(wildcards, input):
    # where Snakemake has them, which may be a copy of what lies in a store
    return str(Path(input.parts[0]).parents[1]) if input.parts else ""


# -- models
def model(wildcards):
    return plan.model(wildcards.experiment, wildcards.model)


def model_spec(wildcards):
    return model(wildcards).spec


def model_inputs(wildcards):
    return list(model(wildcards).inputs.values())


def model_gpus(wildcards):
    return model(wildcards).execution.get("gpus", 1)


def model_gres(wildcards):
    return f"gpu:{model_gpus(wildcards)}"


def model_nodes(wildcards):
    return model(wildcards).execution["nodes"]


def model_tasks(wildcards):
    return model_nodes(wildcards) * model_gpus(wildcards)


def model_sources(wildcards):
    return [local(without_braces(f)) for f in model(wildcards).sources]


def model_inventory(wildcards):
    # as of a corpus: a file may be replaced by an older one
    sources = model(wildcards).sources
    return inventory_of(sources, Path(), CACHE) if sources else ""


# -- evaluations
def evaluation(wildcards):
    return plan.evaluation(wildcards.experiment, wildcards.model, wildcards.evaluation)


def evaluation_spec(wildcards):
    return evaluation(wildcards).spec


def evaluation_inputs(wildcards):
    return list(evaluation(wildcards).inputs.values())


# -- landscapes
def landscape(wildcards):
    return plan.landscape(wildcards.experiment, wildcards.landscape)


def landscape_spec(wildcards):
    return landscape(wildcards).spec


def landscape_inputs(wildcards):
    return list(landscape(wildcards).inputs.values())


# -- tables: their specs name every model of an experiment, so they are files, named by their digest
def costs_spec(wildcards):
    return plan.studies[wildcards.experiment].spec_file("costs")


def report_spec(wildcards):
    return plan.studies[wildcards.experiment].spec_file("report")


def report_register(wildcards):
    # the register is no input, for it grows at each start: one value stands for what the report says of it
    return fingerprint(plan.studies[wildcards.experiment].report)


def costed_models(wildcards):
    return sorted({m.marker for m in plan.studies[wildcards.experiment].costed})


def all_models(wildcards):
    return sorted({m.marker for m in plan.studies[wildcards.experiment].models})


def all_evaluations(wildcards):
    return sorted({e.path for e in plan.studies[wildcards.experiment].evaluations})


def all_landscapes(wildcards):
    return sorted({s.path for s in plan.studies[wildcards.experiment].landscapes})


# -- the register
# Claims and what is known of the test sets → the register: before any job, and once more after the last one.
def register_claims():
    if workflow.is_main_process:
        for study in plan.studies.values():
            with told():
                declare(study.report, Path(workflow.configfiles[0]).parent)
                keep(Path(study.folder) / REGISTER)


# -- the end of a run
# Once everything is made: the weights that `keep` gives up go, and what lies in a store can be read here. Not behind a run for
# some models alone.
def tidy_up():
    if workflow.is_main_process and not workflow.dag_settings.targets:
        with told():
            for line in keeping.tidy_up(plan):
                print(line)
            bring_from_store(plan.studies)


# -- jobs of a scheduler
# After Ctrl-C: what the executor has forgotten to cancel. Other executors have no such command.
def cancel_left_jobs():
    if workflow.is_main_process:
        cancel_left(getattr(workflow.executor_settings, "cancel_cmd", None), BEGUN)
