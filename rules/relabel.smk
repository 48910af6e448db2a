# Models + corpus → corpus with one side rewritten by the models.
rule relabel_corpus:
    input:
        corpus_others,
    output:
        "results/prepared/{corpus}/rows.arrow",
        "results/prepared/{corpus}/skipped.tsv",
        prepared="results/prepared/{corpus}/prepared.json",
    log:
        "results/prepared/logs/{corpus}.log",
    benchmark:
        "results/prepared/benchmarks/{corpus}.tsv"
    wildcard_constraints:
        corpus=plan.corpus_pattern("relabel"),
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        spec=corpus_spec,
    message:
        "relabel {wildcards.corpus}"
    shell:
        "(set -x; python -m consomme.relabel --spec {params.spec:q} --inputs {input:q} --out {output.prepared:q} {output:q}"
        " --state results/prepared/state/{wildcards.corpus} --threads {threads}"
        + LOGGED
