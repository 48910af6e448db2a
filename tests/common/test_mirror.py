"""Results in a store: jobs on machines that share nothing else."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import fsspec
import pytest

from consomme.common import content, mirror
from consomme.common.errors import ConsommeError
from consomme.common.job import parse
from consomme.common.mirror import bring, here, keep, light, mirrored
from consomme.common.tidied import tidied
from consomme.report.fetch import bring_pages, fetch
from consomme.verify import verify

MODEL, STATE = Path("results/e/models/m-1"), Path("results/e/state/m-1")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Be on the machine of this name, in its own folder."""
    name = f"b{uuid.uuid4().hex}"
    monkeypatch.setenv(mirror.STORE, f"memory://{name}/folder")

    def at(place):
        (tmp_path / place).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / place)
        mirror._same.clear()  # another process
        return tmp_path / place

    return at


def stored():
    system, address = fsspec.filesystem("memory"), os.environ[mirror.STORE].removeprefix("memory:/")
    return {path.removeprefix(f"{address}/"): system.cat(path).decode() for path in system.find(address)}


def write(path, text="x"):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_one_machine_kept_another_one_has(machine):
    machine("a")
    write(MODEL / "config.json", "1")
    write(MODEL / "parts/vocab.json", "2")
    keep(MODEL)
    machine("b")
    assert bring(MODEL) == 2
    assert (MODEL / "config.json").read_text() == "1" and (MODEL / "parts/vocab.json").read_text() == "2"


def test_what_is_newer_there_is_fetched_and_what_is_newer_here_stays(machine):
    machine("a")
    for name in "ab":
        write(STATE / name, "old")
    keep(STATE)
    machine("b")
    bring(STATE)
    later = time.time() + 5
    os.utime(write(STATE / "a", "own"), (later, later))
    machine("a")
    time.sleep(0.02)
    write(STATE / "b", "new")
    keep(STATE)
    machine("b")
    bring(STATE)
    assert ((STATE / "a").read_text(), (STATE / "b").read_text()) == ("own", "new")


def test_what_a_job_removed_is_gone_there_too(machine):
    machine("a")
    write(STATE / "k/work/checkpoint-1/w"), write(STATE / "k/work/progress")
    keep(STATE)
    machine("b")
    bring(STATE)
    write(STATE / "k/work/checkpoint-2/w")
    (STATE / "k/work/checkpoint-1/w").unlink()
    keep(STATE)
    assert set(stored()) == {f"{STATE}/k/work/checkpoint-2/w", f"{STATE}/k/work/progress"}


def test_what_belongs_to_one_machine_stays_on_it(machine):
    machine("a")
    write(STATE / "k/lock"), write(STATE / "k/finished/model.safetensors"), write(STATE / "k/.unfinished.1/x")
    write(STATE / "k/.half"), write(STATE / "k/key.json")
    (STATE / "link").symlink_to("k")
    (STATE / "name").symlink_to("k/key.json")
    keep(STATE)
    assert set(stored()) == {f"{STATE}/k/key.json"}


def names_of_copies(*names):
    place = os.environ[mirror.STORE].removeprefix("memory://")
    return [Path(f".snakemake/storage/memory/{place}/{name}") for name in names]


def test_a_job_finds_what_it_reads_and_leaves_what_it_made(machine):
    machine("a")
    for name in ("config.json", "tokenizer.json", "provenance.json"):
        write(MODEL / name)
    keep(MODEL)
    machine("b")
    ours = Path("results/e/models/n-2")
    (parent, marker, config) = names_of_copies(
        MODEL / "provenance.json", ours / "provenance.json", ours / "config.json"
    )
    given = [
        "--spec",
        '{"inputs": ["parent/m"]}',
        "--inputs",
        str(parent),
        "--out",
        str(marker),
        str(marker),
        str(config),
    ]
    job = parse([*given, "--state", "results/e/state/n-2"], "")
    assert (job.out, job.inputs) == (ours, {"parent/m": MODEL})
    with mirrored(job.inputs.values(), job.out, job.state, job.named):
        assert (MODEL / "tokenizer.json").exists()
        for name in ("config.json", "provenance.json", "tokenizer.json"):
            write(ours / name, name)
    # Snakemake's own copies, which it puts into the store, are there; all else is in the store
    assert (marker.read_text(), config.read_text()) == ("provenance.json", "config.json")
    assert {name for name in stored() if name.startswith(str(ours))} == {f"{ours}/tokenizer.json"}


def test_a_job_that_fails_leaves_what_it_had_begun_and_no_result(machine):
    machine("a")
    with pytest.raises(KeyboardInterrupt), mirrored([], MODEL, STATE, []):
        write(STATE / "k/work/checkpoint-1/w")
        write(MODEL / "config.json")
        raise KeyboardInterrupt
    assert set(stored()) == {f"{STATE}/k/work/checkpoint-1/w"}


def test_results_of_an_evaluation_before_are_there_and_void_ones_go(machine):
    """An index that another one voids must not come back on the next machine."""
    folder = Path("results/e/hypotheses/m-1")
    machine("a")
    write(folder / "old.json"), write(folder / "test/t.jsonl")
    keep(folder)
    machine("b")
    with mirrored([], folder / "new.json", STATE, []):
        (folder / "old.json").unlink()
        write(folder / "new.json")
    assert set(stored()) == {f"{folder}/new.json", f"{folder}/test/t.jsonl"}


def test_without_a_store_paths_are_what_they_are(tmp_path, monkeypatch):
    monkeypatch.delenv(mirror.STORE, raising=False)
    monkeypatch.chdir(tmp_path)
    write(MODEL / "config.json")
    keep(MODEL)
    path = Path(".snakemake/storage/s3/bucket/folder/results/x")
    assert here(path) == path and bring(MODEL) == 0


def test_fetch_brings_texts_or_what_is_asked_for(machine, monkeypatch):
    machine("a")
    for name in ("models/m-1/model.safetensors", "models/m-1/config.json", "report.html", "state/m-1/k/key.json"):
        write(Path("results/e") / name, "{}")
    content.record(MODEL)
    spec = '{"models": [{"name": "tuned", "replicate": "", "folder": "results/e/models/m-1"}], "replicates": [""]}'
    write("results/e/plan/reported.json", spec)
    keep(Path("results"))
    machine("b")
    address = os.environ[mirror.STORE]
    assert "4 files" in fetch(address)
    assert not (MODEL / "model.safetensors").exists() and not STATE.exists()
    assert not content.damaged(MODEL) and tidied(MODEL)["files"] == {"model.safetensors": 2}
    assert os.readlink("results/e/current/tuned") == "../models/m-1"
    assert "3 files" in fetch(address, [MODEL]) and (MODEL / "model.safetensors").exists()
    assert not content.damaged(MODEL) and not tidied(MODEL)
    with pytest.raises(ConsommeError, match="has no results/f"):
        fetch(address, [Path("results/f")])
    with pytest.raises(ConsommeError, match="begin with results/"):
        fetch(address, [Path("models")])


def test_the_pages_of_an_experiment_come_without_its_models(machine):
    machine("a")
    folder = Path("results/e")
    names = ("report.html", "scores.tsv", "tables/models.csv", "cards/soup.md", "claims.jsonl")
    for name in (*names, "models/m-1/config.json", "hypotheses/m-1/x.json"):
        write(folder / name)
    keep(folder)
    machine("b")
    bring_pages(folder)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(names)


def test_texts_of_finished_work_are_light():
    assert light(MODEL / "config.json") and not light(MODEL / "model.safetensors") and not light(STATE / "index.json")


@pytest.mark.parametrize("name", ["results/e/../../../out", "results/e/models/../../x"])
def test_no_name_leads_out(machine, name):
    place = machine("a")
    address = os.environ[mirror.STORE]
    fsspec.filesystem("memory").pipe(f"{address}/{name}", b"x")
    with pytest.raises(ConsommeError, match="leads out of results/e"):
        bring(Path("results/e"))
    assert not list(place.rglob("*"))


def test_what_is_no_store_is_said(machine, monkeypatch):
    machine("a")

    def nowhere(path, address):
        raise FileNotFoundError(address)

    write(MODEL / "config.json")
    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "put_file", lambda self, *given: nowhere(*given))
    with pytest.raises(ConsommeError, match="no such bucket"):
        keep(MODEL)
    with pytest.raises(ConsommeError, match=r"mine: no address; allowed: s3://"):
        fetch("mine")


def test_verify_counts_no_scores_from_corpora_that_stayed_in_the_store(machine, capsys):
    machine("a")
    corpus = Path("results/prepared/c-1")
    for path in (corpus / "rows.arrow", corpus / "prepared.json", Path("results/e/scores.tsv")):
        write(path, "{}")
    content.record(corpus)
    keep(Path("results"))
    machine("b")
    fetch(os.environ[mirror.STORE])
    assert verify(Path("results"))
    assert "not here but in a store, so scores were not counted anew: results/prepared/c-1" in capsys.readouterr().out
