# Costs, tables, evidence, the report's page.
rule measure_costs:
    input:
        costed_models,
    output:
        "results/{experiment}/costs.tsv",
    log:
        "results/{experiment}/logs/costs.log",
    benchmark:
        "results/{experiment}/benchmarks/costs.tsv"
    conda:
        "../envs/train.yaml"
    # all cores: nothing else may run while speed is measured
    threads: workflow.resource_settings.cores or 1
    params:
        spec=costs_spec,
    message:
        "measure size and speed of {wildcards.experiment}'s models"
    shell:
        "(set -x; python -m consomme.costs --spec {params.spec:q} --out {output:q} --threads {threads}"
        + LOGGED


rule report_experiment:
    input:
        models=all_models,
        evaluations=all_evaluations,
        landscapes=all_landscapes,
        costs="results/{experiment}/costs.tsv",
    output:
        runs="results/{experiment}/runs.tsv",
        scores=report(
            "results/{experiment}/scores.tsv",
            caption="report/scores.rst",
            category="{experiment}",
            labels={"table": "scores"},
        ),
        groups="results/{experiment}/groups.tsv",
        comparisons=report(
            "results/{experiment}/comparisons.tsv",
            caption="report/comparisons.rst",
            category="{experiment}",
            labels={"table": "comparisons"},
        ),
        summary=report(
            "results/{experiment}/summary.md",
            caption="report/summary.rst",
            category="{experiment}",
            labels={"table": "the short answer"},
        ),
        page=report(
            "results/{experiment}/report.html",
            caption="report/report.rst",
            category="{experiment}",
            labels={"table": "the page to read"},
        ),
    log:
        "results/{experiment}/logs/report.log",
    benchmark:
        "results/{experiment}/benchmarks/report.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        spec=report_spec,
        register=report_register,
    message:
        "report {wildcards.experiment}"
    shell:
        "(set -x; python -m consomme.report --spec {params.spec:q} --out results/{wildcards.experiment} {output:q} --threads {threads}"
        + LOGGED


# the register of claims: before any job, and once more after the last one; then what is not kept goes. Snakemake has one
# place of each kind
onstart:
    register_claims()


onsuccess:
    register_claims()
    tidy_up()


onerror:
    register_claims()
    cancel_left_jobs()
