# Model → files for use elsewhere. Nothing is made of an export.
rule export_model:
    input:
        model_inputs,
    output:
        content="results/{experiment}/models/{model}/content.json",
        provenance="results/{experiment}/models/{model}/provenance.json",
    log:
        "results/{experiment}/logs/export/{model}.log",
    benchmark:
        "results/{experiment}/benchmarks/export/{model}.tsv"
    wildcard_constraints:
        model=plan.pattern("export"),
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        spec=model_spec,
    message:
        "export {wildcards.experiment}: {wildcards.model}"
    shell:
        "(set -x; python -m consomme.export --spec {params.spec:q} --inputs {input:q} --out {output.provenance:q} {output:q}"
        " --state results/{wildcards.experiment}/state/{wildcards.model} --threads {threads}"
        + LOGGED
