# Model → hypotheses for every development and test set. One job per model: starting Python takes longer than most sets.
rule evaluate_model:
    input:
        evaluation_inputs,
    output:
        index="results/{experiment}/hypotheses/{model}/{evaluation}.json",
    log:
        "results/{experiment}/logs/evaluate/{model}.{evaluation}.log",
    benchmark:
        "results/{experiment}/benchmarks/evaluate/{model}.{evaluation}.tsv"
    # scores appear on the screen as early as possible
    priority: 5
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        spec=evaluation_spec,
    message:
        "evaluate {wildcards.experiment}: {wildcards.model}"
    shell:
        "(set -x; python -m consomme.evaluate --spec {params.spec:q} --inputs {input:q} --out {output.index:q}"
        " --state results/{wildcards.experiment}/state/{wildcards.model} --threads {threads}"
        + LOGGED
