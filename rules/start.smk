# Starting point: a fetched or copied checkpoint, or random weights.
rule start_model:
    input:
        models=model_inputs,
        files=model_sources,
    output:
        "results/{experiment}/models/{model}/config.json",
        "results/{experiment}/models/{model}/model.safetensors",
        content="results/{experiment}/models/{model}/content.json",
        provenance="results/{experiment}/models/{model}/provenance.json",
    log:
        "results/{experiment}/logs/start/{model}.log",
    benchmark:
        "results/{experiment}/benchmarks/start/{model}.tsv"
    wildcard_constraints:
        model=plan.pattern("start"),
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        spec=model_spec,
        inventory=model_inventory,
    message:
        "start {wildcards.experiment}: {wildcards.model}"
    shell:
        "(set -x; python -m consomme.start --spec {params.spec:q} --inputs {input.models:q} --out {output.provenance:q} {output:q}"
        " --state results/{wildcards.experiment}/state/{wildcards.model} --threads {threads}"
        + LOGGED
