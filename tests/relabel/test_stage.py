"""Corpora that tiny models label: what is said, how sure they are, what stays, what is done again."""

import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.common.job import Job
from consomme.data.overlap import overlap
from consomme.data.prepare import run as prepare
from consomme.data.prepared import Rows
from consomme.evaluate.evaluator import Evaluator, Label
from consomme.families import family_named, load
from consomme.families.ensemble import ensemble
from consomme.relabel import stage

SOURCES = {
    "nmt": {"source": "generated", "generator": "dosage", "domain": "general", "split": "train", "size": 12, "seed": 1},
    "asr": {"source": "generated", "generator": "spoken-numbers", "domain": "clean", "split": "train", "size": 7, "seed": 1},
}  # fmt: skip
LANGUAGES = {"nmt": ["en", "fr"], "asr": ["en"]}
FAMILIES = {
    "marian": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16},
    "ctc": {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16},
    "whisper": {"window": 10, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16},
}
SETTINGS = {"side": "target", "tag": None, "keep": {}, "normaliser": "verbatim"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Prepared corpora, and for each family two loud models of one tokenizer."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("made")
    corpora, models = {}, {}
    for task, corpus in SOURCES.items():
        spec = {"task": task, "languages": LANGUAGES[task], "name": "train", "label": {"corpus": "train"},
                "corpus": {"sampling_rate": 16000, **corpus}, "inputs": []}  # fmt: skip
        corpora[task] = root / task
        prepare(Job(spec, {}, corpora[task], root / "state" / task, root / "cache", 1, "cpu"))
    for name, settings in FAMILIES.items():
        family = family_named(name)
        rows = Rows.open([corpora[family.task]])
        texts = [*rows.targets, *(rows.sources if family.task == "nmt" else [])]
        models[name] = []
        for seed in (1, 2):
            folder = root / name / str(seed)
            tokenizer = {"vocab_size": 90} if name == "marian" else {}
            family.create(folder, settings, tokenizer, lambda t=texts: iter(t), ["en", "fr"], seed)
            loud(folder, seed)
            models[name].append(folder)
    return SimpleNamespace(corpora=corpora, models=models)


def loud(folder, seed):
    """Weights that make a model say something, with the end of the text now and then."""
    from safetensors.torch import load_file, save_file

    weights, generator = load_file(folder / "model.safetensors"), torch.Generator().manual_seed(seed)
    for name in sorted(weights):
        if weights[name].dim() > 1 and "embed_positions" not in name:
            weights[name] += 0.25 * torch.randn(weights[name].shape, generator=generator)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.fixture
def relabel(made, tmp_path):
    """Runs the stage; returns the rows, prepared.json, and the reasons of the rows left out."""

    def run(task="nmt", models=1, family=None, corpus=None, out="out", decoding=None, languages=None, **settings):
        folders = made.models[family or ("marian" if task == "nmt" else "ctc")]
        folders = folders[:models] if isinstance(models, int) else models
        inputs = {"corpus/train": corpus or made.corpora[task], **{f"model/e/m{i}": f for i, f in enumerate(folders)}}
        spec = {"stage": "relabel", "version": 1, "name": "labelled", "label": {"corpus": "labelled"}, "task": task,
                "languages": languages or LANGUAGES[task], "settings": {**SETTINGS, **settings}, "normaliser": "basic",
                "decoding": {"num_beams": 1, "max_new_tokens": 12, **(decoding or {})}, "inputs": list(inputs)}  # fmt: skip
        spec["digest"] = json.dumps(spec)
        place = tmp_path / out
        stage.run(Job(spec, inputs, place, tmp_path / "state" / out, tmp_path / "cache", 1, "cpu"))
        lines = (place / "skipped.tsv").read_text(encoding="utf-8").splitlines()[1:]
        about = read_json(place / "prepared.json")
        return Rows.open([place]), about, {line.split("\t")[0]: line.split("\t")[1] for line in lines}

    return run


def alone(folder, texts, languages=("en", "fr"), **decoding):
    """What a model says to each sentence, one by one."""
    family, model = family_named("marian"), load(folder) if not isinstance(folder, torch.nn.Module) else folder
    processor = family.processor(folder) if not isinstance(folder, torch.nn.Module) else decoding.pop("processor")
    decoding = {"num_beams": 1, "max_new_tokens": 12, **decoding}
    batches = [family.collate(processor, [family.features(processor, t)], None) for t in texts]
    return [family.generate(model, processor, b, languages, decoding)[0] for b in batches]


def clean(texts):
    return [" ".join(t.split()) for t in texts]


def probability_per_token(folder, source, text):
    """float64, token by token, each from a pass of its own over the prefix."""
    family, model = family_named("marian"), load(folder).double()
    processor = family.processor(folder)
    batch = family.collate(processor, [family.features(processor, source)], None)
    wanted, prefix, total = family.labels(processor, text, []), [model.config.decoder_start_token_id], 0.0
    for token in wanted:
        with torch.no_grad():
            logits = model(**batch, decoder_input_ids=torch.tensor([prefix])).logits[0, -1].numpy()
        total += logits[token] - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        prefix.append(token)
    return np.exp(total / len(wanted))


def ctc_probability(log_probs, labels, blank):
    """The forward algorithm of CTC (Graves et al. 2006, 4.1) in float64, log_probs [time, vocabulary]."""
    extended = [blank]
    for label in labels:
        extended += [label, blank]
    alpha = np.full(len(extended), -np.inf)
    alpha[:2] = log_probs[0, extended[:2]]
    for row in log_probs[1:]:
        new = np.full(len(extended), -np.inf)
        for s, token in enumerate(extended):
            ways = [alpha[s], alpha[s - 1] if s else -np.inf]
            if s > 1 and token not in (blank, extended[s - 2]):
                ways.append(alpha[s - 2])
            new[s] = np.logaddexp.reduce(ways) + row[token]
        alpha = new
    return np.logaddexp(alpha[-1], alpha[-2])


# -- sentence pairs --------------------------------------------------------------------------------------------------


def test_targets_are_what_the_model_says_and_the_rest_stays(made, relabel):
    before = Rows.open([made.corpora["nmt"]])
    rows, about, skipped = relabel()
    said = clean(alone(made.models["marian"][0], before.sources))
    kept = [i for i, text in enumerate(said) if text]
    assert rows.targets == [said[i] for i in kept] and len(set(rows.targets)) > 3
    for column in ("ids", "sources", "documents", "recordings", "speakers"):
        assert getattr(rows, column) == [getattr(before, column)[i] for i in kept]
    assert skipped == {before.ids[i]: "no text" for i in range(len(before)) if i not in kept}
    assert about["read"] == len(before) == about["rows"] + sum(about["skipped"].values())
    assert about["relabelled"]["corpus"] == "train" and about["relabelled"]["by"][0]["name"] == "e/m0"


def test_confidence_is_the_models_probability_per_token(made, relabel):
    rows, about, _ = relabel()
    got = rows._column("confidence")
    wanted = [
        probability_per_token(made.models["marian"][0], s, t) for s, t in zip(rows.sources, rows.targets, strict=True)
    ]
    assert np.abs(np.log(got) - np.log(wanted)).max() < 1e-4 and 0 < min(got) < max(got) < 1
    assert about["relabelled"]["confidence"] == pytest.approx(np.mean(got), abs=1e-6)


def test_sources_are_made_of_targets_and_tagged(made, relabel):
    before = Rows.open([made.corpora["nmt"]])
    rows, about, _ = relabel(side="source", tag="<BT>", languages=["fr", "en"])
    said = clean(alone(made.models["marian"][0], before.targets))
    kept = [i for i, text in enumerate(said) if text]
    assert rows.sources == [f"<BT> {said[i]}" for i in kept] and rows.untagged == [said[i] for i in kept]
    assert rows.targets == [before.targets[i] for i in kept] and about["tag"] == "<BT>"
    # its targets are known to be those of the corpus that it was made of
    assert overlap(rows, before)["target"] >= len(rows)


def test_a_tag_hides_no_source(made, relabel):
    before = Rows.open([made.corpora["nmt"]])
    plain, tagged = relabel(out="a")[0], relabel(out="b", tag="<x>")[0]
    assert tagged.sources == [f"<x> {s}" for s in plain.sources]
    assert overlap(tagged, before) == overlap(plain, before) and overlap(plain, before)["source"] >= len(plain)


def test_several_models_answer_as_one(made, relabel):
    before = Rows.open([made.corpora["nmt"]])
    rows, _, _ = relabel(models=2, decoding={"num_beams": 2})
    both = ensemble([load(f) for f in made.models["marian"]])
    processor = family_named("marian").processor(made.models["marian"][0])
    said = clean(alone(both, before.sources, processor=processor, num_beams=2))
    assert rows.targets == [t for t in said if t]
    assert rows.targets != relabel(models=1, out="one")[0].targets


def test_models_of_different_vocabularies_are_refused(made, relabel):
    other = made.models["marian"][0].parent / "other"
    family_named("marian").create(
        other, FAMILIES["marian"], {"vocab_size": 60}, lambda: iter(["a b c d e"] * 9), ["en"], 1
    )
    with pytest.raises(ConsommeError, match="one processor or tokenizer"):
        relabel(models=[made.models["marian"][0], other])


def test_the_same_model_again_changes_nothing(relabel, tmp_path):
    first, about, _ = relabel()
    again, more, _ = relabel(corpus=tmp_path / "out", out="again")
    assert more["fingerprint"] == about["fingerprint"] and again.targets == first.targets
    assert more["relabelled"]["quality"]["chrf"]["all"] == 100


# -- speech ----------------------------------------------------------------------------------------------------------


def test_recordings_keep_their_waveforms_which_take_no_space(made, relabel, tmp_path):
    before = Rows.open([made.corpora["asr"]])
    rows, about, _ = relabel("asr")
    place = {id: i for i, id in enumerate(before.ids)}
    for i, id in enumerate(rows.ids):
        assert np.array_equal(rows.audio(i), before.audio(place[id]))
    for column in ("audio_hashes", "speakers", "documents", "recordings"):
        assert getattr(rows, column) == [getattr(before, column)[place[i]] for i in rows.ids]
    assert about["seconds"] == pytest.approx(sum(rows.seconds), abs=1e-3) and rows.sampling_rate == 16000
    assert os.path.samefile(tmp_path / "out/audio.arrow", made.corpora["asr"] / "rows.arrow")
    size = (tmp_path / "out/rows.arrow").stat().st_size
    assert size < 0.05 * (made.corpora["asr"] / "rows.arrow").stat().st_size
    assert overlap(rows, before)["audio"] == len(rows)


def test_its_confidence_counts_every_alignment(made, relabel):
    rows, _, _ = relabel("asr")
    (folder, *_), family = made.models["ctc"], family_named("ctc")
    model, processor = load(folder).double(), family.processor(folder)
    for i in range(len(rows)):
        features = family.features(processor, rows.audio(i))
        batch = family.collate(processor, [features], None)
        batch["input_features"] = batch["input_features"].double()
        with torch.no_grad():
            log_probs = model(**batch).logits[0].log_softmax(-1).numpy()
        labels = family.labels(processor, rows.targets[i], [])
        wanted = ctc_probability(log_probs, labels, model.config.pad_token_id) / len(labels)
        assert np.log(rows._column("confidence")[i]) == pytest.approx(wanted, abs=2e-3)


def test_features_are_those_of_the_corpus_that_was_labelled(made, relabel, tmp_path):
    from consomme.data.features import features_of
    from consomme.evaluate.identity import processor_key

    rows, _, _ = relabel("asr")
    again, _, _ = relabel("asr", corpus=tmp_path / "out", out="again", models=[made.models["ctc"][1]])
    folder, family = made.models["ctc"][0], family_named("ctc")
    for found in (rows, again, rows.select([1, 0])):
        features = features_of(family, family.processor(folder), found, tmp_path / "cache", processor_key(folder))
        for i in range(len(found)):
            assert np.array_equal(features[i], family.features(family.processor(folder), found.audio(i)))
    assert len([p for p in (tmp_path / "cache/features").iterdir() if p.is_dir()]) == 1


@pytest.mark.parametrize(("family", "beams"), [("marian", 3), ("whisper", 1), ("whisper", 2), ("ctc", 1)])
def test_confidence_is_the_loss_of_the_corpus_that_was_made(made, relabel, tmp_path, family, beams):
    """What `metric: loss` would say of the labels, row by row, alone or as an ensemble."""
    task = family_named(family).task
    full = {"window": "full"}  # an untrained Whisper says more there
    rows, _, _ = relabel(task, models=2, family=family, decoding={"num_beams": beams, **full})
    folder, model = made.models[family][0], ensemble([load(f) for f in made.models[family]])
    evaluator = Evaluator(
        family_named(family), family_named(family).processor(folder), {"made": rows}, languages=LANGUAGES[task],
        decoding=full, normaliser="verbatim", cache=tmp_path / "cache", processor_key="p",
    )  # fmt: skip
    nll, tokens = evaluator.statistics(model, "made", "loss").T
    assert np.abs(np.log(rows._column("confidence")) + nll / tokens).max() < 1e-4 and len(rows) > 1


# -- what stays --------------------------------------------------------------------------------------------------------


@pytest.fixture
def rigged(made, monkeypatch):
    """Labels as they are told."""

    def rig(said, sure):
        before = Rows.open([made.corpora["nmt"]])
        told = dict(zip(before.sources, zip(said, sure, strict=True), strict=True))
        monkeypatch.setattr(
            Evaluator, "labels", lambda self, model, name: [Label(*told[s]) for s in self.sets[name].sources]
        )
        return before

    return rig


def test_what_stays_and_why(made, relabel, rigged):
    targets = Rows.open([made.corpora["nmt"]]).targets
    said = [*targets[:6], "", "  x ", targets[8] * 3, "y", *targets[10:]]
    before = rigged(said, [0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.9, 0.9, 0.9, 0.9, 0.95, 0.2])
    rows, about, skipped = relabel(keep={"confidence": 0.5, "chrf": 30, "share": 0.5}, max_ratio=2.6, min_characters=2)
    ids = before.ids
    assert {i: skipped.get(ids[i]) for i in range(12)} == {
        **dict.fromkeys([0, 1, 10]), **dict.fromkeys([2, 3, 4], "share"), **dict.fromkeys([5, 11], "confidence"),
        6: "no text", 7: "few characters", 8: "ratio", 9: "few characters",
    }  # fmt: skip
    assert rows.targets == [targets[i] for i in (0, 1, 10)] and about["relabelled"]["quality"]["chrf"]["kept"] == 100
    assert about["relabelled"]["quality"]["bleu"]["all"] < 100
    assert about["skipped"] == {"share": 3, "confidence": 2, "few characters": 2, "no text": 1, "ratio": 1}


def test_perfect_labels_are_the_corpus_itself(made, relabel, rigged):
    rigged(Rows.open([made.corpora["nmt"]]).targets, [1.0] * 12)
    _, about, _ = relabel()
    assert about["fingerprint"] == read_json(made.corpora["nmt"] / "prepared.json")["fingerprint"]


def test_none_left_says_what_to_change(relabel, rigged):
    rigged(["w"] * 12, np.linspace(0.1, 0.3, 12))
    with pytest.raises(
        ConsommeError, match=r"12 rows none is left \(12 confidence\).*0\.1000 and 0\.3000.*Change keep"
    ):
        relabel(keep={"confidence": 0.5})
    rigged([""] * 12, [0.0] * 12)
    with pytest.raises(ConsommeError, match="writes nothing for any of its 12 rows"):
        relabel()


# -- once ------------------------------------------------------------------------------------------------------------


def test_a_killed_job_goes_on_and_a_new_threshold_asks_no_model(relabel, monkeypatch):
    monkeypatch.setattr(stage, "CHUNK", 5)
    asked, decode = [], type(family_named("marian")).decode

    def counting(self, model, processor, batch, languages, decoding):
        if len(asked) == 2:
            asked.append("killed")
            raise KeyboardInterrupt
        asked.append(len(batch["input_ids"]))
        return decode(self, model, processor, batch, languages, decoding)

    monkeypatch.setattr(type(family_named("marian")), "decode", counting)
    with pytest.raises(KeyboardInterrupt):
        relabel()
    rows, _, _ = relabel()
    assert asked == [5, 5, "killed", 2]
    fewer, _, _ = relabel(out="fewer", keep={"share": 0.5})
    assert asked == [5, 5, "killed", 2] and 0 < len(fewer) < len(rows)
    relabel(out="beams", decoding={"num_beams": 2})
    assert len(asked) == 7


# -- several languages -------------------------------------------------------------------------------------------------
def test_each_row_is_written_in_its_own_language_and_keeps_it(folders, relabel, tmp_path):
    """Back-translation by a model of several languages: it is asked in the opposite direction of each row."""
    (tmp_path / "pairs.tsv").write_text("source\ttarget\tfrom\tto\nthe cat\tle chat\ten\tfr\nhello\thej\ten\tsv\n")
    columns = {"source_language": "from", "target_language": "to"}
    spec = {"task": "nmt", "languages": [], "name": "c", "label": {}, "data_root": str(tmp_path), "inputs": [],
            "corpus": {"source": "manifest", "path": "pairs.tsv", "columns": columns}}  # fmt: skip
    corpus = tmp_path / "corpus"
    prepare(Job(spec, {}, corpus, tmp_path / "s", tmp_path / "cache", 1, "cpu"))
    model = shutil.copytree(folders("m2m_100"), tmp_path / "model")
    loud(model, 3)
    rows, _, _ = relabel(models=[model], corpus=corpus, languages=["de", "en"], side="source")
    assert rows.languages() == [("en", "fr"), ("en", "sv")] and rows.targets == ["le chat", "hej"]
    family, loaded = family_named("m2m_100"), load(model)
    processor = family.processor(model)
    for text, pair, made in zip(rows.targets, rows.languages(), rows.sources, strict=True):
        batch = family.collate(processor, [family.features(processor, text, pair[::-1])], None)
        said = family.generate(loaded, processor, batch, pair[::-1], {"num_beams": 1, "max_new_tokens": 12})
        assert [made] == clean(said)
