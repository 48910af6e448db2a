# Runs → development loss between them: do they share a basin, and what does one more ingredient bring?
rule measure_landscape:
    input:
        landscape_inputs,
    output:
        "results/{experiment}/landscape/{landscape}.json",
    log:
        "results/{experiment}/logs/landscape/{landscape}.log",
    benchmark:
        "results/{experiment}/benchmarks/landscape/{landscape}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        spec=landscape_spec,
    message:
        "landscape {wildcards.experiment}: {wildcards.landscape}"
    shell:
        "(set -x; python -m consomme.landscape --spec {params.spec:q} --inputs {input:q} --out {output:q}"
        " --state results/{wildcards.experiment}/state/landscape-{wildcards.landscape} --threads {threads}"
        + LOGGED
