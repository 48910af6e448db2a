"""A job's command line, and work that is done once."""

import errno
import json
import multiprocessing
import os
import re
import runpy
import shutil
import sys
import time
from pathlib import Path

import pytest

from consomme.common.errors import ConsommeError, exit_on_error, in_words, nearest
from consomme.common.job import Job, parse
from consomme.common.stage import build_once, main


def job(tmp_path, **more):
    given = {"spec": {}, "inputs": {}, "threads": 1, "device": "cpu", **more}
    return Job(out=tmp_path / "out", state=tmp_path / "state", cache=tmp_path / "cache", **given)


def test_the_command_line_names_the_inputs(tmp_path):
    spec = {"stage": "train", "inputs": ["parent/base", "corpus/a", "corpus/b"]}
    paths = ["models/base/provenance.json", "prepared/a", "prepared/b/prepared.json"]
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    for text in (json.dumps(spec), str(file)):
        found = parse(["--spec", text, "--inputs", *paths, "--out", "results/x"], "")
        assert found.spec == spec
        assert found.labelled("parent") == {"base": Path("models/base")}
        assert list(found.labelled("corpus").items()) == [("a", Path("prepared/a")), ("b", Path("prepared/b"))]
        assert found.state == Path("results/.state/x")


def test_a_wrong_number_of_inputs_is_told():
    with pytest.raises(ConsommeError, match=r"2 inputs.*1 were given"):
        parse(["--spec", '{"inputs": ["a/b", "c/d"]}', "--inputs", "x", "--out", "y"], "")


def test_a_label_may_hold_slashes(tmp_path):
    found = job(tmp_path, inputs={"parent/tuned/lr=1e-05": Path("p"), "parents/x": Path("q")})
    assert found.labelled("parent") == {"tuned/lr=1e-05": Path("p")}


def test_finished_work_is_found_again(tmp_path):
    built = []

    def build(folder, work):
        built.append(work)
        (folder / "model").write_text("weights")

    assert build_once(job(tmp_path), {"x": 1}, build)
    shutil.rmtree(tmp_path / "out")
    assert not build_once(job(tmp_path), {"x": 1.0}, build)
    assert (tmp_path / "out" / "model").read_text() == "weights"
    assert build_once(job(tmp_path), {"x": 2}, build)
    assert not build_once(job(tmp_path), {"x": 1}, build)
    assert len(built) == 2


def kept(tmp_path):
    """The one finished folder."""
    (found,) = (tmp_path / "state").glob("*/finished")
    return found


@pytest.mark.parametrize("harm", ["flipped", "emptied", "gone", "of a record"])
def test_damaged_finished_work_is_never_handed_out(tmp_path, harm, capfd):
    built = []

    def build(folder, work):
        built.append(1)
        (folder / "model").write_text("weights")

    build_once(job(tmp_path), {}, build)
    model = kept(tmp_path) / "model"
    model.chmod(0o600)
    if harm == "gone":
        model.unlink()
    elif harm == "of a record":
        (kept(tmp_path) / "content.json").unlink()
        (kept(tmp_path) / "content.json").write_text("{")
    else:
        model.write_text("weighty" if harm == "flipped" else "")
        assert (tmp_path / "out" / "model").read_text() != "weights", "they are one file"
    assert build_once(job(tmp_path), {}, build)
    assert "damaged, and made anew" in capfd.readouterr().err
    assert (tmp_path / "out" / "model").read_text() == (kept(tmp_path) / "model").read_text() == "weights"
    assert not build_once(job(tmp_path), {}, build) and len(built) == 2
    # a file that was replaced in the output alone costs no computation
    (tmp_path / "out" / "model").unlink()
    (tmp_path / "out" / "model").write_text("edited")
    assert not build_once(job(tmp_path), {}, build)
    assert (tmp_path / "out" / "model").read_text() == "weights"


def test_finished_files_can_not_be_written_in_place(tmp_path):
    def build(folder, work):
        (folder / "deep").mkdir()
        (work / "kept").write_text("a link to unfinished work")
        (folder / "deep" / "linked").hardlink_to(work / "kept")
        (folder / "model").write_text("weights")

    build_once(job(tmp_path), {}, build)
    files = [p for place in (tmp_path / "out", kept(tmp_path)) for p in place.rglob("*") if p.is_file()]
    assert len(files) == 6 and {p.stat().st_mode & 0o777 for p in files} <= {0o444, 0o440, 0o400}
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(kept(tmp_path))


def test_what_killed_jobs_left_goes_with_the_next_start(tmp_path):
    def killed(folder, work):
        (folder / "half").write_text("a model")
        raise SystemExit

    rmtree, shutil.rmtree = shutil.rmtree, lambda *given, **more: None
    try:
        with pytest.raises(SystemExit):
            build_once(job(tmp_path), {}, killed)
    finally:
        shutil.rmtree = rmtree
    (place,) = (tmp_path / "state").iterdir()
    assert list(place.glob(".finished.*/half"))
    build_once(job(tmp_path), {}, lambda folder, work: (folder / "model").write_text("weights"))
    assert sorted(p.name for p in place.iterdir()) == ["finished", "key.json", "lock", "work"]


def test_a_job_reads_no_damaged_input(tmp_path, capsys):
    build_once(job(tmp_path), {}, lambda folder, work: (folder / "config.json").write_text("{}"))
    ran = []
    given = [
        "--spec",
        '{"inputs": ["parent/base"]}',
        "--inputs",
        str(tmp_path / "out"),
        "--out",
        str(tmp_path / "child"),
    ]
    given += ["--cache", str(tmp_path / "cache")]
    main(ran.append, "", given)
    (tmp_path / "out" / "config.json").unlink()
    (tmp_path / "out" / "config.json").write_text("[]")
    with pytest.raises(SystemExit) as stopped:
        main(ran.append, "", given)
    assert stopped.value.code == 2 and len(ran) == 1
    assert f"{tmp_path}/out/config.json: damaged" in capsys.readouterr().err


def test_what_was_begun_is_at_hand_after_a_failure(tmp_path):
    def build(folder, work):
        if (work / "checkpoint").exists():
            (folder / "model").write_text((work / "checkpoint").read_text())
        else:
            (work / "checkpoint").write_text("step 10")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(job(tmp_path), {}, build)
    assert not (tmp_path / "out").exists()
    assert build_once(job(tmp_path), {}, build)
    assert (tmp_path / "out" / "model").read_text() == "step 10"


def test_unfinished_work_goes_only_once_the_result_is_in_its_place(tmp_path, monkeypatch):
    """Whatever comes between, the next start has the checkpoints or the result."""

    def build(folder, work):
        (work / "checkpoint").write_text("of days")
        (folder / "model").write_text("weights")

    def empty(finished, work):
        assert (finished / "model").exists()
        (work / "checkpoint").unlink()

    with monkeypatch.context() as patched, pytest.raises(OSError, match="Input"):
        patched.setattr("consomme.common.files.to_disk", _broken)
        build_once(job(tmp_path), {}, build, empty)
    (work,) = (tmp_path / "state").glob("*/work")
    assert (work / "checkpoint").exists() and not (work.parent / "finished").exists()
    with pytest.raises(KeyboardInterrupt):
        build_once(job(tmp_path), {}, build, _interrupted)
    assert (work / "checkpoint").exists()
    assert not build_once(job(tmp_path), {}, build, empty)
    assert list(work.iterdir()) == [] and (tmp_path / "out" / "model").exists()


def _broken(*given):
    raise OSError(errno.EIO, "Input/output error")


def _interrupted(*given):
    raise KeyboardInterrupt


def _slowly(folder, work):
    (folder / "model").write_text("x")
    time.sleep(0.3)


def _finish(path, answers):
    answers.put(build_once(job(Path(path)), {}, _slowly))


def test_a_second_process_waits_and_computes_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [context.Process(target=_finish, args=(str(tmp_path), answers)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(answers.get(timeout=5) for _ in processes) == [False, True]


def test_what_is_finished_is_read_without_a_lock(tmp_path, monkeypatch):
    """As a second user reads it, who may not open another's files for writing."""
    assert build_once(job(tmp_path), {}, lambda folder, work: (folder / "model").write_text("weights"))
    monkeypatch.setattr("consomme.common.once.FileLock", _refused)
    assert not build_once(job(tmp_path), {}, _slowly)
    with pytest.raises(PermissionError) as refused:
        build_once(job(tmp_path), {"another": "key"}, _slowly)
    assert re.search(r"lock could not be read or written by this user.*umask 002", in_words(refused.value) or "")


def _refused(path, **more):
    raise PermissionError(13, "Permission denied", str(path))


def test_a_users_error_has_no_traceback(capsys):
    def run(found):
        raise ConsommeError("margin: -1 given; allowed: 0 or more")

    with pytest.raises(SystemExit) as stopped:
        main(run, "", ["--spec", "{}", "--out", "x"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: margin: -1 given; allowed: 0 or more\n"


def test_the_nearest_word():
    assert nearest("gredy", ["greedy", "uniform"]) == " (did you mean 'greedy'?)"
    assert nearest("xyz", ["greedy", "uniform"]) == ""


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "results/x could not be written: No space left on device; "),
        (errno.EROFS, "results/x could not be written: Read-only file system. Have it mounted"),
        (errno.EIO, "results/x could not be read or written: Input/output error. Check the disk"),
        (errno.EACCES, "results/x could not be read or written by this user: Permission denied. Who shares"),
    ],
)
def test_a_disk_that_fails_is_an_error_of_one_line(capsys, number, words):
    with pytest.raises(SystemExit) as stop, exit_on_error():
        raise OSError(number, os.strerror(number), "results/x")
    (told,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and told.startswith(f"error: {words}")


def test_other_errors_of_the_system_are_ours():
    with pytest.raises(FileNotFoundError), exit_on_error():
        raise FileNotFoundError(errno.ENOENT, "no such file", "x")


STAGES = ("data", "start", "train", "average", "prune", "relabel", "landscape", "evaluate", "export", "costs", "report")


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_hands_its_job_over_where_there_is_a_server(monkeypatch, name):
    monkeypatch.setattr("consomme.common.stage.hand_over", lambda argv: len(argv))
    monkeypatch.setattr(sys, "argv", ["", "--spec", "{}", "--out", "x"])
    with pytest.raises(SystemExit, match="4"):
        runpy.run_module(f"consomme.{name}", run_name="__main__")
