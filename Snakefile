# Consommé: train many, average, reduce. The rules are declared here; the computation is in scripts/consomme.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.19")

# Snakemake would merge this file and a given one key by key, so the default is read only if no file is given
if not workflow.overwrite_configfiles:

    configfile: Path(workflow.basedir) / "config" / "config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/start.smk"
include: "rules/train.smk"
include: "rules/average.smk"
include: "rules/prune.smk"
include: "rules/evaluate.smk"
include: "rules/landscape.smk"
include: "rules/relabel.smk"
include: "rules/report.smk"
include: "rules/export.smk"


report: "rules/report/workflow.rst"


rule all:
    default_target: True
    input:
        [f"{study.folder}/report.html" for study in plan.studies.values()],
        [model.marker for study in plan.studies.values() for model in study.exports],


rule models:
    input:
        [model.marker for model in plan.models.values()],


rule corpora:
    input:
        [corpus.marker for corpus in plan.corpora.values() if corpus.stage == "data"],
