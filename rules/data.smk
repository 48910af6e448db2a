# Corpus → prepared corpus: checked, normalised, decoded. Shared by all models and experiments that need it.
rule prepare_corpus:
    input:
        files=corpus_files,
        others=corpus_others,
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
    message:
        "prepare {wildcards.corpus}"
    shell:
        "(set -x; python -m consomme.data --spec {params.spec:q} --inputs {input.others:q} --out {output.prepared:q} {output:q}"
        " --state results/prepared/state/{wildcards.corpus} --threads {threads}"
        + LOGGED
