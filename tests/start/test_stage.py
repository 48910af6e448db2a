import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from consomme.common.errors import ConsommeError
from consomme.common.files import hash_file, read_json
from consomme.common.job import parse
from consomme.families import family_named, load
from consomme.start import hub
from consomme.start.checkpoint import merge
from consomme.start.stage import run

TEXTS = ["the cat sat on a mat", "le chat est assis", "hello world", "bonjour le monde"]
SMALL = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    family_named("marian").create(folder, SMALL, {"vocab_size": 60}, lambda: iter(TEXTS * 5), ["en", "fr"], 1)
    return folder


def job(tmp_path, settings, task="nmt", corpora=(), seed=1):
    spec = {
        "stage": "start",
        "version": 1,
        "digest": "abcdef012345",
        "label": {"experiment": "e", "node": "base", "run": "", "replicate": 1},
        "task": task,
        "languages": ["en", "fr"],
        "seed": seed,
        "settings": settings,
        "train": {folder.name: 1.0 for folder in corpora},
        "inputs": [f"corpus/{folder.name}" for folder in corpora],
    }
    paths = ["--inputs", *map(str, corpora)] if corpora else []
    return parse(["--spec", json.dumps(spec), *paths, "--out", str(tmp_path / "out"), "--threads", "1"], "")


def shards(source, target):
    """The same checkpoint in two shards, the second in half precision."""
    shutil.copytree(source, target)
    weights = load_file(target / "model.safetensors")
    (target / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {
        "model-00001-of-00002.safetensors": {n: weights[n] for n in names[::2]},
        "model-00002-of-00002.safetensors": {n: weights[n].half() for n in names[1::2]},
    }
    for name, part in parts.items():
        save_file(part, target / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {n: name for name, part in parts.items() for n in part}}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    return parts


def test_a_folder_is_copied_and_found_again(checkpoint, tmp_path, capsys):
    given = job(tmp_path, {"folder": str(checkpoint)})
    run(given)
    for path in checkpoint.iterdir():
        assert hash_file(path) == hash_file(given.out / path.name)
    record = read_json(given.out / "provenance.json")
    assert record["verb"] == "from"
    assert record["origin"]["files"]["model.safetensors"] == record["weights"]
    run(given)
    assert "found, nothing to compute" in capsys.readouterr().err


def test_shards_become_one_file_in_their_stored_types(checkpoint, tmp_path):
    parts = shards(checkpoint, tmp_path / "sharded")
    given = job(tmp_path, {"folder": str(tmp_path / "sharded")})
    run(given)
    assert [p.name for p in given.out.glob("*.safetensors*")] == ["model.safetensors"]
    merged = load_file(given.out / "model.safetensors")
    expected = {n: t for part in parts.values() for n, t in part.items()}
    assert merged.keys() == expected.keys()
    assert all(merged[n].dtype == expected[n].dtype and torch.equal(merged[n], expected[n]) for n in merged)
    assert load(given.out).dtype == torch.float32


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    for name in ("a", "b"):
        save_file({"w": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(ConsommeError, match="w is in another shard too"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_what_is_no_usable_checkpoint_is_refused(checkpoint, tmp_path):
    with pytest.raises(ConsommeError, match="no such folder"):
        run(job(tmp_path, {"folder": str(tmp_path / "nowhere")}))
    folder = tmp_path / "pickled"
    folder.mkdir()
    with pytest.raises(ConsommeError, match=r"no config\.json"):
        run(job(tmp_path, {"folder": str(folder)}))
    shutil.copy(checkpoint / "config.json", folder)
    with pytest.raises(ConsommeError, match="no weights there"):
        run(job(tmp_path, {"folder": str(folder)}))
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(ConsommeError, match=r"weights are in pytorch_model\.bin.*save_pretrained"):
        run(job(tmp_path, {"folder": str(folder)}))
    with pytest.raises(ConsommeError, match="marian is a family for nmt, the experiment's task is asr"):
        run(job(tmp_path, {"folder": str(checkpoint)}, task="asr"))
    with pytest.raises(ConsommeError, match="one of hub, folder, scratch"):
        run(job(tmp_path, {}))
    shutil.copytree(checkpoint, tmp_path / "no-tokenizer")
    (tmp_path / "no-tokenizer" / "vocab.json").unlink()
    with pytest.raises(ConsommeError, match="tokenizer does not load"):
        run(job(tmp_path, {"folder": str(tmp_path / "no-tokenizer")}))
    assert not (tmp_path / "out").exists()


def test_the_hub_gives_a_model_or_says_what_to_do(checkpoint, tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = {}

    def snapshot(name, revision=None, allow_patterns=None, ignore_patterns=None):
        asked.update(name=name, revision=revision, patterns=allow_patterns, without=ignore_patterns)
        if name == "someone/offline":
            raise LocalEntryNotFoundError("no network")
        return str(tmp_path / "cache" / name / "0123abc")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    shutil.copytree(checkpoint, tmp_path / "cache/someone/marian/0123abc")
    given = job(tmp_path, {"hub": {"name": "someone/marian", "revision": "main"}})
    run(given)
    assert asked["revision"] == "main"
    assert not any("bin" in p or "pt" in p for p in asked["patterns"])
    assert asked["without"] == ["adapter.*"]  # of up to a thousand languages
    assert read_json(given.out / "provenance.json")["origin"] == {"hub": "someone/marian", "commit": "0123abc"}

    (tmp_path / "cache/someone/pickled/0123abc").mkdir(parents=True)
    with pytest.raises(ConsommeError, match=r"pickled ones are never loaded.*refs/pr/NUMBER"):
        hub.fetch("someone/pickled", None)
    with pytest.raises(ConsommeError, match="hf download someone/offline --local-dir FOLDER"):
        hub.fetch("someone/offline", None)


def corpus(folder, task):
    """A prepared corpus, written by hand."""
    import pyarrow as pa

    n = len(TEXTS) // 2
    columns = {
        "id": [str(i) for i in range(n)],
        "speaker": [None] * n,
        "document": [None] * n,
        "recordings": [[] for _ in range(n)],
    }
    schema = {
        "id": pa.string(),
        "speaker": pa.string(),
        "document": pa.string(),
        "recordings": pa.list_(pa.string()),
    }
    if task == "nmt":
        columns |= {"source": TEXTS[::2], "target": TEXTS[1::2]}
        schema |= {"source": pa.string(), "target": pa.string()}
    else:
        columns |= {"seconds": [0.1] * n, "audio": [[1, 2]] * n, "text": TEXTS[::2]}
        schema |= {"seconds": pa.float64(), "audio": pa.large_list(pa.int16()), "text": pa.string()}
    table = pa.table(columns, schema=pa.schema(schema))
    folder.mkdir()
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    prepared = {"task": task, "name": folder.name, "fingerprint": task, "rows": n, "seconds": 0.2, "version": 1}
    prepared |= {"sampling_rate": 16000, "read": n, "skipped": {}}
    (folder / "prepared.json").write_text(json.dumps(prepared))
    return folder


def test_scratch_learns_its_tokens_from_the_training_corpora(tmp_path):
    given = job(
        tmp_path,
        {"scratch": {"family": "ctc", "hidden_size": 16, "num_hidden_layers": 1}, "tokenizer": {"type": "characters"}},
        task="asr",
        corpora=[corpus(tmp_path / "speech", "asr")],
    )
    run(given)
    assert set(read_json(given.out / "vocab.json")) - {"<pad>", "<unk>", "|"} == set("".join(TEXTS[::2])) - {" "}
    assert read_json(given.out / "provenance.json")["corpora"] == {"speech": "asr"}

    (tmp_path / "text").mkdir()
    given = job(
        tmp_path / "text",
        {"scratch": {"family": "marian", **SMALL}, "tokenizer": {"vocab_size": 60}},
        corpora=[corpus(tmp_path / "pairs", "nmt")],
    )
    run(given)
    processor = family_named("marian").processor(given.out)
    assert processor.unk_token_id not in processor(TEXTS[0]).input_ids + processor(text_target=TEXTS[1]).input_ids


def test_the_command_shows_a_users_error_without_a_traceback(tmp_path):
    spec = json.dumps({"digest": "a", "task": "nmt", "settings": {"folder": str(tmp_path / "no")}})
    command = [sys.executable, "-m", "consomme.start", "--spec", spec, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: from.folder:")
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    """A Whisper with a window of one second and 16 positions."""
    folder = tmp_path_factory.mktemp("recogniser")
    settings = {**SMALL, "window": 1, "max_target_positions": 16}
    family_named("whisper").create(folder, settings, {}, lambda: iter(TEXTS), ["en"], 1)
    return folder


def by_hand(main, *arguments):
    """Run a command; its exit code."""
    try:
        main([*map(str, arguments), "--threads", "1"])
    except SystemExit as ended:
        return ended.code
    return 0


def test_every_good_line_is_translated_and_a_bad_one_named(checkpoint, tmp_path, capsys):
    from consomme.translate import main

    lines = tmp_path / "lines"
    lines.write_text("the cat\n\nhello world the cat sat\n", encoding="utf-8")
    assert by_hand(main, checkpoint, lines, "--max-new-tokens", 6) == 0
    first, empty, second, end = capsys.readouterr().out.split("\n")
    assert empty == end == ""
    lines.write_bytes(
        b"\xef\xbb\xbfthe cat\n" + b"cat " * 2000 + b"\n" + "déjà\n".encode("latin-1") + b"hello world the cat sat"
    )
    assert by_hand(main, checkpoint, lines, "--max-new-tokens", 6) == 1
    out, err = capsys.readouterr()
    assert out.split("\n") == [first, "", "", second, ""]
    assert f"{lines}, line 2: source longer than the model's positions" in err
    assert f"{lines}, line 3: no UTF-8 (byte 0xe9 at place 2); if the file is Latin-1" in err
    lines.write_text("the cat\n", encoding="utf-16")
    assert by_hand(main, checkpoint, lines) == 2
    assert "the text is UTF-16" in capsys.readouterr().err


def test_a_translation_that_was_interrupted_goes_on(checkpoint, tmp_path, monkeypatch, capsys):
    from consomme import translate

    lines, out = tmp_path / "lines.txt", tmp_path / "out.txt"
    lines.write_text("".join(f"the cat {i}\n" for i in range(10)))
    monkeypatch.setattr(translate, "BLOCK", 4)
    assert by_hand(translate.main, checkpoint, lines, "--max-new-tokens", 6, "--out", out) == 0
    whole, asked, translator = out.read_text(), [], translate._translator

    def stopping(given):
        translate_some = translator(given)

        def some(block):
            asked.append(len(block))
            if len(asked) == 3:
                raise KeyboardInterrupt
            return translate_some(block)

        return some

    out.unlink()
    monkeypatch.setattr(translate, "_translator", stopping)
    assert by_hand(translate.main, checkpoint, lines, "--max-new-tokens", 6, "--out", out) == 130
    assert "8 of 10 lines are translated; the same command goes on there" in capsys.readouterr().err
    part = tmp_path / "out.txt.part"
    part.write_text(part.read_text() + "torn")
    assert by_hand(translate.main, checkpoint, lines, "--max-new-tokens", 6, "--out", out) == 0
    assert asked == [4, 4, 2, 2] and out.read_text() == whole and not part.exists()


def test_every_good_file_is_transcribed_and_a_bad_one_named(checkpoint, recogniser, tmp_path, capsys):
    import soundfile

    from consomme.transcribe import main

    generator = np.random.default_rng(0)
    places = {name: tmp_path / name for name in ("a.wav", "no.wav", "torn.wav", "long.wav", "b.flac")}
    # longer than the window, which is 1 s
    for name, seconds, rate in (("a.wav", 0.5, 16000), ("long.wav", 2, 16000), ("b.flac", 0.5, 8000)):
        soundfile.write(places[name], 0.1 * generator.standard_normal(int(seconds * rate)), rate)
    places["torn.wav"].write_bytes(b"RIFF")
    assert by_hand(main, recogniser, *(places[name] for name in ("a.wav", "long.wav", "b.flac"))) == 0
    good = [line for line in capsys.readouterr().out.splitlines() if "\t" in line]
    assert [line.split("\t")[0] for line in good] == [str(places[name]) for name in ("a.wav", "long.wav", "b.flac")]
    assert by_hand(main, recogniser, *places.values()) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == good
    for name, message in (("no.wav", "no such file"), ("torn.wav", "unreadable")):
        assert f"error: {places[name]}: " in err and message in err
    assert by_hand(main, checkpoint, places["a.wav"]) == 2
    assert "use consomme.translate" in capsys.readouterr().err


def test_a_recogniser_of_several_languages_is_asked_in_one_or_detects_it(recogniser, tmp_path, monkeypatch, capsys):
    import soundfile

    from consomme.families.base import Hypothesis
    from consomme.families.whisper import Whisper
    from consomme.transcribe import main

    model, clip, asked = tmp_path / "several", tmp_path / "a.wav", []
    shutil.copytree(recogniser, model)
    family_named("whisper").name_languages(model, {("en",), ("fr",)})
    soundfile.write(clip, 0.1 * np.random.default_rng(0).standard_normal(8000), 16000)
    assert by_hand(main, model, clip) == 0 and by_hand(main, model, clip, "--language", "fr") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2

    def decode(family, model, processor, batch, languages, decoding):
        asked.append(list(languages))
        return [Hypothesis("")]

    monkeypatch.setattr(Whisper, "decode", decode)
    family_named("whisper").name_languages(tmp_path / "several", {("fr",)})
    for more in ([], ["--language", "sv"]):
        by_hand(main, model, clip, *more)
    family_named("whisper").name_languages(tmp_path / "several", ())
    by_hand(main, model, clip)
    assert asked == [["fr"], ["sv"], []]
