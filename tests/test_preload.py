"""Jobs forked from one process are the jobs that they would have been, and live and die as they would have."""

import importlib.util
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from consomme import preload
from consomme.preload import DEVICES, MODULES, OWNER

PROBE = """
import json, os, signal, sys, time
from pathlib import Path
from consomme.common.errors import ConsommeError
from consomme.common.stage import main

def run(job):
    wanted = job.spec["do"]
    if wanted == "tell":
        job.out.write_text(json.dumps({
            "torch": "torch" in sys.modules, "parent": os.getppid(), "where": os.getcwd(), "arguments": sys.argv[1:],
            "threads": os.environ.get("OMP_NUM_THREADS"), "owner": os.environ.get("CONSOMME_PRELOAD_FOR")}))
        print("out"); print("err", file=sys.stderr)
    if wanted == "fail":
        raise ConsommeError("no such thing")
    if wanted == "break":
        raise RuntimeError("broken")
    if wanted == "die":
        os.kill(os.getpid(), 9)
    if wanted == "save":
        def save(number, frame):
            print("saved", number)
            raise SystemExit(75)
        signal.signal(signal.SIGTERM, save)
        signal.signal(signal.SIGINT, save)
        job.out.write_text(str(os.getpid()))
        time.sleep(60)
    if wanted == "wait":
        job.out.write_text(str(os.getpid()))
        time.sleep(60)

if __name__ == "__main__":
    main(run, "a probe")
"""
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or any(map(os.path.exists, DEVICES)), reason="jobs are forked on Linux without a GPU only"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forked")
    (folder / "probe.py").write_text(PROBE)
    (folder / "endless.py").write_text("import time; time.sleep(600)")
    (folder / "late.py").write_text("import time; time.sleep(1); import no_such_module")
    return folder


@pytest.fixture(scope="module")
def owner():
    """A process that stands for Snakemake."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def start(place, owner):
    def start(do: str, forked: bool = True, **more: str) -> subprocess.Popen:
        paths = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
        forks = {OWNER: str(owner.pid), MODULES: "json,torch"}
        environment = {**os.environ, "PYTHONPATH": paths, **(forks if forked else {}), **more}
        command = [sys.executable, "-m", "probe", "--spec", json.dumps({"do": do}), "--out", str(place / do)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=place, env=environment, stdout=pipe, stderr=pipe, text=True)

    return start


def ended(process):
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends while the file is open
        return False


def test_the_modules_that_the_workflow_names_exist():
    rules = Path(__file__).parents[1] / "rules" / "common.smk"
    (modules,) = re.findall(r'^PRELOADED = "(.*)"$', rules.read_text(), re.MULTILINE)
    assert [m for m in modules.split(",") if importlib.util.find_spec(m) is None] == []


def test_a_forked_job_sees_what_it_would_have_seen_and_has_the_libraries_already(place, start):
    seen = {}
    for forked in (False, True):
        assert ended(start("tell", forked, OMP_NUM_THREADS="3")) == (0, "out\n", "err\n")
        seen[forked] = json.loads((place / "tell").read_text())
    assert [seen[forked].pop("torch") for forked in (False, True)] == [False, True]
    assert seen[False].pop("parent") != seen[True].pop("parent")
    assert seen[False] == seen[True] and seen[True]["owner"] is None and seen[True]["threads"] == "3"


def test_jobs_with_other_threads_have_the_same_server(place, start):
    parents = set()
    for threads in ("1", "2"):
        ended(start("tell", OMP_NUM_THREADS=threads))
        parents.add(json.loads((place / "tell").read_text())["parent"])
    assert len(parents) == 1


@pytest.mark.parametrize("forked", [False, True])
def test_how_it_ends_is_how_the_stage_ends(start, forked):
    code, _, said = ended(start("fail", forked))
    assert (code, said) == (2, "error: no such thing\n")
    code, _, said = ended(start("break", forked))
    assert code == 1 and "RuntimeError: broken" in said and "Traceback" in said
    assert ended(start("die", forked))[0] == -signal.SIGKILL


def test_a_job_ends_when_its_stage_is_killed(place, start):
    (place / "wait").unlink(missing_ok=True)
    stage = start("wait")
    assert until(lambda: (place / "wait").exists() and (place / "wait").read_text())
    pid = int((place / "wait").read_text())
    assert there(pid) and pid != stage.pid
    stage.kill()
    stage.communicate()
    assert until(lambda: not there(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("forked", [False, True])
def test_a_job_may_save_when_its_stage_is_asked_to_end(place, start, forked, number):
    (place / "save").unlink(missing_ok=True)
    stage = start("save", forked)
    assert until(lambda: (place / "save").exists() and (place / "save").read_text())
    stage.send_signal(number)
    assert ended(stage) == (75, f"saved {int(number)}\n", "")


@pytest.mark.parametrize("forked", [False, True])
def test_a_job_that_does_not_ends_at_once(place, start, forked):
    (place / "wait").unlink(missing_ok=True)
    stage = start("wait", forked)
    assert until(lambda: (place / "wait").exists() and (place / "wait").read_text())
    stage.terminate()
    assert ended(stage)[0] == -signal.SIGTERM


@pytest.mark.parametrize("killed", ["server", "owner"])
def test_a_job_may_save_when_the_server_or_its_owner_is_killed(place, start, killed):
    (place / "save").unlink(missing_ok=True)
    with subprocess.Popen(["sleep", "600"]) as owner:
        stage = start("save", CONSOMME_PRELOAD_FOR=str(owner.pid), CONSOMME_PRELOAD="json")
        assert until(lambda: (place / "save").exists() and (place / "save").read_text())
        job = int((place / "save").read_text())
        server = int(Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(server if killed == "server" else owner.pid, signal.SIGKILL)
        code, out, said = ended(stage)
        owner.kill()
    assert out == "saved 15\n" and not there(job) and until(lambda: not there(server))
    assert (code, said) == (75, "") if killed == "owner" else (code == 1 and "run again" in said)


def test_a_job_in_its_own_process_may_save_when_its_owner_is_killed(place, start):
    (place / "save").unlink(missing_ok=True)
    with subprocess.Popen(["sleep", "600"]) as owner:
        stage = start("save", CONSOMME_PRELOAD_FOR=str(owner.pid), CONSOMME_PRELOAD="")
        assert until(lambda: (place / "save").exists() and (place / "save").read_text())
        owner.kill()
        assert ended(stage) == (75, "saved 15\n", "")


def test_a_job_that_begins_after_its_owner_was_killed_does_not(place, start):
    (place / "tell").unlink(missing_ok=True)
    with subprocess.Popen(["sleep", "600"]) as owner:
        owner.kill()
    code, _, said = ended(start("tell", CONSOMME_PRELOAD_FOR=str(owner.pid)))
    assert code == 1 and "Snakemake was killed" in said and not (place / "tell").exists()


def test_a_server_that_imports_and_the_job_that_waits_for_it_end_with_their_owner(place, start):
    (place / "tell").unlink(missing_ok=True)
    with subprocess.Popen(["sleep", "600"]) as owner:
        stage = start("tell", CONSOMME_PRELOAD_FOR=str(owner.pid), CONSOMME_PRELOAD="endless")
        servers = lambda: [p.pid for p in psutil.process_iter() if _words(p)[-1:] == [str(owner.pid)]]  # noqa: E731
        assert until(servers)
        (server,) = servers()
        owner.kill()
    assert until(lambda: not there(server))
    assert ended(stage)[0] == 1 and not (place / "tell").exists()


def _words(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def sockets(temporary):
    return [path for path in temporary.glob("consomme-*/*") if path.is_socket()]


def test_a_stage_that_ends_before_its_server_starts_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CONSOMME_PRELOAD_FOR", "1")
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("subprocess.Popen", lambda *given, **named: sys.exit())
    with pytest.raises(SystemExit):
        preload._connect(preload._place("1"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == [f"consomme-{os.getuid()}", "lock"]


def test_what_a_killed_server_left_goes_with_the_next(place, start, tmp_path):
    few = {"CONSOMME_PRELOAD": "json", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(["sleep", "600"]) as owner:
        ended(start("tell", CONSOMME_PRELOAD_FOR=str(owner.pid), **few))
        (left,) = sockets(tmp_path)
        os.kill(json.loads((place / "tell").read_text())["parent"], signal.SIGKILL)
        owner.kill()
    assert ended(start("tell", **few))[0] == 0
    (there_now,) = sockets(tmp_path)
    assert there_now != left
    # one that works stays
    assert ended(start("tell", OTHER="1", **few))[0] == 0
    assert len(sockets(tmp_path)) == 2


@pytest.mark.parametrize("modules", ["", "no.such.module", "late"])
def test_an_empty_list_turns_it_off_and_a_wrong_one_fails_no_job(place, start, modules):
    assert ended(start("tell", CONSOMME_PRELOAD=modules))[:2] == (0, "out\n")
    told = json.loads((place / "tell").read_text())
    assert told["torch"] is False and told["parent"] == os.getpid()


def test_without_its_owner_the_server_ends(place, start):
    with subprocess.Popen(["sleep", "600"]) as owner:
        ended(start("tell", CONSOMME_PRELOAD_FOR=str(owner.pid)))
        server = json.loads((place / "tell").read_text())["parent"]
        assert there(server)
        owner.kill()
    assert until(lambda: not there(server))


def test_where_no_server_can_be_the_job_runs_by_itself(place, start, tmp_path):
    """Sockets have short names."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    assert ended(start("tell", TMPDIR=str(deep)))[:2] == (0, "out\n")
    assert json.loads((place / "tell").read_text())["torch"] is False


def test_the_socket_is_the_users_alone(place, start, tmp_path):
    assert ended(start("tell", TMPDIR=str(tmp_path)))[0] == 0
    (folder,) = tmp_path.glob("consomme-*")
    modes = [stat.S_IMODE(path.lstat().st_mode) for path in (folder, *sockets(tmp_path))]
    assert modes == [0o700, 0o600] and json.loads((place / "tell").read_text())["torch"]


@pytest.mark.parametrize("found", ["open", "link"])
def test_a_folder_that_is_not_the_users_alone_is_not_used(tmp_path, monkeypatch, found):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    folder = preload._place("1").parent
    folder.rmdir()
    if found == "open":
        folder.mkdir()
        folder.chmod(0o755)
    else:
        (tmp_path / "private").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "private")
    with pytest.raises(OSError, match="open to others"):
        preload._place("1")
