"""Training on recordings that are kept as FLAC or in place, whose features are computed as they are needed."""

import json
import shutil
from dataclasses import replace

import pyarrow as pa
import pytest
import soundfile

from consomme.common.errors import ConsommeError
from consomme.common.provenance import weights_hash
from consomme.data.prepared import Rows
from consomme.data.waveforms import TABLE, hash_of
from consomme.train import stage

OPTIONS = {"max_steps": 6, "dropout": 0.0}


def kept(folder, out, way):
    """The same corpus with its waveforms kept that way; those in place lie in `out`/wav."""
    rows = Rows.open([folder])
    ((corpus, _, _),) = rows.parts()
    cells: dict[str, list] = {name: [] for name in TABLE[way].columns}
    hashes = []
    (out / "wav").mkdir(parents=True)
    for i in range(len(rows)):
        samples, file = corpus.samples(i), out / "wav" / f"{i}.wav"
        soundfile.write(file, samples, 16000)
        hashes.append(hash_of(samples))
        for name, cell in TABLE[way].cells(samples, 16000, file, None, None).items():
            cells[name].append(cell)
    table = corpus.table.drop_columns(["audio", "audio_hash"]).append_column("audio_hash", pa.array(hashes))
    for name, kind in TABLE[way].columns.items():
        table = table.append_column(name, pa.array(cells[name], kind))
    with pa.OSFile(str(out / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    shutil.copy(folder / "skipped.tsv", out)
    about = json.loads((folder / "prepared.json").read_text()) | {"name": folder.name}
    (out / "prepared.json").write_text(json.dumps(about))
    return out


@pytest.mark.parametrize(("way", "threads"), [("flac", 1), ("in_place", 1), ("in_place", 3)])
def test_the_weights_are_the_same_and_nothing_is_kept(way, threads, tmp_path, recogniser, tones, job):
    made = job(tmp_path / "a", recogniser, {"tones": tones}, {"dev": tones}, eval_steps=3, **OPTIONS)
    stage.run(replace(made, threads=threads))
    assert list((tmp_path / "a" / "cache" / "features").iterdir())
    other = kept(tones, tmp_path / "tones", way)
    again = job(tmp_path / "b", recogniser, {"tones": other}, {"dev": other}, eval_steps=3, **OPTIONS)
    stage.run(replace(again, threads=threads))
    assert weights_hash(again.out) == weights_hash(made.out)
    assert not (tmp_path / "b" / "cache" / "features").exists()


@pytest.mark.parametrize("way", ["flac", "in_place"])
def test_augmented_waveforms_are_the_same(way, tmp_path, recogniser, tones, job):
    augment = {"speed": [0.9, 1.1], "concatenate": {"utterances": 2, "seconds": 30.0, "probability": 0.3}}
    made = job(tmp_path / "a", recogniser, {"tones": tones}, augment=augment, **OPTIONS)
    stage.run(made)
    again = job(tmp_path / "b", recogniser, {"tones": kept(tones, tmp_path / "tones", way)}, augment=augment, **OPTIONS)
    stage.run(again)
    assert weights_hash(again.out) == weights_hash(made.out)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_recording_that_is_gone_is_named(threads, tmp_path, recogniser, tones, job):
    corpus = kept(tones, tmp_path / "tones", "in_place")
    for file in (corpus / "wav").iterdir():
        file.unlink()
    made = job(tmp_path, recogniser, {"tones": corpus}, **OPTIONS)
    with pytest.raises(ConsommeError) as caught:
        stage.run(replace(made, threads=threads))
    assert "isn't what it was when its corpus was prepared (missing: no file" in str(caught.value)
    assert "Traceback" not in str(caught.value)
