"""What pyproject.toml asks for is what the code imports, and requirements.txt pins all of it."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import consomme
from consomme.common.provenance import versions

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"]]
# extras that the lock leaves out: trackers with a service or server of their own, stores in a cloud, and what wants a GPU
UNPINNED = {"azure", "bitsandbytes", "gcs", "mlflow", "s3", "trackio", "wandb"}
EXTRAS = [
    Requirement(line)
    for extra, lines in PROJECT["optional-dependencies"].items()
    if extra not in UNPINNED
    for line in lines
]
# not imported: Snakemake is started, transformers imports two of them, the tables may
NOT_IMPORTED = {"accelerate", "pandas", "protobuf", "snakemake"}


@cache
def pins():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(pin[1]): pin[2] for pin in found}


def hashed():
    """Name -> version, platform if it isn't for all, and number of hashes, as envs/hashes.txt has them."""
    text = (ROOT / "envs" / "hashes.txt").read_text(encoding="utf-8")
    found = re.findall(r"^([a-z0-9.-]+)==(\S+)( ; .*?)? \\\n((?: .*\n)+)", text, re.MULTILINE)
    return {
        name: (version, of, len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", lines)))
        for name, version, of, lines in found
    }


def imported():
    """The top-level modules that the library imports, wherever in a file."""
    found = set()
    for file in (ROOT / "scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"consomme"} - UNPINNED


@pytest.mark.parametrize("requirement", DIRECT + EXTRAS, ids=str)
def test_the_pin_is_within_what_the_project_asks_for(requirement):
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_extras_without_pins_are_extras():
    assert set(PROJECT["optional-dependencies"]) > UNPINNED


def test_every_pin_has_hashes_and_what_is_more_is_for_one_platform():
    found = hashed()
    assert all(count > 0 for *_, count in found.values())
    assert {name: found[name][0] for name in pins()} == pins()
    assert [name for name in found.keys() - pins().keys() if "platform" not in found[name][1]] == []


def test_the_locks_have_no_addresses():
    for name in ("requirements.txt", "envs/hashes.txt", "envs/tools.txt"):
        assert "://" not in (ROOT / name).read_text(encoding="utf-8")


def test_what_the_code_imports_is_asked_for():
    packages = packages_distributions()
    needed = {canonicalize_name(packages[module][0]) for module in imported()}
    asked = {canonicalize_name(r.name) for r in DIRECT + EXTRAS}
    assert needed - asked == set()


def test_nothing_is_asked_for_in_vain():
    packages = {canonicalize_name(p) for module in imported() for p in packages_distributions()[module]}
    assert {canonicalize_name(r.name) for r in DIRECT} - packages <= NOT_IMPORTED


def test_the_version_stands_in_one_place():
    assert consomme.__version__ == PROJECT["version"]
    assert version("consomme") == PROJECT["version"]


def test_provenance_has_the_version_too():
    assert versions()["consomme"] == consomme.__version__
