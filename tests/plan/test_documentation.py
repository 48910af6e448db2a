"""What the pages say is so: every example loads, every command, module and link exists; and the site is whole."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from consomme.plan.load import overlay
from consomme.plan.plan import Plan
from consomme.plan.reference import sections

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "results")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "config" / "README.md", *DOCS]
FRAGMENTS = [
    (page, number)
    for page in [ROOT / "config" / "README.md", *DOCS]
    if page.stem != "extending"  # its names are another package's; tests/workflow/test_third_party.py plans with it
    for number in range(len(re.findall("^```yaml\n", page.read_text(), re.M)))
]


def blocks(text):
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory with the folders that the examples name."""
    for run in ("run-1", "run-2"):
        (tmp_path / "trained" / run).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


def completed(block):
    """The configuration that a block stands for: itself, or a fragment laid over the whole one of its experiment."""
    if "models" in block:
        block = {"experiments": {"numbers": block}}
    found = block.get("experiments", {})
    if any("task" in experiment for experiment in found.values()):
        return block
    wholes = [
        one for page in [*DOCS, ROOT / "config" / "README.md"] for one in blocks(page.read_text(encoding="utf-8"))
    ]
    base = next(one for one in wholes if "task" in one.get("experiments", {}).get(next(iter(found), "numbers"), {}))
    return overlay(base, block)


@pytest.mark.parametrize(("page", "number"), FRAGMENTS, ids=lambda value: getattr(value, "stem", value))
def test_every_example_of_a_page_loads(elsewhere, page, number):
    Plan(completed(blocks(page.read_text(encoding="utf-8"))[number]))


def test_every_key_is_described():
    """The reference is made of these descriptions."""
    assert [f"{section.name}.{key.name}" for section in sections() for key in section.keys if not key.description] == []


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


@pytest.mark.slow
def test_the_site_is_whole_and_fetches_nothing(tmp_path):
    """No broken link or anchor, and neither scripts nor fonts nor pictures of other hosts."""
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "train.html", "whisper.html"} <= {page.name for page in pages}
    for page in pages:
        tags = re.findall(r"<(?:script|img|link|iframe)\b[^>]*>", page.read_text(encoding="utf-8"))
        elsewhere = re.compile(r"(?:src|href)=.?(?:https?:)?//")
        assert not [tag for tag in tags if elsewhere.search(tag)], page
