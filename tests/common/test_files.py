"""Files and folders that appear whole."""

import os
import stat
from pathlib import Path

import pytest

from consomme.common.files import (
    copy_tree,
    hash_file,
    link_tree,
    read_json,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)


def test_a_file_appears_only_when_it_is_finished(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with whole_file(path) as stream:
        stream.write("half")
        stream.flush()
        assert not path.exists()
    assert path.read_text() == "half"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_an_error_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), whole_file(path) as stream:
        stream.write("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_has_the_usual_mode_and_exact_bytes(tmp_path):
    write_text(tmp_path / "a", "x\ny\r\n")
    assert (tmp_path / "a").read_bytes() == b"x\ny\r\n"
    plain = tmp_path / "b"
    plain.touch()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    with whole_file(tmp_path / "c", "wb") as stream:
        stream.write(b"\x00\xff")
    assert (tmp_path / "c").read_bytes() == b"\x00\xff"


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path):
    goal = tmp_path / "folder"
    with whole_folder(goal) as folder:
        (folder / "one").write_text("1")
        assert not goal.exists()
    with whole_folder(goal) as folder:
        (folder / "two").write_text("2")
        assert [p.name for p in goal.iterdir()] == ["one"]
    assert [p.name for p in goal.iterdir()] == ["two"]
    with pytest.raises(RuntimeError), whole_folder(goal) as folder:
        (folder / "three").write_text("3")
        raise RuntimeError
    assert [p.name for p in goal.iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.fixture(params=[0o002, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_and_folders_follow_the_umask_whoever_writes_them(tmp_path, umask):
    from tempfile import mkdtemp

    import torch
    from safetensors.torch import save_file

    with whole_folder(tmp_path / "made") as folder:
        save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
        inner = Path(mkdtemp(dir=folder))
        (inner / "private").touch(mode=0o600)
        (inner / "script").touch(mode=0o700)
    write_text(tmp_path / "made" / "later" / "text", "x")
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "made", *(tmp_path / "made").rglob("*"))}
    assert len(modes) == 7
    for path, mode in modes.items():
        assert mode == (0o777 if path.is_dir() or path.name == "script" else 0o666) & ~umask, path


def test_a_folder_shared_by_its_group_stays_so_and_linked_files_keep_their_mode(tmp_path):
    (tmp_path / "mine").touch(mode=0o600)
    tmp_path.chmod(0o2775)
    with whole_folder(tmp_path / "made") as folder:
        os.link(tmp_path / "mine", folder / "linked")
    assert (tmp_path / "made").stat().st_mode & stat.S_ISGID == tmp_path.stat().st_mode & stat.S_ISGID
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o600


def test_json_has_one_spelling(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"a": "é", "b": 1}


def test_the_hash_is_of_content(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "b").write_bytes(b"x" * 100_000)
    (tmp_path / "c").write_bytes(b"x" * 99_999 + b"y")
    assert hash_file(tmp_path / "a") == hash_file(tmp_path / "b") != hash_file(tmp_path / "c")
    assert len(hash_file(tmp_path / "a")) == 32


def test_a_tree_is_linked_and_what_is_there_replaced(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("new")
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "file").write_text("old")
    (target / "other").write_text("stays")
    link_tree(source, target)
    assert (target / "sub" / "file").read_text() == "new"
    assert os.stat(target / "sub" / "file").st_ino == os.stat(source / "sub" / "file").st_ino
    assert sorted(p.name for p in target.rglob("*")) == ["file", "other", "sub"]


def test_linking_again_leaves_nothing_behind(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "a").write_text("x")
    link_tree(source, target)
    link_tree(source, target)
    assert [p.name for p in target.iterdir()] == ["a"]


def test_linking_removes_what_a_killed_process_left_of_the_same_files(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "a[1].json").write_text("x")
    for name in (".a[1].json.12345", ".a[1].json.kept", ".b.12345"):
        (target / name).write_text("half")
    link_tree(source, target)
    assert sorted(p.name for p in target.iterdir()) == [".a[1].json.kept", ".b.12345", "a[1].json"]


def test_a_tree_is_copied_over_what_is_there_with_permissions_of_its_own(tmp_path):
    for folder, text in (("source", "new"), ("target", "old")):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "sub" / "file").write_text(text)
    (tmp_path / "source" / "sub" / "file").chmod(0o400)
    copy_tree(tmp_path / "source", tmp_path / "target")
    copied = tmp_path / "target" / "sub" / "file"
    assert copied.read_text() == "new" and copied.stat().st_nlink == 1 and copied.stat().st_mode & 0o200
