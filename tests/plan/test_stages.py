"""A stage's source has a version: who changes what a stage computes raises it, who does not says so here."""

import json
from pathlib import Path

import consomme
from consomme.common.digest import digest
from consomme.common.files import hash_file
from consomme.evaluate import evaluator
from consomme.plan.stages import VERSIONS

KNOWN = Path(__file__).with_name("stages.json")


def sources() -> dict[str, str]:
    """Stage -> a hash of its Python files; what several stages share counts as one more."""
    root = Path(consomme.__file__).parent
    folders = [*VERSIONS, "families"]
    return {
        name: digest({str(f.relative_to(root)): hash_file(f) for f in sorted((root / name).rglob("*.py"))})
        for name in folders
    }


def test_a_changed_stage_has_a_new_version_or_an_acknowledgement():
    """`make acknowledge` writes stages.json anew: after a version was raised, or where results stay the same."""
    known = json.loads(KNOWN.read_text())
    changed = [name for name, hash in sources().items() if known["sources"].get(name) != hash]
    assert not changed, (
        f"the source of {', '.join(changed)} has changed: raise its version in consomme/plan/stages.py if the same "
        "settings now give another result, then `make acknowledge`"
    )
    assert known["versions"] == VERSIONS, "versions have changed: `make acknowledge`"


def test_cached_answers_are_as_new_as_the_evaluate_stage():
    assert VERSIONS["evaluate"] == evaluator.VERSION, "raise both, or the stage is answered from the cache"


if __name__ == "__main__":
    KNOWN.write_text(json.dumps({"versions": VERSIONS, "sources": sources()}, indent=2) + "\n")
