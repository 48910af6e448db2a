"""A run of a sweep with optuna: it is trained with the values that its study says."""

import json
from dataclasses import replace

import pytest

from consomme.common.errors import ConsommeError
from consomme.train import stage, trials


def study(folder, *following):
    folder.mkdir(parents=True, exist_ok=True)
    space = {
        "learning_rate": {"path": ["settings", "learning_rate"]},
        "augment.spec_augment": {"path": ["settings", "augment", "spec_augment"]},
        "data.share": {"path": ["share"]},
    }
    (folder / "provenance.json").write_text(json.dumps({"chosen": {"study": {"space": space, "next": following}}}))
    return folder


def of_study(plain, folder, place):
    spec = plain.spec | {"trial": {"number": 7, "place": place}}
    return replace(plain, spec=spec, inputs={**plain.inputs, "study/tuned/best": folder})


FIRST = {"learning_rate": 0.01, "augment.spec_augment": None, "data.share": 0.5}
SECOND = {"learning_rate": 0.02, "augment.spec_augment": {"time_masks": 1}, "data.share": 1.0}


@pytest.fixture
def plain(tmp_path, recogniser, tones, job):
    return job(tmp_path / "out", recogniser, {"tones": tones}, max_steps=2)


def test_each_place_of_a_generation_has_its_own_values(plain, tmp_path):
    made = of_study(plain, study(tmp_path / "study", FIRST, SECOND), 1)
    found = trials.settled(made).spec
    assert (found["settings"]["learning_rate"], found["share"]) == (0.02, 1.0)
    assert found["settings"]["augment"]["spec_augment"] == {"time_masks": 1}
    assert found["trial"] == {"number": 7, "values": SECOND}
    assert (
        made.spec["settings"]["learning_rate"] == plain.spec["settings"]["learning_rate"]
    )  # the job itself is as it was
    assert trials.settled(plain) is plain


def test_what_is_kept_depends_on_the_values_and_not_on_the_rest_of_the_study(plain, tmp_path):
    def key(*following, place=0):
        return stage.identity(trials.settled(of_study(plain, study(tmp_path / "study", *following), place)))

    assert key(FIRST, SECOND) == key(FIRST) == key(SECOND, FIRST, place=1)
    assert key(SECOND) != key(FIRST)


def test_a_trial_without_its_study_says_so(plain):
    made = replace(plain, spec=plain.spec | {"trial": {"number": 7, "place": 0}})
    with pytest.raises(ConsommeError, match="one study/NODE is needed"):
        stage.run(made)


def test_the_values_stand_in_the_settings_and_in_the_provenance(plain, tmp_path):
    stage.run(of_study(plain, study(tmp_path / "study", FIRST), 0))
    record = json.loads((plain.out / "provenance.json").read_text())
    assert (record["settings"]["learning_rate"], record["share"]) == (0.01, 0.5)
    assert record["trial"] == {"number": 7, "values": FIRST}


def test_a_trial_is_found_again_when_another_study_gives_it_the_same_values(plain, tmp_path, capsys):
    """The folder that a rule gives has the digest of the study in its name."""
    for study_digest in ("one", "other"):
        made = of_study(plain, study(tmp_path / study_digest, FIRST), 0)
        made = replace(made, spec=made.spec | {"label": {"node": "tuned"}})
        places = {"state": tmp_path / "state" / f"tuned-{study_digest}", "out": tmp_path / f"tuned-{study_digest}"}
        stage.run(replace(made, **places))
    assert "found, nothing to compute" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "state").iterdir()] == [f"tuned-{plain.spec['digest']}"]
