"""Disks that are full, read-only or broken, and file systems that lack something: what is visible is old or new, the error says
what to do, and the next run ends with the same bytes.

CONSOMME_FAULTS=all tries every call instead of a few; `python tests/faults/sweep.py --calls all --table` counts them."""

import errno
import fcntl
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from consomme.common import content, job, once, stage
from consomme.common.errors import exit_on_error, in_words
from consomme.common.files import link_tree, whole_file, whole_folder, write_text
from consomme.verify import verify

SWEEP = Path(__file__).with_name("sweep.py")
MIB = 1 << 20
STAGES = ("data", "start", "train", "average", "prune", "evaluate", "export", "report")

with_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which(os.environ.get("CC", "cc")) is None,
    reason="failing calls are made by a library that a C compiler makes here; there is none",
)


def sweep(*options):
    done = subprocess.run([sys.executable, SWEEP, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@with_compiler
def test_the_functions_that_write_files_at_every_call():
    assert ", 0 of them went wrong" in sweep("--only", "files", "--calls", "all")


@pytest.mark.slow
@with_compiler
def test_every_stage_at_some_calls_of_each_kind():
    options = ["--calls", os.environ["CONSOMME_FAULTS"]] if os.environ.get("CONSOMME_FAULTS") else []
    told = sweep(*options, "--only", "stages", "--table")
    assert all(f"| {name} |" in told for name in STAGES)


# -- real file systems ---------------------------------------------------------------------------------------------------
@pytest.fixture
def mounted(tmp_path):
    """mounted(options) -> the folder of a small file system in memory; skips where none can be mounted."""
    made = []

    def mount(options):
        place = tmp_path / f"disk{len(made)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        made.append(place)
        return place

    if sys.platform != "linux" or not shutil.which("mount"):
        pytest.skip("no file system can be mounted here")
    yield mount
    for place in made:
        subprocess.run(["umount", place], check=True)


def told(capsys, do):
    """The one line in which a command ends."""
    with pytest.raises(SystemExit) as ended, exit_on_error():
        do()
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert ended.value.code == 2 and line.startswith("error: ")
    return line


def write(path, count):
    with whole_folder(path) as folder, open(folder / "weights", "wb") as stream:
        for _ in range(count):
            stream.write(bytes(MIB))


def test_a_full_disk_is_told_with_what_is_free_and_keeps_what_was_there(mounted, capsys):
    disk = mounted("size=4m")
    write(disk / "made", 2)
    line = told(capsys, lambda: write(disk / "made", 4))
    assert (
        f"{disk}/made could not be written: No space left on device; 2 MiB of 4 MiB are free there, which is too little. Make room"
        in line
    )
    assert line.endswith("Then start again: nothing that is finished is lost")
    assert [p.name for p in disk.iterdir()] == ["made"] and (disk / "made" / "weights").stat().st_size == 2 * MIB
    subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
    write(disk / "made", 4)
    assert (disk / "made" / "weights").stat().st_size == 4 * MIB


def test_a_disk_that_holds_no_more_files(mounted, capsys):
    disk = mounted("size=4m,nr_inodes=3")
    write_text(disk / "one", "x")
    line = told(capsys, lambda: write(disk / "made", 1))
    assert re.search(r"No space left on device; \d more files can be made there, which is too few", line)


def test_a_read_only_disk_gives_what_is_finished_and_says_what_it_can_not_take(mounted, capsys, tmp_path):
    disk = mounted("size=4m")

    def job_of(key):
        made = job.Job({}, {}, tmp_path / f"out{key}", disk / "state", tmp_path / "cache", 1, "cpu")
        return stage.build_once(made, key, lambda folder, work: write_text(folder / "model", f"{key}"))

    assert job_of(1)
    shutil.rmtree(tmp_path / "out1")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert not job_of(1) and (tmp_path / "out1" / "model").read_text() == "1"
    line = told(capsys, lambda: job_of(2))
    assert f"{disk}/state/" in line and "could not be written: Read-only file system. Have it mounted" in line


def test_average_by_hand_on_disks_of_every_size(mounted, checkpoint, some, capsys):
    """Until it fits: nothing but the line is seen of it. The result is that of another disk."""
    from consomme.average.stage import entry

    folders = [str(checkpoint(name, some(seed))) for seed, name in enumerate("ab")]
    reference = Path(folders[0]).with_name("reference")
    entry(["--method", "uniform", "--out", str(reference), *folders])
    disk, ended = mounted("size=64k"), []
    for kib in range(64, 2048, 128):
        subprocess.run(["mount", "-o", f"remount,size={kib}k", disk], check=True)
        try:
            entry(["--method", "uniform", "--out", str(disk / "mean"), *folders])
        except SystemExit as stopped:
            said = capsys.readouterr().err.splitlines()[-1]
            assert stopped.code == 2 and "No space left on device" in said and "start again" in said
            assert list(disk.iterdir()) == []
            ended.append(kib)
        else:
            break
    assert len(ended) > 2
    files = [path.name for path in reference.iterdir() if path.name != "provenance.json"]
    assert all((disk / "mean" / name).read_bytes() == (reference / name).read_bytes() for name in files)


# -- errors in words -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device"),
        OSError("Error: [Errno 28] No space left on device"),
    ],
)
def test_libraries_that_say_it_in_words_alone_are_understood_and_the_file_is_named(tmp_path, error):
    with pytest.raises(OSError, match="No space left") as raised, whole_file(tmp_path / "model"):
        raise error
    assert in_words(raised.value).startswith(f"{tmp_path}/model could not be written: ")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_fault_of_a_disk_stays_an_error_of_ours(tmp_path):
    for error in (ValueError("a bug"), FileNotFoundError(errno.ENOENT, "No such file", "x")):
        with pytest.raises(type(error)), exit_on_error(), whole_file(tmp_path / "x"):
            raise error


# -- damage and what only can't be read ----------------------------------------------------------------------------------
def broken(*given):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_what_can_not_be_read_for_now_is_not_taken_for_damage(tmp_path, monkeypatch):
    """A training of days is not computed anew because its disk was away for a moment."""
    made = job.Job({}, {}, tmp_path / "out", tmp_path / "state", tmp_path / "cache", 1, "cpu")
    stage.build_once(made, {}, lambda folder, work: write_text(folder / "model", "weights"))
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    for name in ("read_json", "hash_file"):
        with monkeypatch.context() as patched, pytest.raises(OSError, match="Input/output"):
            patched.setattr(content, name, broken)
            stage.build_once(made, {}, lambda folder, work: pytest.fail("computed anew"))
    assert not stage.build_once(made, {}, lambda folder, work: pytest.fail("computed anew"))


def test_verify_names_what_can_not_be_read(tmp_path, monkeypatch, capsys):
    model = tmp_path / "results" / "e" / "models" / "m"
    write_text(model / "provenance.json", "{}")
    content.record(model)

    monkeypatch.setattr("consomme.verify.hash_file", broken)
    assert not verify(tmp_path / "results")
    assert f"damaged: {model}: provenance.json" in capsys.readouterr().out


# -- no locks ------------------------------------------------------------------------------------------------------------
def test_without_locks_work_goes_on_with_a_caution_and_nothing_of_others_is_removed(tmp_path, monkeypatch, capsys):
    lock = tmp_path / "state" / "key" / "lock"
    write_text(lock, "")
    assert once.free(lock) and not once.held(lock)

    def flock(*given):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert not once.free(lock) and not once.held(lock), "it can't be known"
    assert once.free(lock.with_name("none"))
    made = job.Job({}, {}, tmp_path / "out", tmp_path / "state", tmp_path / "cache", 1, "cpu")
    of_another = []

    def build(folder, work):
        (folder / "model").write_text("weights")
        of_another.append(folder.with_name(".finished.123456"))
        of_another[0].mkdir()

    with monkeypatch.context() as patched, pytest.raises(OSError, match="Input"):
        patched.setattr(content, "record", broken)
        stage.build_once(made, {}, build)
    stage.build_once(made, {}, lambda folder, work: write_text(folder / "model", "weights"))
    assert of_another[0].is_dir() and (tmp_path / "out" / "model").exists()
    assert "caution: " in (said := capsys.readouterr().err) and "without locks" in said


# -- several processes ---------------------------------------------------------------------------------------------------
def put_often(source, target):
    for _ in range(200):
        link_tree(Path(source), Path(target))


def test_several_processes_put_the_same_files_at_the_same_time(tmp_path):
    """As two Snakemakes do that were both told --nolock."""
    for name in ("config.json", "model.safetensors", "provenance.json"):
        write_text(tmp_path / "finished" / name, name)
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=put_often, args=(tmp_path / "finished", tmp_path / "out")) for _ in range(3)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0, 0]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "config.json",
        "model.safetensors",
        "provenance.json",
    ]
