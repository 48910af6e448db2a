# Corpus → prepared corpus: checked, normalised, decoded. Shared by all models and experiments that need it.
rule prepare_corpus:
    input:
        files=corpus_files,
        others=corpus_others,
        parts=corpus_parts,
    output:
        "results/prepared/{corpus}/rows.arrow",
        "results/prepared/{corpus}/skipped.tsv",
        prepared="results/prepared/{corpus}/prepared.json",
    log:
        "results/prepared/logs/{corpus}.log",
    benchmark:
        "results/prepared/benchmarks/{corpus}.tsv"
    wildcard_constraints:
        corpus=plan.corpus_pattern("data"),
    priority: 3
    conda:
        "../envs/train.yaml"
    # a job of two would wait for two cores that are free at once, as long as jobs of one are ready
    threads: 1
    params:
        spec=corpus_spec,
        inventory=corpus_inventory,
        parts=parts_folder,
    message:
        "prepare {wildcards.corpus}"
    shell:
        "(set -x; python -m consomme.data --spec {params.spec:q} --inputs {input.others:q} --parts {params.parts:q} --out {output.prepared:q} {output:q}"
        " --state results/prepared/state/{wildcards.corpus} --threads {threads}"
        + LOGGED


# The same of a corpus whose rows were checked ahead, in parts: little is left to be computed.
use rule prepare_corpus as prepare_from_parts with:
    wildcard_constraints:
        corpus=plan.corpus_pattern("data in parts"),


# A part of a corpus → its rows, checked. They go once the corpus is prepared.
rule prepare_part:
    input:
        corpus_files,
    output:
        temp("results/prepared/parts/{corpus}/{parts}/{part}/rows.arrow"),
        temp("results/prepared/parts/{corpus}/{parts}/{part}/checked.arrow"),
        prepared=temp("results/prepared/parts/{corpus}/{parts}/{part}/prepared.json"),
    log:
        "results/prepared/logs/{corpus}.{part}-of-{parts}.log",
    benchmark:
        "results/prepared/benchmarks/{corpus}.{part}-of-{parts}.tsv"
    wildcard_constraints:
        part=r"\d+",
        parts=r"\d+",
    priority: 3
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        spec=part_spec,
        inventory=corpus_inventory,
    message:
        "prepare {wildcards.corpus}: part {wildcards.part} of {wildcards.parts}"
    shell:
        "(set -x; python -m consomme.data --spec {params.spec:q} --out {output.prepared:q} {output:q}"
        " --state results/prepared/state/{wildcards.corpus} --threads {threads}"
        + LOGGED
