"""What the profiles' commands ask of each scheduler, by stand-ins that write down how they are called and answer as told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from consomme.common.errors import ConsommeError
from consomme.scheduler import Job, in_container, read

ROOT = Path(__file__).resolve().parents[1]
PROFILES = ROOT / "profiles"
STAND_IN = """#!{python}
import json, os, sys
name = os.path.basename(sys.argv[0])
given = "" if sys.stdin.isatty() else sys.stdin.read()
open({calls!r}, "a").write(json.dumps([name, sys.argv[1:], given]) + "\\n")
said, status = json.load(open({answer!r}))
print(said)
sys.exit(status)
"""
TRAINING = {"rule": "train_model", "threads": 8, "resources": {"mem_mb": 32000, "runtime": 1440, "gpu": 1}}
PREPARATION = {"rule": "prepare_corpus", "threads": 2, "resources": {"mem_mb": 8000, "runtime": 120}}


class Engine:
    """A profile's three commands, and a stand-in for the command by which they speak to the scheduler."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.answer = folder, folder / "calls", folder / "answer"
        self.path = [str(folder), str(Path(sys.executable).parent), os.defpath]
        text = STAND_IN.format(python=sys.executable, calls=str(self.calls), answer=str(self.answer))
        for name in ("qsub", "qstat", "kubectl", "aws", "gcloud", "az"):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def run(self, profile: str, called: str, *arguments: str, says: str = "", status: int = 0):
        self.answer.write_text(json.dumps([says, status]))
        environment = os.environ | {"PATH": os.pathsep.join(self.path), "PYTHONPATH": str(ROOT / "scripts")}
        command = [str(PROFILES / profile / called), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    def asked(self) -> list[tuple[str, list[str], str]]:
        return [json.loads(line) for line in self.calls.read_text().splitlines()] if self.calls.exists() else []

    def submitted(self, profile: str, wanted: dict, says: str = "") -> tuple[str, list[str], str]:
        """(the job's number, the arguments of the scheduler's command, what it read)."""
        done = self.run(profile, "submit", str(script_of(wanted, self.folder)), says=says)
        assert done.returncode == 0, done.stderr
        ((_, arguments, given),) = self.asked()
        return done.stdout.strip(), arguments, given


def script_of(wanted: dict, folder: Path) -> Path:
    """A job's script as Snakemake writes it."""
    path = folder / "snakejob.train_model.3.sh"
    path.write_text(f"#!/bin/sh\n# properties = {json.dumps(wanted)}\n: --cores all --attempt 1\nexit 3\n")
    return path


def after(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


@pytest.fixture
def engine(tmp_path) -> Engine:
    return Engine(tmp_path)


# -- a job -------------------------------------------------------------------------------------------------------------
def test_what_a_job_asks_for_is_read_from_its_script(tmp_path):
    path = script_of(TRAINING, tmp_path)
    assert read(path) == Job(path, "train-model", threads=8, mem_mb=32000, minutes=1440, gpus=1)
    group = {"groupid": "evaluations", "threads": 4, "resources": {"mem_mb": 16000, "runtime": 480, "gpu": 1}}
    assert read(script_of(group, tmp_path)).name == "evaluations"
    assert read(script_of(PREPARATION, tmp_path)).gpus == 0


def test_several_nodes_are_refused_in_words(engine):
    wanted = {"rule": "train_model_on_nodes", "threads": 8, "resources": {**TRAINING["resources"], "nodes": 2}}
    with pytest.raises(ConsommeError, match="nodes: 2, which only Slurm can give it"):
        read(script_of(wanted, engine.folder))
    done = engine.run("kubernetes", "submit", str(script_of(wanted, engine.folder)))
    assert done.returncode == 2 and done.stderr.startswith("error: ") and not engine.asked()


def test_a_container_ends_with_its_jobs_status(tmp_path):
    job = read(script_of(TRAINING, tmp_path))
    assert subprocess.run(in_container(job)).returncode == 3


SAVES = """#!/bin/sh
# properties = {properties}
{python} -c "
import signal, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
open('{folder}/begun', 'w').close()
while not asked: time.sleep(0.1)
time.sleep(0.5)
open('{folder}/saved', 'w').close()
"
exit 5
"""


def test_the_first_process_of_a_container_passes_sigterm_on_and_waits_for_what_saves(tmp_path):
    alone = ["unshare", "--pid", "--fork"]  # as in a container, the first of its processes
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no process namespaces here")
    path = script_of(TRAINING, tmp_path)
    path.write_text(SAVES.format(properties=json.dumps(TRAINING), python=sys.executable, folder=tmp_path))
    container = subprocess.Popen([*alone, *in_container(read(path))])
    limit = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    (first,) = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGTERM)
    assert container.wait(60) == 5 and (tmp_path / "saved").exists()


# -- schedulers --------------------------------------------------------------------------------------------------------
def test_pbs(engine):
    number, arguments, _ = engine.submitted("generic", TRAINING, says="17.server")
    assert number == "17.server" and after(arguments, "-N") == "train-model"
    assert "select=1:ncpus=8:mem=32000mb:ngpus=1" in arguments and "walltime=0:1440:0" in arguments
    assert ": --cores 8 --attempt 1\n" in (engine.folder / "snakejob.train_model.3.sh").read_text()
    told = [engine.run("generic", "status", number, says=f"job_state = {letter}").stdout for letter in "QR"]
    assert told == ["running\n"] * 2
    marked = Path(arguments[-1])
    assert subprocess.run(["sh", marked], env=os.environ | {"PBS_JOBID": number}).returncode == 3
    assert engine.run("generic", "status", number, says="job_state = R").stdout == "failed\n"
    (engine.folder / ".snakemake/scheduler_logs/17.server.status").write_text("0\n")
    assert engine.run("generic", "status", number, says="job_state = E").stdout == "success\n"
    # a job without a mark may have ended a moment ago on another node
    lost = {"says": "qstat: Unknown Job Id 18.server", "status": 153}
    assert engine.run("generic", "status", "18.server", **lost).stdout == "running\n"
    gone = engine.folder / ".snakemake/scheduler_logs/18.server.gone"
    os.utime(gone, (time.time() - 61,) * 2)
    assert engine.run("generic", "status", "18.server", **lost).stdout == "failed\n"
    unanswered = {"says": "cannot connect to server", "status": 111}
    assert engine.run("generic", "status", "18.server", **unanswered).stdout == "running\n"


def test_kubernetes(engine):
    number, arguments, given = engine.submitted("kubernetes", TRAINING, says="job.batch/consomme-train-model-x2x4z")
    assert number == "consomme-train-model-x2x4z" and arguments[:3] == ["create", "--filename", "-"]
    pod = json.loads(given)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "8", "memory": "32000Mi"},
        "limits": {"memory": "32000Mi", "nvidia.com/gpu": "1"},
    }
    assert pod["activeDeadlineSeconds"] == 86400 and pod["restartPolicy"] == "Never"
    assert subprocess.run(container["command"]).returncode == 3
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_aws_batch(engine):
    number, arguments, _ = engine.submitted("aws-batch", TRAINING, says="0a1b-2c3d")
    assert number == "0a1b-2c3d" and after(arguments, "--job-queue") == "consomme-gpu"
    assert after(arguments, "--timeout") == "attemptDurationSeconds=86400"
    wanted = json.loads(after(arguments, "--container-overrides"))
    assert {r["type"]: r["value"] for r in wanted["resourceRequirements"]} == {
        "VCPU": "8",
        "MEMORY": "32000",
        "GPU": "1",
    }
    assert subprocess.run(wanted["command"]).returncode == 3


def test_google_batch(engine):
    number, arguments, given = engine.submitted("google-batch", TRAINING)
    assert number.startswith("train-model-") and arguments[:4] == ["batch", "jobs", "submit", number]
    request = json.loads(given)
    task = request["taskGroups"][0]["taskSpec"]
    assert task["computeResource"] == {"cpuMilli": 8000, "memoryMib": 32000} and task["maxRunDuration"] == "86400s"
    assert request["allocationPolicy"]["instances"][0]["policy"]["accelerators"][0]["count"] == 1
    assert subprocess.run(task["runnables"][0]["container"]["commands"]).returncode == 3


def test_azure_batch(engine):
    number, arguments, _ = engine.submitted("azure-batch", TRAINING)
    task = json.loads(Path(after(arguments, "--json-file")).read_text())
    assert number == f"consomme-gpu/{task['id']}" and after(arguments, "--job-id") == "consomme-gpu"
    assert task["constraints"] == {"maxWallClockTime": "PT1440M", "maxTaskRetryCount": 0}
    assert "--gpus all" in task["containerSettings"]["containerRunOptions"] and task["requiredSlots"] == 1
    assert subprocess.run(task["commandLine"].split()).returncode == 3


@pytest.mark.parametrize("profile", ["generic", "kubernetes", "aws-batch", "google-batch", "azure-batch"])
def test_what_a_job_does_not_need_is_not_asked_for(engine, profile):
    _, arguments, given = engine.submitted(profile, PREPARATION)
    files = [p.read_text() for p in engine.folder.glob("*.json")]
    assert "gpu" not in " ".join([*arguments, given, *files]).lower()


@pytest.mark.parametrize(
    ("profile", "number", "words"),
    [
        ("kubernetes", "consomme-train-model-x", {"1/": "success", "/1": "failed", "/": "running"}),
        ("aws-batch", "0a", {"SUCCEEDED": "success", "FAILED": "failed", "RUNNABLE": "running", "None": "failed"}),
        ("google-batch", "a", {"SUCCEEDED": "success", "FAILED": "failed", "QUEUED": "running"}),
        (
            "azure-batch",
            "consomme/a",
            {"completed\tsuccess": "success", "completed\tfailure": "failed", "active\tNone": "running"},
        ),
    ],
)
def test_what_a_scheduler_says_becomes_a_status(engine, profile, number, words):
    told = {said: engine.run(profile, "status", number, says=said).stdout.strip() for said in words}
    assert told == words


@pytest.mark.parametrize(
    ("profile", "number", "lost"),
    [
        ("kubernetes", "a", 'Error from server (NotFound): jobs.batch "a" not found'),
        ("google-batch", "a", "ERROR: (gcloud.batch.jobs.describe) NOT_FOUND: Resource not found"),
        ("azure-batch", "consomme/a", "ERROR: (TaskNotFound) The specified task does not exist."),
    ],
)
def test_a_job_that_is_gone_has_failed_and_a_scheduler_that_does_not_answer_is_asked_again(
    engine, profile, number, lost
):
    """An error of the status command would end the whole run."""
    assert engine.run(profile, "status", number, says=lost, status=1).stdout == "failed\n"
    assert engine.run(profile, "status", number, says="no route to host", status=1).stdout == "running\n"


@pytest.mark.parametrize("profile", ["kubernetes", "aws-batch", "google-batch", "azure-batch"])
def test_cancelling_names_every_job_and_does_not_wait(engine, profile):
    numbers = [f"consomme/{letter}" if profile == "azure-batch" else f"job-{letter}" for letter in "abc"]
    assert engine.run(profile, "cancel", *numbers).returncode == 0
    limit = time.monotonic() + 60
    while not all(name.rpartition("/")[2] in json.dumps(engine.asked()) for name in numbers):
        assert time.monotonic() < limit
        time.sleep(0.1)


def test_a_refusal_shows_what_the_scheduler_said(engine):
    done = engine.run("generic", "submit", str(script_of(TRAINING, engine.folder)), says="", status=170)
    assert done.returncode == 2 and "qsub has refused (exit status 170)" in done.stderr


def test_a_command_that_is_missing_is_named(engine):
    (engine.folder / "kubectl").unlink()
    engine.path.remove(os.defpath)  # a real one may be there
    done = engine.run("kubernetes", "submit", str(script_of(TRAINING, engine.folder)))
    assert done.returncode == 2 and "kubectl is not on the path" in done.stderr


# -- the services' own packages, which the lock leaves out -------------------------------------------------------------
def without_empty(value):
    """A request as a service reads it: what is empty is not there."""
    if isinstance(value, dict):
        return {k: without_empty(v) for k, v in value.items() if v not in ([], {}, None)}
    return [without_empty(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("wanted", [TRAINING, PREPARATION], ids=["training", "preparation"])
def test_kubernetes_own_package_knows_all_of_a_manifest(engine, wanted):
    client = pytest.importorskip("kubernetes.client", reason="pip install kubernetes")
    given = json.loads(engine.submitted("kubernetes", wanted, says="job.batch/a")[2])
    api = client.ApiClient()
    read_back = api.deserialize(SimpleNamespace(data=json.dumps(given)), "V1Job")
    assert without_empty(api.sanitize_for_serialization(read_back)) == without_empty(given)


@pytest.mark.parametrize("wanted", [TRAINING, PREPARATION], ids=["training", "preparation"])
def test_googles_own_package_knows_all_of_a_request(engine, wanted):
    batch = pytest.importorskip("google.cloud.batch_v1", reason="pip install google-cloud-batch")
    from google.protobuf import json_format

    given = json.loads(engine.submitted("google-batch", wanted)[2])
    json_format.ParseDict(given, batch.Job.pb(batch.Job()))  # an error for a field that is unknown


@pytest.mark.parametrize("wanted", [TRAINING, PREPARATION], ids=["training", "preparation"])
def test_amazons_own_package_accepts_a_request(engine, wanted):
    session = pytest.importorskip("botocore.session", reason="pip install botocore")
    from botocore.validate import ParamValidator

    _, arguments, _ = engine.submitted("aws-batch", wanted, says="a")
    request = {
        "jobName": after(arguments, "--job-name"),
        "jobQueue": after(arguments, "--job-queue"),
        "jobDefinition": after(arguments, "--job-definition"),
        "containerOverrides": json.loads(after(arguments, "--container-overrides")),
        "timeout": {"attemptDurationSeconds": int(after(arguments, "--timeout").partition("=")[2])},
    }
    shape = session.get_session().get_service_model("batch").operation_model("SubmitJob").input_shape
    assert ParamValidator().validate(request, shape).generate_report() == ""


@pytest.mark.parametrize("wanted", [TRAINING, PREPARATION], ids=["training", "preparation"])
def test_azures_own_package_knows_all_of_a_task(engine, wanted):
    models = pytest.importorskip("azure.batch.models", reason="pip install 'azure-batch<15'")
    _, arguments, _ = engine.submitted("azure-batch", wanted)
    given = json.loads(Path(after(arguments, "--json-file")).read_text())
    task = models.TaskAddParameter.deserialize(given)
    # times are written in another way
    assert task.validate() == [] and {**task.serialize(), "constraints": given["constraints"]} == given
