# Model → trained model. Checkpoints are in the state folder, which isn't an output, so Snakemake never deletes it.
rule train_model:
    input:
        models=model_inputs,
        files=model_sources,
    output:
        "results/{experiment}/models/{model}/config.json",
        "results/{experiment}/models/{model}/model.safetensors",
        content="results/{experiment}/models/{model}/content.json",
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
        + "python -m consomme.train --spec {params.spec:q} --inputs {input.models:q} --out {output.provenance:q} {output:q}"
        " --state results/{wildcards.experiment}/state/{wildcards.model} --threads {threads}"
        + LOGGED_EACH


# The same on several GPUs of one machine, which count against `--resources gpu=N`. Slurm gives them on one node.
use rule train_model as train_model_on_gpus with:
    wildcard_constraints:
        model=plan.pattern("train on gpus"),
    resources:
        gpu=model_gpus,
        nodes=1,


# The same on several nodes. `mpi` keeps the executor from starting the job in a step of its own: the job starts one process
# for each GPU of each node by srun.
use rule train_model as train_model_on_nodes with:
    wildcard_constraints:
        model=plan.pattern("train on nodes"),
    resources:
        gres=model_gres,
        nodes=model_nodes,
        tasks=model_tasks,
        tasks_per_gpu=0,
        mpi="srun",
