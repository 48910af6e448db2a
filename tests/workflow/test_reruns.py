"""What reruns after a change, and what does not: each row of the design's table, as jobs that Snakemake starts."""

import os
import re
import shutil
import stat
from collections import Counter
from pathlib import Path

import pytest
import yaml

from consomme.common.files import hash_file
from consomme.plan.load import read
from consomme.plan.plan import Plan

from .conftest import UMASK  # isort: skip

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

TABLES = Counter({"measure size and speed of e's models": 1, "report e": 1})
ALL_EVALUATED = Counter(
    {"evaluate base": 1, "evaluate tuned": 3, "evaluate soup": 1, "evaluate mean": 1, "evaluate half": 1}
)


def jobs(**counts):
    return Counter({name.replace("_", " "): n for name, n in counts.items()})


def models(place):
    """Every model's weights: path -> inode. What is written anew has another; the time tells nothing, for `best` is a link
    to the weights that it chose, and Snakemake touches what a job has made."""
    files = (place.folder / "results/e/models").glob("*/model.safetensors")
    return {str(f.relative_to(place.folder)): f.stat().st_ino for f in files}


def weights(place):
    """Every model's content: path -> hash."""
    return {path: hash_file(place.folder / path) for path in models(place)}


def test_the_first_run_makes_everything_once(finished):
    plan = Plan(read([finished.folder / "config.yaml"]))
    assert len(models(finished)) == 8
    made = [p for p in (finished.folder / "results").rglob("*") if not p.is_symlink()]
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in made}
    assert {p: oct(m) for p, m in modes.items() if m != _mode(p, finished.folder / "results") & ~UMASK} == {}
    assert all((finished.folder / m.marker).exists() for m in plan.models.values())
    links = {
        str(p.relative_to(finished.folder / "results/e/current")) for p in _links(finished.folder / "results/e/current")
    }
    runs = {"tuned/learning_rate=0.001", "tuned/learning_rate=0.002", "tuned/best"}
    assert links == {"untrained", "base", "soup", "mean", "half"} | runs


def _mode(path, results):
    """Without the umask. Models, prepared corpora and what is found again of them can't be written in place."""
    if path.is_dir():
        return 0o777
    parts = path.relative_to(results).parts
    kept = "finished" in parts or parts[1] == "models" or (parts[0] == "prepared" and len(parts) == 3)
    return 0o444 if kept and parts[1] not in ("logs", "benchmarks") else 0o666


def _links(folder):
    return [p for p in folder.rglob("*") if p.is_symlink()]


def test_nothing_reruns_for_what_changes_no_result(place, tmp_path):
    """Comments, key order, number spelling, fewer cores; a fresh clone of the code; files touched."""
    config = place.config
    tuned = config["experiments"]["e"]["models"]["tuned"]
    tuned["sweep"]["grid"]["learning_rate"] = ["0.001", "1/500"]
    tuned["max_steps"] = "2"
    config = {key: config[key] for key in reversed(config)}
    place.write("# a comment\n" + yaml.safe_dump(config, sort_keys=True))
    place.repository = clone_of(place.repository, tmp_path)
    assert place.run("--cores", "1", dry=True).jobs == Counter()
    for file in [*place.folder.rglob("*.json"), *place.folder.rglob("*.safetensors"), *place.folder.rglob("*.wav")]:
        os.utime(file)
    assert place.run(dry=True).jobs == Counter()


def test_nothing_reruns_for_what_is_speed_only(place):
    """Another profile, other threads, memory and devices for the jobs; caches deleted."""
    shutil.rmtree(place.folder / "results/cache")
    more = ("--set-threads", "train_model=2", "--set-resources", "train_model:gpu=1", "train_model:mem_mb=9000")
    assert place.run(*more, dry=True).jobs == Counter()
    assert place.run(profile="slurm", dry=True).jobs == Counter()


def test_nothing_reruns_without_snakemakes_memory(place):
    shutil.rmtree(place.folder / ".snakemake")
    assert place.run(dry=True).jobs == Counter()


def clone_of(repository, tmp_path):
    """A fresh copy of the code, every file of it new."""
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns(".git", ".venv", "results", ".snakemake", "tests", "__pycache__")
    shutil.copytree(repository, clone, ignore=ignored, symlinks=True)
    for file in clone.rglob("*"):
        os.utime(file)
    return clone


def test_one_learning_rate_changed_and_changed_back(place):
    before = models(place)
    place.change(models__tuned__sweep={"grid": {"learning_rate": ["1e-3", "3e-3"]}})
    changed = place.run()
    after_it = jobs(train_tuned=1, average_tuned=1, average_soup=1, average_mean=1, prune_half=1)
    evaluated = jobs(evaluate_tuned=2, evaluate_soup=1, evaluate_mean=1, evaluate_half=1)
    assert changed.jobs == after_it + evaluated + TABLES
    assert {path: time for path, time in models(place).items() if path in before} == before
    runs = place.folder / "results/e/current/tuned"
    assert {p.name for p in runs.iterdir()} == {"best", "learning_rate=0.001", "learning_rate=0.003"}
    # back again: nothing but tables and report
    place.change(models__tuned__sweep={"grid": {"learning_rate": ["1e-3", "2e-3"]}})
    assert place.run(dry=True).jobs == TABLES


def test_a_value_added_to_a_sweep(place):
    place.change(models__tuned__sweep={"grid": {"learning_rate": ["1e-3", "2e-3", "3e-3"]}})
    made = jobs(train_tuned=1, average_tuned=1, average_soup=1, average_mean=1, prune_half=1)
    evaluated = jobs(evaluate_tuned=2, evaluate_soup=1, evaluate_mean=1, evaluate_half=1)
    # with three runs it can be asked whether they share a basin
    assert place.run(dry=True).jobs == made + evaluated + jobs(landscape=1) + TABLES


def test_a_nodes_own_setting(place):
    place.change(models__half__layers={"encoder": {"keep": [2]}})
    assert place.run(dry=True).jobs == jobs(prune_half=1, evaluate_half=1) + TABLES


def test_an_augmentation_on_the_fly(place):
    """The runs that use it, and on; no prepared corpus."""
    place.change(models__tuned__augment={"speed": [0.9, 1.1]})
    made = jobs(train_tuned=2, average_tuned=1, average_soup=1, average_mean=1, prune_half=1)
    evaluated = jobs(evaluate_tuned=3, evaluate_soup=1, evaluate_mean=1, evaluate_half=1)
    assert place.run(dry=True).jobs == made + evaluated + TABLES


def test_a_decoding_setting(place):
    """Hypotheses, scores, report; a model only where its choice rests on decoding."""
    place.change(decoding={"max_new_tokens": 64})
    assert place.run(dry=True).jobs == jobs(average_tuned=1, average_soup=1) + ALL_EVALUATED + TABLES


def test_a_test_set_added(place):
    """Its preparation, its hypotheses, the tables; no model and no other hypotheses."""
    said = {p: p.stat().st_mtime_ns for p in place.folder.glob("results/e/hypotheses/*/*/*.jsonl")}
    before = models(place)
    place.change(data__test={"t": "test", "o": "other"})
    work = place.run()
    assert work.jobs == jobs(prepare_other=1, report_e=1) + ALL_EVALUATED
    assert {p: p.stat().st_mtime_ns for p in said} == said and models(place) == before
    new = {p.name.partition("@")[0] for p in place.folder.glob("results/e/hypotheses/*/test/*.jsonl")}
    assert new == {"t", "o"}


def test_the_bytes_of_a_corpus(place):
    """New bytes with the old sound: what follows may start, but finds its finished result and computes nothing."""
    import soundfile

    file = place.folder / "recordings/one_ann_0.wav"
    wave, rate = soundfile.read(file, dtype="int16")
    before, old = weights(place), file.read_bytes()
    soundfile.write(file, wave, rate, format="WAVEX", subtype="PCM_16")
    assert file.read_bytes() != old
    work = place.run()
    assert work.jobs["prepare train"] == 1 and work.found > 0
    # dev and test are read from the same folder, but hold none of the changed files
    assert work.jobs["prepare test"] == 0
    assert weights(place) == before
    trained = [line for line in work.output.splitlines() if "step 2/2" in line]
    assert not trained
    # other sound: models are replaced in place
    soundfile.write(file, wave[::-1], rate, subtype="PCM_16")
    again = place.run("--", *(str(p) for p in _markers(place, "base")))
    assert "step 2/2" in again.output and set(weights(place)) == set(before) and weights(place) != before


def test_a_starting_point_or_a_table_that_is_replaced_by_an_older_one(place):
    """Neither time nor size tells: bytes do."""
    config = place.config
    shutil.copytree(_folder(place, "untrained"), place.folder / "given")
    config["experiments"]["e"]["models"] = {"base": {"from": {"folder": "given"}}}
    config["experiments"]["e"]["claims"] = []
    place.write(config)
    place.run("--", str(_markers(place, "base")[0]))
    assert place.run("--", str(_markers(place, "base")[0]), dry=True).jobs == Counter()
    vocabulary = place.folder / "given/vocab.json"
    text = vocabulary.read_text()
    vocabulary.unlink()
    vocabulary.write_text(text + "\n")
    os.utime(vocabulary, (1e9, 1e9))
    assert place.run("--", str(_markers(place, "base")[0]), dry=True).jobs == jobs(start_base=1)


def test_damage_is_refused_and_what_verify_says_heals_it(place):
    """A flipped bit in a model, in all files that are links to it; an edited provenance of another."""
    from typer.testing import CliRunner

    from consomme.cli import app

    def verified():
        found = CliRunner().invoke(app, ["verify", str(place.folder / "results")])
        return found.exit_code, re.findall(r"rm (-r )?(\S+), and run again", found.output)

    assert verified() == (0, [])
    before = weights(place)
    mean = _folder(place, "mean")
    for path in (mean, *place.folder.glob(f"results/e/state/{mean.name}/*/finished")):
        weighted = path / "model.safetensors"
        weighted.chmod(0o644)
        changed = bytearray(weighted.read_bytes())
        changed[-1] ^= 1
        weighted.write_bytes(changed)
    place.change(models__half__layers={"encoder": {"keep": [2]}})
    refused = place.run(check=False)
    assert f"results/e/models/{mean.name}/model.safetensors: damaged" in refused.output
    status, remedies = verified()
    assert status == 1 and len(remedies) == 2
    shutil.rmtree(mean)
    healed = place.run()
    assert "damaged, and made anew" in healed.output and verified() == (0, [])
    assert before.items() <= weights(place).items()


def _folder(place, node):
    return place.folder / _markers(place, node)[0].parent


def _markers(place, node):
    plan = Plan(read([place.folder / "config.yaml"]))
    return [Path(m.marker) for m in plan.models.values() if m.node == node]


def test_an_experiment_added(place):
    config = place.config
    config["experiments"]["f"] = yaml.safe_load(yaml.safe_dump(config["experiments"]["e"]))
    place.write(config)
    work = place.run(dry=True)
    assert work.jobs and all(" f" in name for name in work.jobs), work.jobs


def test_code_that_changes_a_stages_results(place, tmp_path):
    clone = clone_of(place.repository, tmp_path)
    stages = clone / "scripts/consomme/plan/stages.py"
    raised = re.sub(r'"prune": (\d+)', lambda found: f'"prune": {int(found[1]) + 1}', stages.read_text())
    stages.write_text(raised)
    place.repository = clone
    assert place.run(dry=True).jobs == jobs(prune_half=1, evaluate_half=1) + TABLES
