"""An export in the place of its model: decoded on sets, timed, asked as other programs ask."""

import json
from pathlib import Path

import pytest

from consomme.common.job import parse
from consomme.costs.stage import run as costs
from consomme.evaluate.stage import run as evaluate
from consomme.export.stage import run as export
from consomme.formats import exported_as


@pytest.fixture
def exported(job, tmp_path):
    """exported(family, format, quantization) -> the folder of an export."""

    def folder(*asked):
        export(parse(job(*asked), ""))
        return tmp_path / "out"

    return folder


def evaluated(tmp_path, model, corpus, task, decoding, name):
    out = tmp_path / "e/hypotheses" / name / "index.json"
    out.parent.mkdir(parents=True)
    spec = {"stage": "evaluate", "version": 1, "digest": name, "task": task, "languages": ["en", "fr"]}
    spec |= {
        "normaliser": "verbatim",
        "decoding": decoding,
        "decoding_digest": "d" * 8,
        "inputs": ["model/m", "corpus/dev"],
    }
    spec |= {"sets": {"dev": {}, "test": {"t": ["dev"]}}, "label": {}}
    arguments = ["--spec", json.dumps(spec), "--inputs", str(model), str(corpus), "--out", str(out)]
    arguments += ["--cache", str(tmp_path / "cache"), "--state", str(tmp_path / "state" / name), "--threads", "1"]
    evaluate(parse([*arguments, "--device", "cpu"], ""))
    (entry, *others) = json.loads(out.read_text())["sets"]
    rows = [json.loads(line) for line in Path(entry["path"]).read_text().splitlines()]
    return [row["hypothesis"] for row in rows], [entry, *others]


@pytest.mark.parametrize("family", ["marian", "whisper"])
def test_an_export_is_decoded_by_its_engine_and_says_what_its_model_says(
    exported, models, corpora, tmp_path, family, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    task, asked = "nmt" if family == "marian" else "asr", {"num_beams": 1, "max_new_tokens": 12}
    folder = exported(family, "ctranslate2")
    assert exported_as(folder).name == "ctranslate2" and exported_as(models(family)) is None
    theirs, _ = evaluated(tmp_path, models(family), corpora[task], task, asked, "source")
    ours, entries = evaluated(tmp_path, folder, corpora[task], task, asked, "export")
    assert ours == theirs and any(ours)
    assert entries[0]["n"] == len(ours)


def test_a_checkpoint_is_decoded_by_the_engine_that_is_asked_for(models, corpora, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = {"num_beams": 1, "max_new_tokens": 12}
    theirs, _ = evaluated(tmp_path, models("whisper"), corpora["asr"], "asr", asked, "plain")
    ours, _ = evaluated(tmp_path, models("whisper"), corpora["asr"], "asr", asked | {"engine": "ctranslate2"}, "engine")
    assert ours == theirs
    assert "make the same text of 6 of the first 6 rows" in capsys.readouterr().err


def test_an_export_has_a_size_and_a_speed(exported, corpora, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("consomme.speed.rounds.LIMIT", 0.0)
    folder = exported("marian", "ctranslate2", "int8")
    spec = {
        "stage": "report",
        "version": 1,
        "languages": ["en", "fr"],
        "decoding": {"num_beams": 1, "max_new_tokens": 8},
    }
    spec |= {"sets": ["dev"], "corpora": {"dev": str(corpora["nmt"])}}
    spec |= {"models": [{"name": "small", "replicate": "1", "folder": str(folder)}]}
    costs(
        parse(
            [
                "--spec",
                json.dumps(spec),
                "--inputs",
                "--out",
                str(tmp_path / "costs.tsv"),
                "--threads",
                "1",
                "--device",
                "cpu",
            ],
            "",
        )
    )
    head, row = (line.split("\t") for line in (tmp_path / "costs.tsv").read_text().splitlines())
    found = dict(zip(head, row, strict=True))
    assert float(found["speed"]) > 0 and found["speed_unit"] == "tokens/s" and found["flops"] == ""
    assert int(found["bytes"]) == sum(
        (folder / name).stat().st_size for name in ("model.bin", "shared_vocabulary.json")
    )


def test_the_smallest_and_the_fastest_may_be_exports(exported, models, corpora, tmp_path, monkeypatch):
    """In 8 bits it has as many parameters and fewer bytes, and says nearly the same."""
    from consomme.average.stage import run as average

    monkeypatch.chdir(tmp_path)
    folder = exported("marian", "ctranslate2", "int8")
    monkeypatch.setattr("consomme.speed.rounds.LIMIT", 0.0)
    for method, size, wanted in (("smallest", None, "base"), ("smallest", "bytes", "small"), ("fastest", None, None)):
        choose_on = {"metric": "bleu", "sets": {"d": {"weight": 1, "lose_at_most": 50, "of": "base"}}}
        spec = {
            "stage": "average",
            "version": 1,
            "digest": f"{method} {size}",
            "task": "nmt",
            "languages": ["en", "fr"],
            "seed": 1,
        }
        spec |= {"settings": {"method": method, "size": size, "choose_on": choose_on}, "metric": "bleu"}
        spec |= {"dev": {"d": ["dev"]}, "decoding": {"num_beams": 1, "max_new_tokens": 12}, "normaliser": "verbatim"}
        spec |= {"inputs": ["parent/base", "parent/small", "corpus/dev"], "label": {}}
        inputs = [str(models("marian")), str(folder), str(corpora["nmt"])]
        out = tmp_path / f"chosen-{method}-{size}"
        arguments = ["--spec", json.dumps(spec), "--inputs", *inputs, "--out", str(out)]
        average(parse([*arguments, "--cache", str(tmp_path / "cache"), "--threads", "1", "--device", "cpu"], ""))
        chosen = json.loads((out / "provenance.json").read_text())["chosen"]
        assert wanted is None or chosen["ingredients"] == [wanted]
    assert exported_as(tmp_path / "chosen-smallest-bytes").name == "ctranslate2"
    speeds = {row["model"]: row["speed"] for row in chosen["curve"]}
    best = max(speeds.values())
    assert min(speeds.values()) > 0 and speeds[chosen["ingredients"][0]] >= 0.95 * best
