# A corpus read once: checked, normalised, decoded. Shared by every model and experiment that needs the same.
from consomme.data.sources import TABLE as SOURCES


def corpus_files(wildcards):
    corpus = plan.corpora[wildcards.corpus]
    files = SOURCES[corpus.settings["source"]].files(
        corpus.settings, corpus.languages, corpus.root
    )
    return [str(file) for file in files]


def corpus_inventory(wildcards):
    # a folder's files are too many to be inputs: their names and contents are one value
    corpus = plan.corpora[wildcards.corpus]
    return SOURCES[corpus.settings["source"]].inventory(corpus.settings, corpus.root)


rule prepare_corpus:
    input:
        files=corpus_files,
        others=lambda wildcards: list(plan.corpora[wildcards.corpus].inputs.values()),
    output:
        "results/prepared/{corpus}/rows.arrow",
        "results/prepared/{corpus}/skipped.tsv",
        prepared="results/prepared/{corpus}/prepared.json",
    log:
        "results/prepared/logs/{corpus}.log",
    benchmark:
        "results/prepared/benchmarks/{corpus}.tsv"
    priority: 3
    threads: 2
    params:
        spec=lambda wildcards: plan.corpora[wildcards.corpus].spec,
        inventory=corpus_inventory,
    message:
        "prepare {wildcards.corpus}"
    shell:
        "{RUN}.data --spec {params.spec:q} --inputs {input.others:q} --out {output.prepared:q}"
        " --state results/prepared/state/{wildcards.corpus} --threads {threads}"
        + LOGGED
