# Tables, evidence, the page. Their specs name every model of an experiment and so are files, named by their digest.
def report_spec(wildcards):
    return study_of(wildcards).spec_file("report")


def costs_spec(wildcards):
    return study_of(wildcards).spec_file("costs")


rule measure_costs:
    input:
        lambda wildcards: sorted(
            {e.model.marker for e in study_of(wildcards).evaluations}
        ),
    output:
        "results/{experiment}/costs.tsv",
    log:
        "results/{experiment}/logs/costs.log",
    # all cores: nothing else may run while speed is measured
    threads: workflow.resource_settings.cores or 1
    params:
        spec=costs_spec,
    message:
        "measure size and speed of {wildcards.experiment}'s models"
    shell:
        "{RUN}.report.costs --spec {params.spec:q} --out {output:q} --threads {threads}"
        + LOGGED


rule report_experiment:
    input:
        models=lambda wildcards: sorted({m.marker for m in study_of(wildcards).models}),
        evaluations=lambda wildcards: sorted(
            {e.path for e in study_of(wildcards).evaluations}
        ),
        costs="results/{experiment}/costs.tsv",
    output:
        runs="results/{experiment}/runs.tsv",
        scores=report(
            "results/{experiment}/scores.tsv",
            caption="report/scores.rst",
            category="{experiment}",
            labels={"table": "scores"},
        ),
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
    threads: 1
    params:
        spec=report_spec,
    message:
        "report {wildcards.experiment}"
    shell:
        "{RUN}.report --spec {params.spec:q} --out results/{wildcards.experiment} --threads {threads}"
        + LOGGED
