"""Augmentation of whole examples: the same for each utterance, joined utterances, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from consomme.common.errors import ConsommeError
from consomme.train.augment import (
    TABLE,
    Augmenter,
    Context,
    concatenate,
    noise,
    reverb,
    spec_augment,
    speed,
    subwords,
    words,
)

HERE = Context(rate=16000, stride=2, root=Path())
MASKS = {"time_masks": 2, "time_width": 0.2, "frequency_masks": 2, "frequency_width": 4}


def test_the_random_numbers_of_an_utterance_depend_on_seed_turn_corpus_and_id_only():
    def first(seed=1, turn=0, corpus="a", identity="x"):
        return Augmenter({}, HERE, seed).generator(turn, corpus, identity).random()

    assert first() == first()
    assert len({first(), first(seed=2), first(turn=1), first(corpus="b"), first(identity="y")}) == 5


SPEECH = {
    "concatenate": {"utterances": 3, "seconds": 0.95, "probability": 0.5},
    "speed": [0.9, 1.0, 1.1],
    "pitch": [-2, 0, 2],
    "gain": [-6, 6],
    "reverb": {"folder": None, "rt60": [0.1, 0.3], "probability": 0.5},
    "noise": {"folder": None, "snr": [5, 20], "probability": 0.5},
    "spec_augment": {"time_masks": 1, "time_width": 0.2, "frequency_masks": 1, "frequency_width": 4, "time_warp": 2},
}
TEXT = {
    "concatenate": {"utterances": 2, "seconds": 30.0, "probability": 0.5},
    "word_dropout": 0.2,
    "subwords": {"sides": ["source", "target"], "alpha": 0.3, "dropout": 0.1},
}


def examples_of(name, parent, folder, cache, augment, speakers=None, usable=None, fastest=1.0):
    """The training examples of one corpus; `speakers`: instead of the corpus's own."""
    from dataclasses import replace

    from consomme.data.prepared import Rows
    from consomme.families import family_named, load
    from consomme.train.examples import Examples, open_corpus

    family = family_named(name)
    processor = family.processor(parent)
    rows = Rows.open({"c": folder})
    if speakers:
        rows.__dict__["speakers"] = speakers
    corpus = open_corpus(
        family, processor, load(parent), rows, share=1.0, share_seed=0, languages=["en", "fr"], cache=cache,
        processor_key=name, labels_key=name, fastest=fastest,
    )  # fmt: skip
    if usable is not None:
        corpus = replace(corpus, usable=np.array(usable))
    context = Context(
        stride=getattr(getattr(processor, "feature_extractor", None), "stride", 1),
        subwords=lambda side: family.subwords(processor, side),
    )
    return Examples(family, processor, {"c": corpus}, Augmenter(augment, context, 1) if augment is not None else None)


def test_every_augmentation_is_tried_here():
    assert set(SPEECH) | set(TEXT) == set(TABLE)


def test_a_configuration_has_a_key_for_every_augmentation():
    from consomme.plan.schema import Augment

    assert list(Augment.model_fields) == list(TABLE)


@pytest.mark.parametrize("task", ["asr", "nmt"])
def test_workers_order_and_repetition_change_nothing(task, tmp_path, recogniser, tones, translator, pairs):
    from torch.utils.data import DataLoader

    asr = task == "asr"
    given = ("ctc", recogniser, tones, tmp_path, SPEECH) if asr else ("marian", translator, pairs, tmp_path, TEXT)
    examples = examples_of(*given)
    keys = [(turn, "c", row) for turn in (0, 1) for row in range(24)]
    inline = {key: examples[key] for key in keys}
    loader = DataLoader(examples, sampler=keys[::-1], batch_size=None, num_workers=2)
    changed = 0
    for key, example in zip(keys[::-1], loader, strict=True):
        assert np.array_equal(example["features"], inline[key]["features"]), key
        assert list(example["labels"]) == list(inline[key]["labels"]) and example["seconds"] == inline[key]["seconds"]
        cached = examples.corpora["c"].features[key[2]]
        changed += example["features"].shape != cached.shape or not np.array_equal(example["features"], cached)
    assert changed > 30
    assert any(not np.array_equal(inline[0, "c", r]["features"], inline[1, "c", r]["features"]) for r in range(24))


def test_what_was_built_travels_to_another_process(tmp_path, recogniser, tones, translator, pairs):
    import pickle

    for given in (("ctc", recogniser, tones, tmp_path, SPEECH), ("marian", translator, pairs, tmp_path, TEXT)):
        examples = examples_of(*given)
        expected = [examples[0, "c", row] for row in range(8)]
        examples.augmenter = pickle.loads(pickle.dumps(examples.augmenter))
        for row in range(8):
            found = examples[0, "c", row]
            assert np.array_equal(found["features"], expected[row]["features"])
            assert list(found["labels"]) == list(expected[row]["labels"])


def test_joined_utterances_have_joined_transcripts_and_stay_within_seconds(tmp_path, recogniser, tones):
    augment = {"concatenate": {"utterances": 3, "seconds": 0.75, "probability": 1.0}}
    examples = examples_of("ctc", recogniser, tones, tmp_path, augment)
    corpus, processor = examples.corpora["c"], examples.processor
    texts = corpus.rows.targets
    joined = 0
    for row in range(48):
        found = examples[0, "c", row]
        said = processor.tokenizer.decode(found["labels"], group_tokens=False).split()
        assert found["seconds"] <= 0.75 + 1e-9 and said[0] == texts[row]
        assert sum(map(len, said)) == round(found["seconds"] * 10)  # a letter lasts 0.1 s
        assert len(found["features"]) >= sum(corpus.lengths[[texts.index(t) for t in said]])
        joined += len(said) > 1
    assert joined > 20


def test_only_rows_to_train_on_and_of_the_same_speaker_are_joined(tmp_path, recogniser, tones):
    speakers = [f"s{i % 3}" for i in range(48)]
    augment = {"concatenate": {"utterances": 4, "seconds": 30.0, "probability": 1.0}}
    examples = examples_of("ctc", recogniser, tones, tmp_path, augment, speakers, usable=range(12))
    corpus = examples.corpora["c"]
    followers = set()
    for turn in range(30):
        together = examples._together(
            examples.augmenter, "c", 4, examples.augmenter.generator(turn, "c", corpus.ids[4])
        )
        assert together[0] == 4 and len(together) == len(set(together))
        followers |= set(together[1:])
    assert followers == {1, 7, 10}


def test_a_row_alone_of_its_speaker_stays_alone(tmp_path, recogniser, tones):
    augment = {"concatenate": {"utterances": 4, "seconds": 30.0, "probability": 1.0}}
    alone = examples_of("ctc", recogniser, tones, tmp_path, augment, [f"s{i}" for i in range(48)])
    plain = examples_of("ctc", recogniser, tones, tmp_path, None)
    found, expected = alone[0, "c", 3], plain[0, "c", 3]
    assert found["features"] is not None and np.array_equal(found["features"], expected["features"])
    assert list(found["labels"]) == list(expected["labels"]) and found["seconds"] == expected["seconds"]


def test_what_does_not_fit_joined_is_left_alone(tmp_path, recogniser, tones, translator, pairs):
    from dataclasses import replace

    augment = {"concatenate": {"utterances": 2, "seconds": 30.0, "probability": 1.0}}
    examples = examples_of("ctc", recogniser, tones, tmp_path, augment)
    tight = replace(examples.corpora["c"], room=np.array([len(x) for x in examples.corpora["c"].labels]))
    examples.corpora = {"c": tight}  # CTC: room for each by itself, none for the space between two
    assert all(list(examples[0, "c", r]["labels"]) == list(tight.labels[r]) for r in range(10))
    examples = examples_of("ctc", recogniser, tones, tmp_path, augment)
    examples.augmenter.longest = 16000 * 6 // 10  # a window of 0.6 s
    found = [examples[0, "c", r]["seconds"] for r in range(48)]
    assert max(found) <= 0.6 + 1e-9 and any(s > examples.corpora["c"].seconds[r] for r, s in enumerate(found))
    examples = examples_of("marian", translator, pairs, tmp_path, augment)
    long = [examples[0, "c", r] for r in range(64)]
    assert any(len(e["labels"]) > len(examples.corpora["c"].labels[r]) for r, e in enumerate(long))
    assert all(len(e["labels"]) <= 32 and len(e["features"]) <= 32 for e in long)  # the model's positions


def test_sentences_are_joined_on_both_sides(tmp_path, translator, pairs):
    augment = {"concatenate": {"utterances": 2, "seconds": 30.0, "probability": 1.0}}
    examples = examples_of("marian", translator, pairs, tmp_path, augment)
    rows, processor = examples.corpora["c"].rows, examples.processor
    known = dict(zip(rows.sources, rows.targets, strict=True))
    joined = 0
    for row in range(20):
        found = examples[0, "c", row]
        source, target = (processor.decode(list(found[k]), skip_special_tokens=True) for k in ("features", "labels"))
        assert source.startswith(rows.sources[row]) and target.startswith(rows.targets[row])
        rest = source[len(rows.sources[row]) :].strip()
        joined += bool(rest)
        assert target[len(rows.targets[row]) :].strip() == known.get(rest, "")
    assert joined > 10


def test_texts_cut_too_finely_for_the_model_are_cut_as_ever(tmp_path, translator, pairs):
    augment = {"subwords": {"sides": ["source", "target"], "alpha": 1e-9, "dropout": 0.1}}
    examples = examples_of("marian", translator, pairs, tmp_path, augment)
    corpus = examples.corpora["c"]
    found = [examples[0, "c", r] for r in range(64)]
    assert all(len(e["labels"]) <= 32 and len(e["features"]) <= 32 for e in found)
    assert any(len(e["features"]) > len(corpus.features[r]) for r, e in enumerate(found))
    only = examples_of(
        "marian", translator, pairs, tmp_path, {"subwords": {**augment["subwords"], "sides": ["source"]}}
    )
    assert all(list(only[0, "c", r]["labels"]) == list(corpus.labels[r]) for r in range(20))


def test_what_cannot_be_done_is_said(tmp_path):
    with pytest.raises(ConsommeError, match="no recording there"):
        noise.build({"folder": "none", "snr": [5, 20], "probability": 1.0}, Context(16000, 1, tmp_path))
    with pytest.raises(ConsommeError, match="lower ratio first"):
        noise.build({"folder": None, "snr": [20, 5], "probability": 1.0}, HERE)
    with pytest.raises(ConsommeError, match="factors between"):
        speed.build([0.0], HERE)
    with pytest.raises(ConsommeError, match="a fraction of the frames"):
        spec_augment.build({**MASKS, "time_width": 30}, HERE)
    with pytest.raises(ConsommeError, match=r"augment.reverb.folder.*no recording there"):
        reverb.build({"folder": "none", "rt60": [0.1, 0.2], "probability": 1.0}, Context(16000, 1, tmp_path))
    with pytest.raises(ConsommeError, match="shorter time first"):
        reverb.build({"folder": None, "rt60": [0.2, 0.1], "probability": 1.0}, HERE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 16000)
    with pytest.raises(ConsommeError, match="remove it from the folder"):
        noise.build({"folder": ".", "snr": [5, 20], "probability": 1.0}, Context(16000, 1, tmp_path))
    with pytest.raises(ConsommeError, match="at least 2"):
        concatenate.build({"utterances": 1, "probability": 1.0}, HERE)
    with pytest.raises(ConsommeError, match="above 0 and below 1"):
        words.build(1.0, HERE)
    with pytest.raises(ConsommeError, match="gives no scores of its subwords"):
        subwords.build({"sides": ["source"], "alpha": 0.1, "dropout": 0.1}, Context(subwords=lambda side: None))
