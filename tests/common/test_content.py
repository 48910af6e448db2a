"""Damage to finished files: found by the hashes that were recorded when they were made."""

import os

import pytest

from consomme.common import content
from consomme.common.errors import ConsommeError


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    (folder / "deep").mkdir(parents=True)
    for name in ("config.json", "deep/model.safetensors", "provenance.json"):
        (folder / name).write_text(f"{name}: what it holds")
        os.utime(folder / name, (1e9, 1e9))
    content.record(folder)
    return folder


def flip(path):
    """Change one bit and keep the times, as far as they can be kept."""
    status, found = path.stat(), bytearray(path.read_bytes())
    found[3] ^= 4
    path.write_bytes(found)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def checks(folder):
    """Both ways of asking: all anew, and only what has changed since."""
    found = content.damaged(folder)
    assert content.damaged_since(folder, folder.parent / "cache") == found
    return found


@pytest.mark.parametrize("name", ["config.json", "deep/model.safetensors", "provenance.json"])
def test_one_flipped_bit_is_found_though_its_file_was_found_whole_before(made, name):
    assert checks(made) == []
    flip(made / name)
    assert checks(made) == [name]
    flip(made / name)
    assert checks(made) == []
    (made / name).unlink()
    assert checks(made) == [name]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"config.json": 3}', "\ud800", '{"config.json": "0"}'])
def test_a_damaged_record_is_damage(made, text):
    (made / content.NAME).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert checks(made) in ([content.NAME], ["config.json"])


def test_a_file_is_read_once_in_each_version(made, monkeypatch):
    read = []
    monkeypatch.setattr(content, "hash_file", lambda path: read.append(path) or "a hash")
    for _ in range(2):
        content.damaged_since(made, made.parent / "cache")
    assert len(read) == 3
    (made / "config.json").write_text("another")
    content.damaged_since(made, made.parent / "cache")
    assert len(read) == 4


def test_what_has_no_record_is_not_judged(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert content.damaged(tmp_path) == content.damaged_since(tmp_path, tmp_path / "cache") == []
    content.require_whole([tmp_path], tmp_path / "cache")


def test_the_error_names_the_files_and_what_to_remove(made):
    flip(made / "config.json")
    with pytest.raises(ConsommeError, match=rf"{made}/config.json: damaged.*Remove {made} and run again"):
        content.require_whole([made], made.parent / "cache")


def test_files_that_are_written_one_after_the_other_are_recorded_so(tmp_path):
    for name, text in (("costs.tsv", "1"), ("scores.tsv", "2"), ("costs.tsv", "3")):
        (tmp_path / name).write_text(text)
        content.record(tmp_path, [name])
        assert content.damaged(tmp_path) == []
    (tmp_path / "costs.tsv").write_text("1")
    assert content.damaged(tmp_path) == ["costs.tsv"]
