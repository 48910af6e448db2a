"""A stage's code has a version: who changes what a stage computes raises it, who does not says so here."""

import json
import re
from pathlib import Path

import grimp

import consomme
from consomme.common.files import hash_file
from consomme.evaluate import evaluator
from consomme.plan.stages import VERSIONS

KNOWN = Path(__file__).with_name("stages.json")
ROOT = Path(consomme.__file__).parent
# stage -> the modules that its jobs start with; what a model costs is part of the report
ENTRIES = {stage: [f"consomme.{stage}.__main__"] for stage in VERSIONS}
ENTRIES["report"].append("consomme.costs.__main__")


def files() -> dict[str, set[str]]:
    """Stage -> the files of this package that its jobs import, directly and through others, at whatever line."""
    graph = grimp.build_graph("consomme", cache_dir=None)
    found = {}
    for stage, entries in ENTRIES.items():
        modules = set(entries).union(*map(graph.find_upstream_modules, entries))
        modules |= {module.rsplit(".", n)[0] for module in modules for n in range(1, module.count(".") + 1)}  # packages
        found[stage] = {_file(module) for module in modules}
    return found


def _file(module: str) -> str:
    path = "/".join(module.split(".")[1:])
    return f"{path}.py" if (ROOT / f"{path}.py").exists() else f"{path}/__init__.py".lstrip("/")


def hashes() -> dict[str, str]:
    return {file: hash_file(ROOT / file)[:12] for file in sorted(set().union(*files().values()))}


def test_a_changed_stage_has_a_new_version_or_an_acknowledgement():
    """`make acknowledge` writes stages.json anew: after versions were raised, or where results stay the same."""
    known, now = json.loads(KNOWN.read_text()), hashes()
    changed = {file for file, hash in now.items() if known["files"].get(file) != hash}
    affected = {stage: ", ".join(sorted(changed & used)) for stage, used in files().items() if changed & used}
    assert not affected, (
        "code of these stages has changed:\n"
        + "".join(f"  {stage}: {names}\n" for stage, names in affected.items())
        + "raise a stage's version in consomme/plan/stages.py if the same settings now give another result, then "
        "`make acknowledge`"
    )
    assert known["versions"] == VERSIONS, "versions have changed: `make acknowledge`"


def test_a_stage_is_asked_about_all_that_it_imports_and_nothing_else():
    used = files()
    assert [stage for stage in VERSIONS if "evaluate/judge.py" in used[stage]] == ["average", "prune"]
    assert all(
        {"__init__.py", "common/digest.py", "common/stage.py", f"{stage}/__init__.py"} <= used[stage] for stage in used
    )
    assert "costs/stage.py" in used["report"] and "tools/publish.py" not in used["report"]


def test_every_module_that_a_rule_starts_belongs_to_a_stage():
    rules = "".join(path.read_text() for path in (ROOT.parents[1] / "rules").glob("*.smk"))
    started = set(re.findall(r"python -m (consomme\.[a-z_.]+)", rules))
    assert started == {entry.removesuffix(".__main__") for entries in ENTRIES.values() for entry in entries}


def test_cached_answers_are_as_new_as_the_evaluate_stage():
    assert VERSIONS["evaluate"] == evaluator.VERSION, "raise both, or the stage is answered from the cache"


if __name__ == "__main__":
    KNOWN.write_text(json.dumps({"versions": VERSIONS, "files": hashes()}, indent=2) + "\n")
