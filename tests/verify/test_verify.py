"""`consomme verify`: whatever is damaged in a folder of results is named, with what to remove, and nothing else is."""

import json
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from consomme.common import content
from consomme.common.job import Job
from consomme.common.stage import build_once
from consomme.register import chain
from consomme.verify import verify

RESULTS = Path("results")
DECODING = "0123abcd"
PAIRS = [
    ("the cat sat down", "the cat sat"),
    ("a dog barked", "a dog barked"),
    ("it rained all day long", "it all day"),
]


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A model with its finished work, a corpus, hypotheses, scores, a link and a register, as a run leaves them."""
    import pyarrow as pa

    from consomme.report.write import REPORTED

    monkeypatch.chdir(tmp_path)
    experiment = RESULTS / "e"

    def model(folder, work):
        (folder / "model.safetensors").write_bytes(b"weights" * 1000)
        (folder / "config.json").write_text("{}")
        (folder / "provenance.json").write_text('{"weights": "0", "verb": "train", "seed": 1}')

    def corpus(folder, work):
        rows = {"id": ["0", "1", "2"], "speaker": [None] * 3, "document": [None] * 3, "recordings": [[]] * 3}
        rows |= {"source": [r for r, _ in PAIRS], "target": [r for r, _ in PAIRS]}
        kinds = {"speaker": pa.string(), "document": pa.string(), "recordings": pa.list_(pa.string())}
        table = pa.table({name: pa.array(cells, kinds.get(name)) for name, cells in rows.items()})
        with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        about = {"task": "nmt", "name": "test", "fingerprint": "f", "rows": 3, "languages": ["fr", "en"]}
        (folder / "prepared.json").write_text(json.dumps(about))

    for place, name, build in ((experiment / "models", "base-0a", model), (RESULTS / "prepared", "test-0b", corpus)):
        state = (experiment if build is model else RESULTS / "prepared") / "state" / name
        build_once(Job({}, {}, place / name, state, RESULTS / "cache", 1, "cpu"), {}, build)
    sheet = experiment / f"hypotheses/base-0a/test/t@{DECODING}.jsonl"
    sheet.parent.mkdir(parents=True)
    lines = [{"id": str(i), "reference": r, "hypothesis": h} for i, (r, h) in enumerate(PAIRS)]
    sheet.write_text("".join(json.dumps(line) + "\n" for line in lines))
    entry = {"split": "test", "set": "t", "decoding": DECODING, "path": str(sheet), "n": 3, "corpora": ["test"]}
    index = experiment / "hypotheses/base-0a/0c.json"
    index.write_text(json.dumps({"sets": [entry | {"fingerprint": "f", "content": content.hash_file(sheet)}]}))
    spec = {
        "task": "nmt",
        "metric": "chrf",
        "metrics": ["chrf", "other"],
        "commands": {"other": {"command": ["false"]}},
    }
    spec |= {"normaliser": "verbatim", "decoding_digest": DECODING, "replicates": [""], "languages": ["fr", "en"]}
    spec |= {"sets": {"": {"dev": {}, "test": {"t": ["test"]}}}, "corpora": {"test": "results/prepared/test-0b"}}
    spec["models"] = [{"name": "base", "verb": "train", "replicate": "", "folder": "", "evaluation": str(index)}]
    (experiment / "plan").mkdir()
    (experiment / REPORTED).write_text(json.dumps(spec))
    table(experiment, spec)
    (experiment / "costs.tsv").write_text("model\tbytes\n")
    content.record(experiment, ["scores.tsv", "costs.tsv"])
    (experiment / "current").mkdir()
    (experiment / "current/base").symlink_to("../models/base-0a")
    for number in range(2):
        chain.append(experiment / chain.NAME, {"time": f"2026-01-0{number + 1}", "claims": []})
    return experiment


def table(experiment, spec):
    from consomme.report.evidence.scores import scores
    from consomme.report.outcomes import Outcomes
    from consomme.results.frames import write

    spec = spec | {"metrics": ["chrf"], "commands": {}}
    write(experiment / "scores.tsv", scores(Outcomes(spec, RESULTS / "cache")))


def rewrite(path, before, after):
    """Replace the file by an edited one, as an editor does, which leaves other links to it alone."""
    text = path.read_text()
    assert before in text
    path.unlink()
    path.write_text(text.replace(before, after, 1))


def flip(path):
    """Change a bit in place, in all files that are links to this one, and keep the time."""
    status, found = path.stat(), bytearray(path.read_bytes())
    found[len(found) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(found)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def relink(results):
    (results / "current/base").unlink()
    (results / "current/base").symlink_to("../models/gone-0a")


def rescore(results):
    head, row, *_ = (results / "scores.tsv").read_text().splitlines()
    value = dict(zip(head.split("\t"), row.split("\t"), strict=True))["value"]
    rewrite(results / "scores.tsv", f"\t{value}\t", "\t99.0000\t")


def recorded_anew(results):
    """As one who doesn't want it to be seen."""
    rescore(results)
    content.record(results, ["scores.tsv"])


MODEL, SHEET, INDEX = "models/base-0a", f"hypotheses/base-0a/test/t@{DECODING}.jsonl", "hypotheses/base-0a/0c.json"
HARM = {
    "weights": (lambda r: flip(r / MODEL / "model.safetensors"), "model.safetensors", "rm -r results/e/models/base-0a"),
    "provenance": (lambda r: rewrite(r / MODEL / "provenance.json", "1", "2"), "provenance.json", f"results/e/{MODEL}"),
    "a lost file": (lambda r: (r / MODEL / "config.json").unlink(), "config.json", f"rm -r results/e/{MODEL}"),
    "a record": (lambda r: rewrite(r / MODEL / "content.json", "{", "["), "content.json", f"rm -r results/e/{MODEL}"),
    "a corpus": (
        lambda r: flip(RESULTS / "prepared/test-0b/rows.arrow"),
        "rows.arrow",
        "rm -r results/prepared/test-0b",
    ),
    "hypotheses": (lambda r: rewrite(r / SHEET, "the cat sat", "the cat sits"), SHEET, f"rm results/e/{INDEX}"),
    "lost hypotheses": (lambda r: (r / SHEET).unlink(), SHEET, f"rm results/e/{INDEX}"),
    "an index": (lambda r: rewrite(r / INDEX, "{", ""), INDEX, f"rm results/e/{INDEX}"),
    "scores": (rescore, "scores.tsv: not as it was written", "rm results/e/report.html"),
    "scores and their record": (recorded_anew, "base test t chrf", "rm results/e/report.html"),
    "costs": (lambda r: rewrite(r / "costs.tsv", "bytes", "bites"), "costs.tsv", "rm results/e/costs.tsv"),
    "a link": (relink, "current/base", "rm results/e/report.html"),
    "the register": (lambda r: rewrite(r / chain.NAME, "2026-01-01", "2025-01-01"), "line 1", "nothing makes it anew"),
}


def test_what_is_whole_is_called_so_and_nothing_is_written(results, capsys):
    before = sorted((p, p.stat().st_mtime_ns) for p in RESULTS.rglob("*"))
    assert verify(RESULTS)
    assert "4 models and corpora" in (said := capsys.readouterr().out) and said.endswith("all is whole\n")
    assert sorted((p, p.stat().st_mtime_ns) for p in RESULTS.rglob("*")) == before


@pytest.mark.parametrize("what", HARM)
def test_damage_is_named_with_what_to_remove(results, what, capsys):
    harm, named, remedy = HARM[what]
    harm(results)
    assert not verify(RESULTS)
    lines = capsys.readouterr().out.splitlines()
    found = [(one, other) for one, other in pairwise(lines) if one.startswith("damaged: ")]
    assert any(named in one and remedy in other for one, other in found), lines
    # damage in place is that of all links to the file
    # and an edited score is neither as it was written nor what the hypotheses give
    assert len(found) == (2 if what in ("weights", "a corpus", "scores") else 1), lines


def test_what_a_run_may_remove_at_any_time_is_no_damage(results, capsys):
    """Snakemake removes a job's outputs before it starts the job; caches may go."""
    shutil.rmtree(RESULTS / "cache")
    (results / "costs.tsv").unlink()
    (results / MODEL / "provenance.json").unlink()
    assert verify(RESULTS), capsys.readouterr().out


def test_models_of_before_are_checked_by_their_weights(results, capsys):
    for path in RESULTS.rglob("content.json"):
        path.unlink()
    record = results / MODEL / "provenance.json"
    weights = content.hash_file(results / MODEL / "model.safetensors")
    for path in (record, *results.glob("state/*/*/finished/provenance.json")):
        rewrite(path, '"0"', f'"{weights}"')
    assert verify(RESULTS)
    assert "before hashes of files were recorded" in capsys.readouterr().out
    flip(results / MODEL / "model.safetensors")
    assert not verify(RESULTS)


def test_the_command_tells_by_its_status(results, capsys):
    from typer.testing import CliRunner

    from consomme.cli import app

    def status(*given):
        return CliRunner().invoke(app, ["verify", *given]).exit_code

    assert [status(), status("results"), status("elsewhere")] == [0, 0, 2]
    flip(results / MODEL / "model.safetensors")
    assert status() == 1
