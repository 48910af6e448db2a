# Model → smaller model: layers, heads, feed-forward width.
rule prune_model:
    input:
        model_inputs,
    output:
        "results/{experiment}/models/{model}/config.json",
        "results/{experiment}/models/{model}/model.safetensors",
        content="results/{experiment}/models/{model}/content.json",
        provenance="results/{experiment}/models/{model}/provenance.json",
    log:
        "results/{experiment}/logs/prune/{model}.log",
    benchmark:
        "results/{experiment}/benchmarks/prune/{model}.tsv"
    wildcard_constraints:
        model=plan.pattern("prune"),
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        spec=model_spec,
    message:
        "prune {wildcards.experiment}: {wildcards.model}"
    shell:
        "(set -x; python -m consomme.prune --spec {params.spec:q} --inputs {input:q} --out {output.provenance:q} {output:q}"
        " --state results/{wildcards.experiment}/state/{wildcards.model} --threads {threads}"
        + LOGGED
