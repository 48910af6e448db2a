# Model → trained model. Checkpoints are in the state folder, which isn't an output, so Snakemake never deletes it.
rule train_model:
    input:
        models=model_inputs,
        files=model_sources,
    output:
        "results/{experiment}/models/{model}/config.json",
        "results/{experiment}/models/{model}/model.safetensors",
        provenance="results/{experiment}/models/{model}/provenance.json",
    log:
        "results/{experiment}/logs/train/{model}.log",
    benchmark:
        "results/{experiment}/benchmarks/train/{model}.tsv"
    wildcard_constraints:
        model=plan.pattern("train"),
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        spec=model_spec,
        inventory=model_inventory,
    message:
        "train {wildcards.experiment}: {wildcards.model}"
    shell:
        SAVING
        + "(set -x; python -m consomme.train --spec {params.spec:q} --inputs {input.models:q} --out {output.provenance:q}"
        " --state results/{wildcards.experiment}/state/{wildcards.model} --threads {threads}"
        + LOGGED_EACH
