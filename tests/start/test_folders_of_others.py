"""Folders that are damaged, lie, or mean harm. Each is brought to `from` and to `average`, and answered in words or used."""

import json
import os
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from consomme.average.stage import entry
from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_json
from consomme.common.job import parse
from consomme.plan.verbs.starting import read_checkpoint
from consomme.start.stage import run

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 151060136\n"
W = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def start(source, out):
    spec = {"stage": "start", "version": 1, "digest": "abcdef012345", "label": {}, "task": "nmt"}
    spec["settings"] = {"folder": str(source)}
    job = parse(["--spec", json.dumps(spec), "--out", str(out), "--threads", "1"], "")
    run(job)
    return job.out


def average(*sources, out, method="uniform"):
    """By hand. The first gives all files beside the weights."""
    entry(["--method", method, "--out", str(out), *map(str, sources)])
    return out


@pytest.fixture
def good(folders):
    return folders("marian")


@pytest.fixture
def mine(good, tmp_path):
    return Path(shutil.copytree(good, tmp_path / "mine"))


# -- making them -------------------------------------------------------------------------------------------------------
def file(name, content):
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def header(entries, rest=b""):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + rest


def weights(entries, rest=b""):
    return file(WEIGHTS, header(entries, rest))


def entries(edit, rest=b""):
    """The header edited, the tensors as they were, and `rest` behind them."""

    def make(folder):
        content = (folder / WEIGHTS).read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        found = json.loads(content[8 : 8 + length])
        edit(found)
        (folder / WEIGHTS).write_bytes(header(found, content[8 + length :] + rest))

    return make


def moved(by):
    def edit(found):
        last = max((name for name in found if name != "__metadata__"), key=lambda n: found[n]["data_offsets"])
        found[last]["data_offsets"] = [place + by for place in found[last]["data_offsets"]]

    return edit


def changed(**values):
    """One tensor's entry with other values."""

    def edit(found):
        found["final_logits_bias"] |= values

    return entries(edit)


def config(name="config.json", **values):
    return lambda folder: write_json(folder / name, read_json(folder / name) | values)


def tensor(value):
    def make(folder):
        found = load_file(folder / WEIGHTS)
        found["final_logits_bias"] = value(found["final_logits_bias"].copy())
        save_file(found, folder / WEIGHTS, {"format": "pt"})

    return make


def put(value):
    def fill(array):
        array[0, 3] = value
        return array

    return tensor(fill)


def in_shards(folder):
    found = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(found)
    parts = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for shard, part in parts.items():
        save_file({n: found[n] for n in part}, folder / shard, {"format": "pt"})
    write_json(folder / INDEX, {"weight_map": {n: shard for shard, part in parts.items() for n in part}})


def index(content):
    def make(folder):
        in_shards(folder)
        (folder / INDEX).write_text(content if isinstance(content, str) else json.dumps(content))

    return make


def shard(edit):
    def make(folder):
        in_shards(folder)
        edit(folder / "model-00001-of-00002.safetensors")

    return make


def pickled(name):
    def make(folder):
        (folder / WEIGHTS).unlink()
        (folder / name).write_bytes(b"cos\nsystem\n(S'touch broken'\ntR.")

    return make


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def deep(found):
    for _ in range(300):
        found = [found]
    return found


DAMAGED = r"model\.safetensors is damaged or truncated: "
# name -> what is done to the folder, what `from` says, what `average` says; None where it is used
FOLDERS = {
    "pointer": (file(WEIGHTS, POINTER), r"model\.safetensors is a pointer of git-lfs.*git lfs pull", "pointer of git-lfs"),
    "empty": (file(WEIGHTS, b""), DAMAGED + "0 bytes, too short", DAMAGED),
    "html": (file(WEIGHTS, "<!DOCTYPE html><html>not found</html>"), DAMAGED, DAMAGED),
    "cut": (lambda folder: cut(folder / WEIGHTS), DAMAGED + "its tensors should end at byte", DAMAGED),
    "huge-header": (file(WEIGHTS, struct.pack("<Q", 2**63 - 1) + b"{}"), "its header should take", "its header should take"),
    "longer-header": (file(WEIGHTS, struct.pack("<Q", 100) + b"{}"), "its header should take", "its header should take"),
    "deep-header": (weights(b"[" * 200_000), "its header is not JSON", "its header is not JSON"),
    "list-header": (weights([1]), "its header is not a mapping", "its header is not a mapping"),
    "utf-16-header": (weights("{}".encode("utf-16")), "its header is not JSON", "its header is not JSON"),
    "metadata": (weights({"__metadata__": {"a": [1]}}), "__metadata__ is no mapping", "__metadata__ is no mapping"),
    "no-offsets": (weights({"w": {"dtype": "F32", "shape": [2]}}), "w lacks dtype, shape or data_offsets", "w lacks dtype"),
    "text-for-entry": (weights({"w": "F32"}), "w lacks dtype", "w lacks dtype"),
    "twice": (
        weights(b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        "names w twice", "names w twice",
    ),
    "behind-the-end": (weights({"w": W}), "its tensors should end at byte", "its tensors should end at byte"),
    "negative": (weights({"w": W | {"shape": [-2], "data_offsets": [8, 0]}}), r"w has shape \[-2\]", r"w has shape \[-2\]"),
    "fraction": (weights({"w": W | {"shape": [2.0]}}), r"w has shape \[2\.0\]", r"w has shape \[2\.0\]"),
    "shape-by-lie": (changed(shape=[2**40, 2**40]), "140 bytes for shape", "140 bytes for shape"),
    "shape-beyond": (changed(shape=[2**70, 0]), "final_logits_bias has shape", "final_logits_bias has shape"),
    "dimensions": (changed(shape=[1] * 100_000 + [35]), "final_logits_bias has shape", "final_logits_bias has shape"),
    "dtype": (changed(dtype="EVIL"), "final_logits_bias has dtype EVIL; allowed: F64", "dtype EVIL; allowed"),
    "dtype-list": (changed(dtype=["F32"]), "has dtype", "has dtype"),
    "overlap": (entries(moved(-4)), "lies over another tensor", "lies over another tensor"),
    "hole": (entries(moved(4), bytes(4)), "leaves a hole before it", "leaves a hole before it"),
    "trailing": (entries(lambda found: None, b"more"), "its tensors should end at byte", "its tensors should end at byte"),
    "a-folder": (lambda f: ((f / WEIGHTS).unlink(), (f / WEIGHTS).mkdir()), "no weights there", "no weights there"),
    "a-pipe": (lambda f: ((f / WEIGHTS).unlink(), os.mkfifo(f / WEIGHTS)), "no weights there", "no weights there"),
    "other-tensors": (weights({"w": W}, bytes(8)), r"does not fit its config\.json", "lacks .* of the tensors"),
    "transposed": (tensor(lambda a: a.T.copy()), r"final_logits_bias \[35, 1\] and not \[1, 35\]", "different shapes"),
    "nan": (put(np.nan), r"NaN or infinity in the weights: final_logits_bias \(1 of 35\)", r"NaN or infinity.*final_logits_bias \(1 of 35\)"),
    "infinity": (put(-np.inf), r"NaN or infinity in the weights: final_logits_bias", "NaN or infinity"),
    "config": (file("config.json", '{"model_type": "marian",'), r"config\.json is damaged: not JSON", r"config\.json is damaged: not JSON"),
    "config-latin": (file("config.json", '{"model_type": "é"}'.encode("latin-1")), "damaged: not JSON", "damaged: not JSON"),
    "config-list": (file("config.json", "[]"), "it must hold a mapping", "it must hold a mapping"),
    "config-nested": (file("config.json", "[" * 100_000), "damaged: not JSON", "damaged: not JSON"),
    "config-empty": (file("config.json", "{}"), "names no model_type", "different architectures"),
    "words-for-sizes": (config(d_model="wide"), "can't load it|does not load", None),
    "ten-million-layers": (config(encoder_layers=10**7), "encoder_layers is 10000000; at most 4096", "encoder_layers is 10000000"),
    "layers-of-nothing": (config(encoder_layers=-5), "does not fit its config|does not load|can't load", None),
    "endless-positions": (config(max_position_embeddings=2**40), r"config\.json describes a model of [\d,]+ numbers", None),
    "absurd-width": (config(d_model=2**24), r"config\.json describes a model of [\d,]+ numbers", None),
    "absurd-vocabulary": (config(vocab_size=2**40), r"config\.json describes a model of [\d,]+ numbers", None),
    "beyond-64-bits": (config(max_position_embeddings=2**70), "does not load|can't load", None),
    "code-for-type": (config(dtype="os.system"), "can't load it|does not load", None),
    "generation": (file("generation_config.json", "{"), r"generation_config\.json is damaged", r"generation_config\.json is damaged"),
    "no-index": (index("{"), r"index\.json is damaged: not JSON", r"index\.json is damaged"),
    "index-list": (index([]), "must hold a mapping", "must hold a mapping"),
    "index-without-map": (index({}), "has no weight_map", "has no weight_map"),
    "index-of-list": (index({"weight_map": [1]}), "has no weight_map", "has no weight_map"),
    "index-of-numbers": (index({"weight_map": {"w": 1}}), "has no weight_map", "has no weight_map"),
    "index-out": (index({"weight_map": {"w": "../x.safetensors"}}), r"names \.\./x", r"names \.\./x"),
    "index-to-root": (index({"weight_map": {"w": "/etc/passwd"}}), "names /etc/passwd, which is no", "names /etc/passwd, which is no"),
    "index-to-pickle": (index({"weight_map": {"w": "pytorch_model.bin"}}), "which is no safetensors", "which is no safetensors"),
    "shard-missing": (shard(Path.unlink), "which is not there; copy the whole folder", "which is not there"),
    "shard-cut": (shard(cut), r"model-00001-of-00002\.safetensors is damaged", r"model-00001-of-00002\.safetensors is damaged"),
    "shards": (in_shards, None, None),
    "pieces": (file("source.spm", b"\x00\x01 no model"), "processor or tokenizer does not load", "different vocabularies"),
    "vocabulary": (file("vocab.json", "{"), "processor or tokenizer does not load", r"vocab\.json is damaged: not JSON"),
    "vocabulary-pointer": (file("vocab.json", POINTER), r"vocab\.json is a pointer of git-lfs", r"vocab\.json is damaged"),
    "tokenizer": (file("tokenizer_config.json", "[]"), r"tokenizer_config\.json is damaged: it must", r"tokenizer_config\.json is damaged"),
    "pickle": (pickled("pytorch_model.bin"), r"in pytorch_model\.bin, no safetensors: a pickle.*save_pretrained", r"a pickle.*save_pretrained"),
    "checkpoint": (pickled("model.pt"), r"in model\.pt, no safetensors: a pickle", "a pickle"),
    "pickle-as-safetensors": (file(WEIGHTS, b"\x80\x04cos\nsystem\n(S'touch broken'\ntR."), DAMAGED, DAMAGED),
    "pickle-beside": (file("pytorch_model.bin", b"cos\nsystem\n(S'touch broken'\ntR."), None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_from_says_in_words_what_is_wrong(mine, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    edit, words, _ = FOLDERS[name]
    edit(mine)
    if words is None:
        assert (start(mine, tmp_path / "out") / WEIGHTS).is_file()
    else:
        with pytest.raises(ConsommeError, match=words) as caught:
            start(mine, tmp_path / "out")
        assert str(mine) in str(caught.value) and ".finished" not in str(caught.value)
        assert not (tmp_path / "out").exists()
    assert not Path("broken").exists()


@pytest.mark.parametrize("name", FOLDERS)
def test_average_says_it_too(good, mine, tmp_path, name, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    edit, _, words = FOLDERS[name]
    edit(mine)
    if words is None:
        assert (average(good, mine, out=tmp_path / "out") / WEIGHTS).is_file()
        return
    for order in ((good, mine), (mine, good)):
        with pytest.raises(SystemExit) as stop:
            average(*order, out=tmp_path / "out")
        assert stop.value.code == 2
        (told,) = capsys.readouterr().err.splitlines()
        assert re.search(words, told), told
        assert told.startswith("error: ") and str(mine) in told
    assert not (tmp_path / "out").exists() and not Path("broken").exists()


def test_the_plan_names_a_damaged_config(mine):
    (mine / "config.json").write_text("{")
    with pytest.raises(ConsommeError, match=r"mine/config\.json is damaged: not JSON"):
        read_checkpoint(mine)


# -- links -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["secret.json", "secret.txt", "source.spm", WEIGHTS])
def test_a_link_out_of_the_folder_is_refused(good, mine, tmp_path, capsys, name):
    secret = tmp_path / "secret"
    shutil.copyfile(good / name, secret) if (good / name).exists() else secret.write_text('{"key": "canary"}')
    (mine / name).unlink(missing_ok=True)
    (mine / name).symlink_to(secret)
    with pytest.raises(ConsommeError, match=rf"{name} is a link out of the folder, to {secret}.*cp -rL OLD NEW"):
        start(mine, tmp_path / "out")
    with pytest.raises(SystemExit):
        average(mine, good, out=tmp_path / "out")
    assert f"{name} is a link out of the folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_links_to_folders_are_not_followed(good, mine, tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key.json").write_text("{}")
    (mine / "more").symlink_to(tmp_path / "private")
    (mine / "again").symlink_to(mine)
    for made in (start(mine, tmp_path / "one"), average(mine, good, out=tmp_path / "two")):
        assert not list(made.rglob("key.json")) and not (made / "again").exists()


@pytest.mark.parametrize("shared", [False, True])
def test_the_links_of_the_hubs_cache_are_its_files(good, tmp_path, shared):
    place = tmp_path / "models--someone--marian"
    snapshot = place / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (place / "blobs").mkdir()
    for number, path in enumerate(sorted(good.iterdir())):
        blob = place / "blobs" / f"{number:040x}"
        if shared:  # by all repositories of the cache, as in huggingface_hub 2
            store = tmp_path / "blobs" / "0a" / f"0a{number:062x}"
            store.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, store)
            blob.symlink_to(f"../../blobs/0a/{store.name}")
        else:
            shutil.copyfile(path, blob)
        (snapshot / path.name).symlink_to(f"../../blobs/{number:040x}")
    (tmp_path / "linked").symlink_to(snapshot)
    for source in (snapshot, tmp_path / "linked"):
        made = start(source, tmp_path / f"from {source.name}")
        assert not any(path.is_symlink() for path in made.rglob("*"))
        assert (made / WEIGHTS).read_bytes() == (good / WEIGHTS).read_bytes()
    soup = average(snapshot, good, out=tmp_path / "soup")
    assert (soup / "vocab.json").read_bytes() == (good / "vocab.json").read_bytes()


# -- code --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["from", "uniform", "ensemble"])
def test_no_code_and_no_name_of_code_is_taken_along(good, mine, tmp_path, method):
    (mine / "evil.py").write_text("raise SystemExit")
    (mine / "custom_generate").mkdir()
    (mine / "custom_generate" / "generate.py").write_text("raise SystemExit")
    named = {"AutoModelForSeq2SeqLM": "evil.Evil"}
    config(auto_map=named, custom_pipelines={"t": {"impl": "evil.E"}}, inner={"auto_map": named})(mine)
    config("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]})(mine)
    config("generation_config.json", auto_map=named, custom_generate="evil/evil")(mine)
    # spelt so that no search for the word finds it
    (mine / "preprocessor_config.json").write_text(r'{"auto\u005fmap": {"AutoProcessor": "evil.P"}}')
    made = start(mine, tmp_path / "o") if method == "from" else average(mine, good, out=tmp_path / "o", method=method)
    there = [path for path in made.rglob("*") if path.is_file()]
    assert not [path for path in there if path.suffix == ".py" or "custom_generate" in path.parts]
    texts = [json.dumps(json.loads(path.read_text())) for path in there if path.suffix == ".json"]
    assert texts and not [text for text in texts if any(word in text for word in ("auto_map", "custom_", "evil.E"))]
    assert "auto_map" in (mine / "config.json").read_text()  # the folder itself is left as it is


def test_a_checkpoint_without_code_is_copied_byte_by_byte(good, tmp_path):
    made = start(good, tmp_path / "out")
    assert all((made / path.name).read_bytes() == path.read_bytes() for path in good.iterdir())
