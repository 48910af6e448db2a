"""Every ready configuration plans: the schema takes it, and a dry run finds the jobs that its comments promise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

REPOSITORY = Path(__file__).parents[2]
CONFIGURATIONS = sorted((REPOSITORY / "config").glob("*.yaml"))
TRAININGS = {
    "accent": 3 * (16 + 1 + 1 + 4 + 1 + 1),
    "config": 8 + 8,
    "custom-translator": 3 * (16 + 2),
    "depth": 6 * (1 + 4 + 6 + 1 + 1) + (1 + 4 + 3 * (1 + 6) + 4 + 2 * 6 + 12 + 5 + 5 + 1),
    "digits": 3 * (19 + 19),
    "full-windows": 8,
    "layer-pruning": 3 + 1 + 27 + 1,
    "medical-translator": 3 * (1 + 16 + 1 + 2 + 1),
    "nllb-six-directions": 4,
    "small-whisper": 3 * (4 + 4 + 2 + 1 + 1 + 2),
    "telephone-languages": 3 * (4 + 1 + 1 + 1 + 1),
    "translator-depth": 3 * (1 + 1 + 3 + 1),
    "whisper-swedish": 16 + 2,
    "whisper-tiny": 6 + 1,
}


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads((REPOSITORY / "config" / "schema.json").read_text(encoding="utf-8")))


def as_editors_read(value: Any) -> Any:
    """Editors read YAML 1.2, in which the key `on` is a word; PyYAML makes it true."""
    if isinstance(value, dict):
        return {"on" if key is True else key: as_editors_read(inner) for key, inner in value.items()}
    return [as_editors_read(v) for v in value] if isinstance(value, list) else value


def make_sources(raw: dict[str, Any], root: Path) -> None:
    """The least that each corpus and each given checkpoint needs on the disk for a plan to be made."""
    for node in (node for e in raw["experiments"].values() for node in e["models"].values()):
        if folder := node.get("from", {}).get("folder"):
            (root / folder).mkdir(parents=True)
            (root / folder / "config.json").write_text('{"model_type": "whisper"}', encoding="utf-8")
    usual = {language for e in raw["experiments"].values() for language in e.get("languages", ())}
    for corpus in raw["corpora"].values():
        if "path" not in corpus:
            continue
        path = root / corpus["path"]
        if corpus["source"] == "parallel":
            path.parent.mkdir(parents=True, exist_ok=True)
            for language in {*usual, *corpus.get("languages", ())}:
                path.with_name(f"{path.name}.{language}").write_text(f"{path.name}\n", encoding="utf-8")
        elif corpus["source"] == "common_voice":
            (path / "clips").mkdir(parents=True, exist_ok=True)
            (path / f"{corpus['split']}.tsv").write_text("client_id\tpath\tsentence\n", encoding="utf-8")
        elif corpus["source"] == "folder":
            path.mkdir(parents=True, exist_ok=True)
            (path / re.sub(r"\{\w+\}", "0", corpus["pattern"])).touch()
        elif corpus["source"] == "manifest":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("id\taudio\ttext\tspeaker\tfold\n", encoding="utf-8")
        else:
            raise AssertionError(f"a {corpus['source']} corpus with a path: say here what it needs")


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.stem)
def test_names_its_schema_and_keeps_to_it(file, validator):
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    problems = validator.iter_errors(as_editors_read(yaml.safe_load(text)))
    assert [f"{'.'.join(map(str, p.absolute_path))}: {p.message}" for p in problems] == []


@pytest.mark.workflow
@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.stem)
def test_a_dry_run_finds_its_trainings(file, tmp_path):
    raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    make_sources(raw, tmp_path / "data")
    overlay = tmp_path / "here.yaml"
    overlay.write_text(yaml.safe_dump({"data_root": str(tmp_path / "data")}), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "2", "--quiet", "rules", "reason", "host"]
    command += ["--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(tmp_path)]
    command += ["--configfile", str(file), str(overlay)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", said, flags=re.MULTILINE))
    assert int(jobs["train_model"]) == TRAININGS[file.stem], jobs
    assert int(jobs["report_experiment"]) == len(raw["experiments"])
