# Models → model: soups, interpolations, the best run of a sweep.
rule average_models:
    input:
        model_inputs,
    output:
        "results/{experiment}/models/{model}/config.json",
        "results/{experiment}/models/{model}/model.safetensors",
        content="results/{experiment}/models/{model}/content.json",
        provenance="results/{experiment}/models/{model}/provenance.json",
    log:
        "results/{experiment}/logs/average/{model}.log",
    benchmark:
        "results/{experiment}/benchmarks/average/{model}.tsv"
    wildcard_constraints:
        model=plan.pattern("average"),
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        spec=model_spec,
    message:
        "average {wildcards.experiment}: {wildcards.model}"
    shell:
        "(set -x; python -m consomme.average --spec {params.spec:q} --inputs {input:q} --out {output.provenance:q} {output:q}"
        " --state results/{wildcards.experiment}/state/{wildcards.model} --threads {threads}"
        + LOGGED


# Models → ensemble: a reference for averages, with the members' models and no weights of its own.
use rule average_models as ensemble_models with:
    output:
        "results/{experiment}/models/{model}/config.json",
        "results/{experiment}/models/{model}/ensemble.json",
        content="results/{experiment}/models/{model}/content.json",
        provenance="results/{experiment}/models/{model}/provenance.json",
    wildcard_constraints:
        model=plan.pattern("ensemble"),
    message:
        "ensemble {wildcards.experiment}: {wildcards.model}"


# Models and exports → one of them, which has the files of its format.
use rule average_models as choose_export with:
    output:
        content="results/{experiment}/models/{model}/content.json",
        provenance="results/{experiment}/models/{model}/provenance.json",
    wildcard_constraints:
        model=plan.pattern("choice"),
    message:
        "choose {wildcards.experiment}: {wildcards.model}"
