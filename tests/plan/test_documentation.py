"""What README.md and config/README.md say is so: every key is explained, every example loads, every command exists."""

import json
import re
from pathlib import Path

import pytest
import yaml

from consomme.families import TABLE as FAMILIES
from consomme.plan.load import overlay
from consomme.plan.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "config" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(text):
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def words_of(text):
    """What stands in backquotes: `by`, and all of `{lose_at_most: 0.5, of: MODEL}`."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return {word for code in re.findall(r"`([^`\n]+)`", prose) for word in re.findall(r"\w+", code)}


def properties(schema):
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties":
                yield from value
            yield from properties(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from properties(value)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory with the folders that the examples name."""
    for run in ("run-1", "run-2"):
        (tmp_path / "trained" / run).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


def test_every_key_is_explained():
    schema = json.loads((ROOT / "config" / "schema.json").read_text(encoding="utf-8"))
    assert sorted(set(properties(schema)) - words_of(GUIDE)) == []


@pytest.mark.parametrize("name", list(FAMILIES))
def test_every_setting_of_a_family_is_explained_with_its_default(name):
    family = FAMILIES[name]
    (row,) = (line for line in GUIDE.splitlines() if line.startswith(f"| `{name}` ("))
    for key, value in {**family.scratch, **family.tokenizer}.items():
        spelt = {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value).removesuffix(".0"))
        assert f"`{key}` {spelt}" in row


@pytest.mark.parametrize("number", range(len(blocks(GUIDE))))
def test_every_example_loads(elsewhere, number):
    first, block = blocks(GUIDE)[0], blocks(GUIDE)[number]
    if "models" in block:
        block = {"experiments": {"numbers": block}}
    whole = {e["task"] for e in block.get("experiments", {}).values() if "task" in e}
    Plan(block if whole else overlay(first, block))


def test_the_readmes_example_loads():
    for block in blocks(README):
        Plan(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert named <= targets
    assert named or page.name != "README.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_links_exist(page):
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"python -m (consomme(?:\.[a-z_]+)+)", text):
        place = ROOT / "scripts" / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module
    for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link


def test_the_conda_environment_has_the_pins_of_requirements():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    environment = yaml.safe_load((ROOT / "envs" / "train.yaml").read_text(encoding="utf-8"))
    assert environment["dependencies"][-1] == {"pip": pins}
