"""The command `consomme`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import consomme
from consomme.cli import app
from consomme.common import extras
from consomme.plan.load import read
from consomme.plan.plan import Plan
from consomme.workflow import laid_over

ROOT = Path(__file__).resolve().parents[2]
TINY = """
corpora:
  train: {source: generated, generator: dosage, domain: general, size: 20}
  dev:   {source: generated, generator: dosage, domain: general, split: dev, size: 5}
  test:  {source: generated, generator: dosage, domain: general, split: test, size: 5}
experiments:
  e:
    task: nmt
    languages: [en, fr]
    data: {train: train, dev: {d: dev}, test: {t: test}}
    models:
      untrained: {from: {scratch: {family: marian}}}
      base: {train: untrained, max_steps: 2}
"""


def said(*arguments):
    """What the command prints, and its exit status."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, prog_name="consomme")
    return result.output, result.exit_code


def started(*arguments, cwd, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "consomme", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_the_version():
    assert said("--version") == (f"consomme {consomme.__version__}\n", 0)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["plan", "--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    heavy = ("torch", "pandas", "numpy", "snakemake", "transformers", "yaml")
    code = "import atexit, sys\nfrom consomme.cli import main\nsys.argv = ['consomme', *sys.argv[1:]]\n"
    code += f"atexit.register(lambda: print([m for m in {heavy} if m in sys.modules], file=sys.stderr))\nmain()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_the_plan_imports_nothing_heavy(tiny):
    code = "import atexit, sys\nfrom consomme.cli import main\nsys.argv = ['consomme', 'plan', sys.argv[1]]\n"
    heavy = ("torch", "pandas", "numpy", "snakemake", "transformers")
    code += f"atexit.register(lambda: print([m for m in {heavy} if m in sys.modules], file=sys.stderr))\nmain()"
    done = subprocess.run([sys.executable, "-c", code, str(tiny)], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n" and "models: 2, 0 there" in done.stdout


def test_a_mistake_is_a_line_and_exit_code_2(tmp_path, capsys):
    _, status = said("plan", tmp_path / "absent.yaml")
    assert status == 2
    done = started("plan", "absent.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: absent.yaml: there is no such configuration file\n")


def test_without_a_configuration_the_plan_is_the_demos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said("plan") == said("plan", ROOT / "config/config.yaml")


def test_the_schema():
    text, status = said("schema")
    assert status == 0 and json.loads(text) == json.loads((ROOT / "config/schema.json").read_text())


def test_clean_lists_and_removes_only_when_told(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    old = tiny.parent / "results/e/models/base-000000000000"
    old.mkdir(parents=True)
    assert "base-000000000000" in said("clean", tiny)[0] and old.exists()
    assert said("clean", tiny, "--yes")[1] == 0 and not old.exists()


def test_clean_says_what_it_does_not_look_at(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    for name in ("cache/features", "another/models"):
        (tiny.parent / "results" / name).mkdir(parents=True)
        (tiny.parent / "results" / name / "file").write_bytes(bytes(2**21))
    text, _ = said("clean", tiny, "--yes")
    assert "2.0 MiB  results/another, not looked at: of another experiment" in text
    assert "2.0 MiB  results/cache, not looked at: kept to save time" in text
    assert (tiny.parent / "results/another/models/file").exists()


def test_what_is_given_to_snakemake_is_laid_over_the_profiles_maps(tmp_path):
    (tmp_path / "profile.yaml").write_text(
        "jobs: 4\nset-resources:\n  train_model:\n    gpu: 1\n    mem_mb: 1000 * attempt\nset-threads:\n  train_model: 8\n"
    )
    given = ["--set-resources", "train_model:mem_mb=5", "--retries", "3", "--set-threads=start_model=2", "--quiet"]
    assert laid_over(tmp_path, given) == [
        *("--set-resources", "train_model:gpu=1", "train_model:mem_mb=1000 * attempt", "train_model:mem_mb=5"),
        *("--retries", "3", "--set-threads", "train_model=8", "start_model=2", "--quiet"),
    ]
    assert laid_over(tmp_path / "absent", given) == given


def test_snakemake_reads_it_so(tmp_path):
    from snakemake.cli import parse_set_resources

    entries = laid_over(ROOT / "profiles/slurm", ["--set-resources", "train_model:runtime=5"])[1:]
    training = parse_set_resources(entries)["train_model"]
    assert {name: training[name].raw for name in ("runtime", "gpu")} == {"runtime": 5, "gpu": 1}


def test_an_executor_that_is_not_installed_is_named_with_its_extra(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    monkeypatch.setattr(extras, "installed", lambda module: False)
    text, status = said("run", tiny, "--profile", "generic")
    assert (
        status == 2
        and "snakemake-executor-plugin-cluster-generic is not installed: pip install -e '.[generic]'" in text
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/profile.yaml").write_text("executor: htcondor\n")
    text, status = said("run", tiny, "--profile", "mine")
    assert status == 2 and "mine: executor: htcondor" in text
    assert "pip install snakemake-executor-plugin-htcondor" in text


def test_who_finds_a_lock_is_told_how_to_take_it_away(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    (tiny.parent / ".snakemake/locks").mkdir(parents=True)
    (tiny.parent / ".snakemake/locks/0.output.lock").touch()
    monkeypatch.setattr("consomme.workflow.subprocess.Popen", Refusing)
    text, status = said("run", tiny, "--profile", "slurm")
    assert status == 1 and f"start again: consomme run {tiny} --profile slurm -- --unlock\n" in text


class Refusing:
    """A Snakemake that ends with an error."""

    def __init__(self, *given, **more):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def wait(self, timeout):
        return 1


def test_clean_keeps_what_an_overlay_made(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    Path("more.yaml").write_text("experiments: {e: {models: {base: {max_steps: 3}}}}")
    overlaid = Plan(read([tiny, Path("more.yaml")]))
    folder = Path(next(m.folder for m in overlaid.models.values() if m.node == "base"))
    folder.mkdir(parents=True)
    assert folder.name in said("clean", tiny)[0]
    assert said("clean", f"{tiny},more.yaml", "--yes")[1] == 0 and folder.exists()


def test_clean_lists_what_killed_jobs_left_unless_the_job_runs(tiny, monkeypatch):
    from filelock import FileLock

    monkeypatch.chdir(tiny.parent)
    ids = {m.node: m.state_id for m in Plan(read([tiny])).models.values()}
    left = [Path(f"results/e/state/{ids[node]}/0a/.finished.0b") for node in ("untrained", "base")]
    for folder in left:
        (folder.parent / "finished").mkdir(parents=True)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(bytes(2**21))
    with FileLock(left[0].parent / "lock"):
        assert "2.0 MiB in 1 folders and files not used" in said("clean", tiny)[0]
        assert said("clean", tiny, "--yes")[1] == 0
    assert [folder.exists() for folder in left] == [True, False]
    assert all((folder.parent / "finished").exists() for folder in left)
    assert said("clean", tiny, "--yes")[1] == 0 and not left[0].exists()


def test_clean_lists_what_was_being_written_a_day_ago(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    base = next(m.state_id for m in Plan(read([tiny])).models.values() if m.node == "base")
    results = Path("results")
    old, new = results / "cache/verified/.a.json.0123456789ab", results / "e/tables/.b.csv.0123456789ab"
    copy = results / f"e/state/{base}/engine-x1"
    others = [results / "cache/.hidden", results / "e/.ignored.orig-file-ab"]
    for path in (old, new, copy / "model.bin", *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(2**20))
    for path in (old, copy, *others):
        os.utime(path, (1e9, 1e9))
    text, _ = said("clean", tiny, "--yes")
    assert str(old) in text and "engine-x1" in text
    assert not old.exists() and not copy.exists() and new.exists() and all(path.exists() for path in others)


def test_clean_asks_for_a_configuration():
    assert said("clean")[1] == 2


@pytest.mark.parametrize(
    ("command", "option"),
    [("average", "--density"), ("transcribe", "--num-beams"), ("translate", "--max-new-tokens")],
)
def test_commands_by_hand_show_their_own_options(command, option):
    text, status = said(command, "--help")
    assert status == 0 and option in text and text.startswith(f"usage: consomme {command} ")


def test_commands_by_hand_get_every_argument_as_it_was_given(monkeypatch):
    given = []
    monkeypatch.setattr("consomme.average.stage.entry", lambda argv, prog: given.extend(argv))
    arguments = ["--method", "weighted", "--weights", "-1", "2", "--out", "o", "--", "a", "b"]
    assert said("average", *arguments) == ("", 0)
    assert given == arguments


@pytest.mark.workflow
def test_run_elsewhere_takes_the_clones_rules_and_leaves_results_there(tiny):
    done = started("run", tiny, "--cores", 1, "--", "--dry-run", cwd=tiny.parent)
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert "train_model" in output and "not finished" not in output
    assert (tiny.parent / "results/e/plan").is_dir()


@pytest.mark.workflow
@pytest.mark.parametrize("command", [["run"], ["model", "e/untrained"]])
@pytest.mark.parametrize("option", ["-n", "--dry-run"])
def test_a_dry_run_lists_jobs_and_makes_nothing(tiny, command, option):
    done = started(*command, tiny, option, cwd=tiny.parent)
    assert done.returncode == 0, done.stderr
    assert "start_model" in done.stdout + done.stderr and "not finished" not in done.stdout
    assert not (tiny.parent / "results/e/models").exists()


def test_a_report_before_the_run_says_how_far_it_is(tiny):
    done = started("report", tiny, cwd=tiny.parent)
    assert done.returncode == 2 and done.stdout == "# e: not finished; 0 of 2 models there\n\n"
    assert done.stderr.startswith("error: no report yet of e;") and "consomme run tiny.yaml" in done.stderr.replace(
        f"{tiny.parent}/", ""
    )


def test_a_plan_in_a_pipe_has_names_and_notes_whole(tiny):
    name = "a-name-that-is-long-enough-to-be-cut-at-eighty-columns-beside-seven-others"
    tiny.write_text(TINY.replace("base:", f"{name}:"))
    done = started("plan", tiny, cwd=tiny.parent)
    assert done.returncode == 0 and f" {name} " in done.stdout and "…" not in done.stdout
    assert "e: 1 replicate, 0 claims" in done.stdout


@pytest.mark.workflow
def test_model_makes_only_what_it_needs(tiny):
    done = started("model", "e/untrained", tiny, "--", "--dry-run", cwd=tiny.parent)
    output = done.stdout + done.stderr
    assert done.returncode == 0 and "start_model" in output and "train_model" not in output


def test_a_model_that_is_not_there_is_named(tiny):
    done = started("model", "e/untraind", tiny, cwd=tiny.parent)
    assert done.returncode == 2 and "did you mean 'untrained'?" in done.stderr


def test_a_mistake_is_found_before_snakemake_starts(tiny):
    tiny.write_text(TINY.replace("max_steps: 2", "max_step: 2"))
    done = started("run", tiny, cwd=tiny.parent)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "did you mean 'max_steps'?" in done.stderr


@pytest.mark.workflow
def test_a_failing_run_has_snakemakes_exit_status(tiny):
    done = started("run", tiny, "--", "--no-option-of-this-name", cwd=tiny.parent)
    assert done.returncode == 2 and "--no-option-of-this-name" in done.stderr
    done = started("run", tiny, "--", "--dry-run", "no/file", cwd=tiny.parent)
    assert done.returncode == 1 and "no/file" in done.stdout + done.stderr


FAKE = """
import pathlib, signal, subprocess, sys, time
job = subprocess.Popen(["sleep", "600"])
def end(number, frame):
    pathlib.Path("told").write_text(f"{number} {job.wait()}")  # as Snakemake waits for its jobs
    sys.exit(3)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
pathlib.Path("started").touch()
time.sleep(600)
"""


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("number", "ignored", "told"),
    [
        (signal.SIGTERM, None, signal.SIGINT),
        (signal.SIGHUP, None, signal.SIGINT),
        # in the background of a script Snakemake ignores SIGINT
        (signal.SIGTERM, signal.SIGINT, signal.SIGTERM),
        # under nohup
        (signal.SIGHUP, signal.SIGHUP, None),
    ],
)
def test_who_ends_the_command_ends_snakemake_and_its_jobs_too(tiny, tmp_path, number, ignored, told):
    """Snakemake is replaced by a process with a job, which says how it is asked to end."""
    fake = tmp_path / "fake/snakemake"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text(FAKE)
    environment = {**os.environ, "PYTHONPATH": str(fake.parent)}

    def ready():
        for one in (signal.SIGINT, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN if one == ignored else signal.SIG_DFL)

    with subprocess.Popen(
        [sys.executable, "-m", "consomme", "run", str(tiny)],
        cwd=tmp_path,
        env=environment,
        preexec_fn=ready,
        start_new_session=True,
    ) as command:
        while not (tmp_path / "started").exists() and command.poll() is None:
            time.sleep(0.05)
        os.killpg(command.pid, number) if number == signal.SIGHUP else command.send_signal(number)
        if told is None:
            time.sleep(1)
            assert command.poll() is None
            os.killpg(command.pid, signal.SIGKILL)
            return
        assert command.wait(60) == 3
    assert (tmp_path / "told").read_text() == f"{int(told)} {-signal.SIGTERM}"


@pytest.mark.workflow
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_calls_the_same_commands():
    for target in ("demo", "run", "model NODE=e/base", "plan", "dag", "report", "schema", "clean-results"):
        lines = subprocess.run(
            ["make", "--dry-run", "--old-file", ".venv/ready", *target.split(), "CONFIG=mine.yaml"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        called = [line.split()[3] for line in lines if line.startswith("python -m consomme ")]
        known = [command.callback.__name__ for command in app.registered_commands]
        assert called and set(called) <= set(known)
