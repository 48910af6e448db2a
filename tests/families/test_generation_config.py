"""What a checkpoint says about decoding is read or refused: transformers takes defaults for a file that it can't read."""

import errno
import os
import shutil

import pytest
from transformers import GenerationConfig

from consomme.common.errors import ConsommeError
from consomme.families import load


def test_a_file_that_can_not_be_read_for_a_moment_is_not_replaced_by_defaults(folders, monkeypatch):
    folder = folders("marian")
    wanted, plain, asked = GenerationConfig.from_pretrained(folder), GenerationConfig.from_pretrained, []

    def away(*given, **more):
        asked.append(given)
        if len(asked) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return plain(*given, **more)

    monkeypatch.setattr(GenerationConfig, "from_pretrained", away)
    assert load(folder).generation_config.to_dict() == wanted.to_dict()
    assert len(asked) > 1


def test_a_damaged_file_is_told(folders, tmp_path):
    shutil.copytree(folders("marian"), tmp_path / "model")
    (tmp_path / "model" / "generation_config.json").write_text("{")
    with pytest.raises(ConsommeError, match=r"generation_config.json is damaged: not JSON"):
        load(tmp_path / "model")
