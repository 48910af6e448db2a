# The plan, and how every rule asks it: a rule sees one spec, its inputs and its outputs, and nothing else of the
# configuration. Specs are functions of the wildcards alone, for Snakemake tracks no others.
import os
import sys

SCRIPTS = workflow.basedir + "/scripts"
sys.path.insert(0, SCRIPTS)
# jobs find the library whether it is installed or not; a job on a cluster reads this file too
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [SCRIPTS, os.environ.get("PYTHONPATH")])
)
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from snakemake.exceptions import WorkflowError

from consomme.common.errors import ConsommeError
from consomme.plan.plan import Plan

try:
    plan = Plan(config)
    plan.need_sources()
    for study in plan.studies.values():
        study.write_specs()
except ConsommeError as error:
    raise WorkflowError(f"the configuration can't be run:\n{error}") from None

# a job's log begins with its very command; the screen shows what the command says
LOGGED = " ) 2>&1 | tee {log:q} | (grep --line-buffered -v '^+ ' || true)"
RUN = "(set -x; python -m consomme"


wildcard_constraints:
    experiment="[A-Za-z0-9_-]+",
    corpus="[A-Za-z0-9_-]+-[0-9a-f]+",
    model="[A-Za-z0-9_-]+-[0-9a-f]+",
    evaluation="[0-9a-f]+",


def model_inputs(wildcards):
    return list(plan.model(wildcards).inputs.values())


def model_sources(wildcards):
    return list(plan.model(wildcards).sources)


def model_spec(wildcards):
    return plan.model(wildcards).spec


def study_of(wildcards):
    return plan.studies[wildcards.experiment]
