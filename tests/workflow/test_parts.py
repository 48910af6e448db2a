"""A corpus whose rows several jobs check, as Snakemake runs them."""

from collections import Counter

import pytest

from consomme.plan.load import read
from consomme.plan.plan import Plan

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def configuration(train, alone):
    """Two corpora of the same ninety rows in so many parts, None for whole."""
    source = {"source": "folder", "path": "recordings", "pattern": "{text}_{speaker}_{index}.wav"}
    rows = source | {"where": {"index": {"from": 0, "to": 44}}}
    scratch = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    return {
        "corpora": {
            "train": rows | ({"parts": train} if train else {}),
            "alone": rows | ({"parts": alone} if alone else {}),
            "dev": source | {"where": {"index": {"from": 45, "to": 49}}},
        },
        "experiments": {
            "e": {
                "task": "asr",
                "languages": ["en"],
                "data": {"train": ["train", "alone"], "dev": {"d": "dev"}},
                "models": {"untrained": {"from": {"scratch": {"family": "ctc", **scratch}}}},
            }
        },
    }


@pytest.fixture
def many(empty):
    """A hundred recordings: more than a block for each of three parts."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(1)
    (empty.folder / "recordings").mkdir()
    for word in ("one", "two"):
        for i in range(50):
            wave = rng.normal(0, 0.1, 3000)
            soundfile.write(empty.folder / f"recordings/{word}_ann_{i}.wav", wave, 16000, subtype="PCM_16")
    empty.write(configuration(3, None))
    return empty


def test_parts_are_made_once_and_go_and_their_number_is_no_reason_to_begin_again(many):
    parts = Counter({f"prepare train: part {n} of 3": 1 for n in (1, 2, 3)})
    whole = Counter({f"prepare {name}": 1 for name in ("train", "alone", "dev")})
    # one part is there, as after a run that was killed: it isn't made again
    plan = Plan(read([many.folder / "config.yaml"]))
    (second,) = (f for c in plan.corpora.values() for f in c.part_files(c.parts) if f.endswith("3/2/prepared.json"))
    first = many.run("--", second)
    assert first.jobs == Counter({"prepare train: part 2 of 3": 1})
    made = many.run("--", "corpora")
    assert made.jobs == parts + whole - first.jobs
    assert "90 rows were checked ahead, 0 here" in made.output
    assert not list(many.folder.glob("results/prepared/parts/*/*/*"))
    train, alone = (next(many.folder.glob(f"results/prepared/{name}-*")) for name in ("train", "alone"))
    for name in ("rows.arrow", "skipped.tsv"):
        assert (train / name).read_bytes() == (alone / name).read_bytes()
    # another number, and some where there were none; none where there were some: nothing runs
    for changed in (configuration(7, 2), configuration(None, None)):
        many.write(changed)
        assert many.run("--", "corpora", dry=True).jobs == Counter()
    # what is begun again for another reason is begun in as many parts as are wanted by now
    many.write(configuration(2, None))
    (many.folder / "recordings/one_ann_0.wav").write_bytes((many.folder / "recordings/one_ann_1.wav").read_bytes())
    again = many.run("--", "corpora", dry=True).jobs
    assert again == Counter(
        {f"prepare train: part {n} of 2": 1 for n in (1, 2)} | {"prepare train": 1, "prepare alone": 1}
    )
