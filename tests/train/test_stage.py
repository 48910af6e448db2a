"""The stage as a whole, on tones and on numbers."""

import dataclasses
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from consomme.common.errors import ConsommeError
from consomme.common.provenance import weights_hash
from consomme.data.prepared import Rows
from consomme.evaluate.evaluator import ONCE
from consomme.families import load
from consomme.train import stage


def trained(made):
    stage.run(made)
    return made.out


def entries(folder):
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def provenance(folder):
    return json.loads((folder / "provenance.json").read_text())


def test_a_recogniser_learns_tones(tmp_path, place, recogniser, tones, job, speech):
    dev, options = speech(place / "other-tones", 12, seed=5), {"max_steps": 90, "eval_steps": 30, "dropout": 0.0}
    made = job(tmp_path, recogniser, {"tones": tones}, {"other-tones": dev}, **options)
    found = provenance(trained(made))
    values = [e["objective"] for e in found["chosen"]["evaluations"]]
    assert found["steps"] == 90 and values[-1] - values[0] > 0.5  # negated nats a letter
    last = entries(made.out)[-1]
    assert last["step"] == 90 and last["learning_rate"] == 3e-3 and last["audio_seconds_per_second"] > 0
    assert 0 < last["padding"] < 0.6
    (events,) = (made.out / "tensorboard").glob("events.out.tfevents.*")
    assert events.stat().st_size > 0


def test_the_line_of_a_log_says_how_far_how_fast_and_how_full(tmp_path, recogniser, tones, monkeypatch, job, capfd):
    monkeypatch.setattr("consomme.train.progress.SECONDS", 0.0)
    trained(job(tmp_path, recogniser, {"tones": tones}, max_steps=2))
    number = r"[\d.e+-]+"
    assert re.search(
        rf"step 1/2  loss {number}  learning rate {number}  {number} utterances/s  \d+ s of audio/s  padding \d+ %  .* left",
        capfd.readouterr().err,
    )


@pytest.mark.parametrize(("threads", "augment", "workers"), [(1, True, 0), (3, True, 2), (9, True, 8), (3, False, 0)])
def test_waveforms_are_augmented_beside_the_training(
    tmp_path, recogniser, tones, monkeypatch, job, threads, augment, workers
):
    from consomme.train import arguments
    from consomme.train.stage import run

    class Seen(Exception):
        pass

    def look(settings, **given):
        raise Seen(given["workers"])

    monkeypatch.setattr(arguments, "training_arguments", look)
    made = job(tmp_path, recogniser, {"tones": tones}, augment={"speed": [0.9, 1.0]} if augment else {})
    with pytest.raises(Seen) as seen:
        run(dataclasses.replace(made, threads=threads))
    assert seen.value.args == (workers,)


def test_a_translator_learns_numbers_with_smoothing_and_accumulation(tmp_path, translator, pairs, monkeypatch, job):
    monkeypatch.setattr("consomme.train.progress.SECONDS", 0.0)
    options = {"label_smoothing_factor": 0.1, "gradient_accumulation_steps": 2, "max_steps": None}
    options |= {"num_train_epochs": 12, "lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "learning_rate": 1e-2}
    made = job(tmp_path, translator, {"pairs": pairs}, **options)
    assert provenance(trained(made))["steps"] == 48  # 8 batches an epoch, two a step
    lines = entries(made.out)
    assert lines[-1]["loss"] < 0.75 * lines[0]["loss"] and lines[-1]["tokens_per_second"] > 0


def test_every_other_file_of_a_checkpoint_is_the_parent_own(tmp_path, place, translator, pairs, job):
    parent = place / "with-more"
    shutil.copytree(translator, parent)
    (parent / "notes").mkdir()
    (parent / "notes" / "names.txt").write_text("kept")
    (parent / "notes" / "modeling.py").write_text("code is not")
    (parent / "zeroed").mkdir()
    (parent / "zeroed" / "config.json").write_text("{}")
    (parent / "provenance.json").write_text('{"weights": "abc"}')
    (parent / "pytorch_model.bin").write_text("old weights")
    options = {"dropout": 0.3, "encoder_layerdrop": 0.2, "decoder_layerdrop": 0.1}
    out = trained(job(tmp_path, parent, {"pairs": pairs}, max_steps=2, **options))
    kept = {p.relative_to(translator) for p in translator.rglob("*") if p.is_file()}
    made = {p.relative_to(out) for p in out.rglob("*") if p.is_file() and not p.name.startswith(".")}
    extra = {str(p) for p in made - kept if p.parts[0] != "tensorboard"}
    assert kept <= made and extra == {"notes/names.txt", "provenance.json", "content.json", "progress.jsonl"}
    for name in kept:
        assert ((out / name).read_bytes() == (translator / name).read_bytes()) == (name.suffix != ".safetensors")
    before, after = (load_file(p / "model.safetensors") for p in (translator, out))
    assert before.keys() == after.keys() and all(str(t.dtype) == "torch.float32" for t in after.values())
    assert load(out).config.encoder_layerdrop == 0.0


def test_half_precision_of_the_parent_is_not_inherited(tmp_path, place, translator, pairs, job):
    parent = place / "half"
    shutil.copytree(translator, parent)
    config = json.loads((parent / "config.json").read_text())
    (parent / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    out = trained(job(tmp_path, parent, {"pairs": pairs}, max_steps=1))
    assert json.loads((out / "config.json").read_text()) == {**config, "dtype": "float32"}


def test_a_second_run_computes_nothing_and_new_content_computes_again(
    tmp_path, place, translator, pairs, capfd, job, sentences
):
    made = job(tmp_path, translator, {"pairs": pairs}, max_steps=2)
    first = weights_hash(trained(made))
    shutil.rmtree(made.out)
    assert weights_hash(trained(made)) == first and "nothing to compute" in capfd.readouterr().err
    assert not [p for p in made.state.rglob("*") if p.name.startswith("checkpoint") or "optimizer" in p.name]
    other = sentences(place / "new" / "pairs", 64, seed=9)
    moved = replace(made, inputs={**made.inputs, "corpus/pairs": other})
    assert weights_hash(trained(moved)) != first


def test_seeds_decide(tmp_path, translator, pairs, job):
    def weights(name, **given):
        return weights_hash(trained(job(tmp_path / name, translator, {"pairs": pairs}, max_steps=3, **given)))

    assert weights("a") == weights("b") != weights("c", seed=2)


def test_threads_and_workers_apart_augmented_training_is_repeatable(tmp_path, recogniser, tones, monkeypatch, job):
    augment = {
        "concatenate": {"utterances": 2, "seconds": 30.0, "probability": 0.3},
        "speed": [0.9, 1.0, 1.1],
        "pitch": [-1, 0, 1],
        "gain": [-3, 3],
        "reverb": {"rt60": [0.1, 0.2], "probability": 0.5},
        "noise": {"folder": None, "snr": [5, 20], "probability": 0.5},
        "spec_augment": {
            "time_masks": 1, "time_width": 0.2, "frequency_masks": 1, "frequency_width": 4, "time_warp": 2,
        },
    }  # fmt: skip
    options = {"max_steps": 8, "augment": augment, "encoder_layerdrop": 0.5}
    first = weights_hash(trained(job(tmp_path / "a", recogniser, {"tones": tones}, **options)))
    from consomme.train import arguments

    plain = arguments.training_arguments

    def with_workers(*given, **more):
        found = plain(*given, **more)
        found.dataloader_num_workers = 2
        return found

    monkeypatch.setattr(arguments, "training_arguments", with_workers)
    assert weights_hash(trained(job(tmp_path / "b", recogniser, {"tones": tones}, **options))) == first
    without = {**options, "augment": {}}
    assert weights_hash(trained(job(tmp_path / "c", recogniser, {"tones": tones}, **without))) != first


def test_the_bytes_of_recordings_to_draw_from_are_part_of_the_result(tmp_path, recogniser, tones, job):
    import soundfile

    def key(level, folder):
        (tmp_path / folder).mkdir(exist_ok=True)
        soundfile.write(tmp_path / folder / "one.wav", np.full(100, level), 16000)
        augment = {"reverb": {"folder": folder, "rt60": [0.1, 0.2], "probability": 0.5}}
        made = job(tmp_path, recogniser, {"tones": tones}, augment=augment)
        return stage.identity(replace(made, spec={**made.spec, "data_root": str(tmp_path), "digest": "same"}))

    assert key(0.5, "rooms") == key(0.5, "rooms") == key(0.5, "elsewhere") != key(0.25, "rooms")


def test_a_model_that_hears_the_waveform_trains_with_time_masks_only(tmp_path, tones, job):
    from consomme.families import family_named

    scratch = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32, "conv_dim": [16, 16, 16, 16]}
    family_named("wav2vec2").create(tmp_path / "model", scratch, {}, lambda: iter("abcd"), ["en"], 0)
    masks = {"time_masks": 2, "time_width": 0.1, "frequency_width": 15}
    augment = {"speed": [0.9, 1.1], "concatenate": {"utterances": 2, "seconds": 9.0, "probability": 0.5}}

    def weights(name, **masks):
        made = job(tmp_path / name, tmp_path / "model", {"tones": tones}, max_steps=2, augment=augment | masks)
        return weights_hash(trained(made))

    assert weights("a", spec_augment=masks) != weights("b")
    with pytest.raises(ConsommeError, match="frequency_masks: this model reads waveforms"):
        weights("c", spec_augment={**masks, "frequency_masks": 1})


def test_a_translator_trains_with_augmented_text(tmp_path, translator, pairs, job):
    augment = {
        "concatenate": {"utterances": 2, "seconds": 30.0, "probability": 0.3},
        "word_dropout": 0.1,
        "subwords": {"sides": ["source", "target"], "alpha": 0.5, "dropout": 0.1},
    }

    def weights(name, augment):
        return weights_hash(trained(job(tmp_path / name, translator, {"pairs": pairs}, max_steps=3, augment=augment)))

    assert weights("a", augment) == weights("b", augment) != weights("c", {})


def test_augmentation_leaves_the_mark_of_made_sentences_alone(tmp_path, translator, sentences, monkeypatch, job):
    """A tag says once, and in front, that a source was written by a model."""
    from consomme.families.marian import Marian

    corpus = sentences(
        tmp_path / "made", 12, seed=0, pairs=[(f"<BT> one two three {i}", "un deux trois") for i in range(12)]
    )
    facts = json.loads((corpus / "prepared.json").read_text())
    (corpus / "prepared.json").write_text(json.dumps({**facts, "tag": "<BT>"}))
    augment = {"word_dropout": 0.5, "concatenate": {"utterances": 3, "seconds": 30.0, "probability": 0.5}}
    read, plain = [], Marian.features

    def features(self, processor, source, languages=()):
        read.append(source)
        return plain(self, processor, source)

    monkeypatch.setattr(Marian, "features", features)
    trained(job(tmp_path / "out", translator, {"made": corpus}, max_steps=4, augment=augment))
    assert len(set(read)) > 12 and all(s.startswith("<BT> ") and s.count("<BT>") == 1 for s in read)


def test_layers_drop_in_training_only(tmp_path, recogniser, tones, monkeypatch, job):
    from consomme.families import family_named, surgery
    from consomme.train.trainer import AsrNmtTrainer

    family = family_named("ctc")
    executed = []
    plain = AsrNmtTrainer.__init__

    def watched(self, model, *given, **more):
        for layer in surgery.layers(model, family.stacks["encoder"]):
            layer.register_forward_hook(lambda module, *_: executed.append(module.training))
        plain(self, model, *given, **more)

    monkeypatch.setattr(AsrNmtTrainer, "__init__", watched)
    options = {"max_steps": 20, "encoder_layerdrop": 0.5, "eval_steps": 10}
    out = trained(job(tmp_path, recogniser, {"tones": tones}, {"tones": tones}, **options))
    assert 5 < sum(executed) < 35  # of 40
    assert len(executed) - sum(executed) == 2 * 2 * 48 // ONCE  # two evaluations of two layers in batches, all run
    assert load(out).config.layerdrop == 0.0
    with pytest.raises(ConsommeError, match="decoder_layerdrop"):
        stage.run(job(tmp_path / "b", recogniser, {"tones": tones}, decoder_layerdrop=0.1))


def test_transcripts_longer_than_their_frames_are_left_out(tmp_path, place, recogniser, capfd, job, speech):
    long = speech(place / "long", 3, 0, ["ab", "abcd" * 30, "a" * 11])  # 0.2 s, 0.5 s, 0.5 s: 6, 16 and 16 frames
    out = trained(job(tmp_path, recogniser, {"long": long}, max_steps=2))
    # eleven equal letters need ten blanks between them
    left_out = provenance(out)["left_out"]["long"]["transcript longer than its frames"]
    assert left_out == {"rows": 2, "first": [Rows.open([long]).ids[i] for i in (1, 2)]}
    assert "2 left out of training" in capfd.readouterr().err
    worse = speech(place / "worse", 1, 0, ["abcd" * 30])
    with pytest.raises(ConsommeError, match="no row is left"):
        stage.run(job(tmp_path / "b", recogniser, {"worse": worse}))


def test_labels_longer_than_the_decoder_are_left_out(tmp_path, place, translator, job, sentences):
    given = [("one two", "un deux"), ("three", "trois " * 60)]
    out = trained(job(tmp_path, translator, {"long": sentences(place / "wordy", 2, 0, given)}, max_steps=2))
    left_out = provenance(out)["left_out"]["long"]["labels longer than the decoder's positions"]
    assert left_out["rows"] == 1 and len(left_out["first"]) == 1


def test_text_that_the_tokenizer_can_not_spell_is_reported(tmp_path, place, recogniser, capfd, job, speech):
    # 4 letters each: one in 20 unknown, and all of them; the tokenizer knows small letters only
    some = speech(place / "some", 5, 0, ["abcd", "bcda", "cdab", "dabc", "abcD"])
    none = speech(place / "none", 5, 0, ["ABCD"] * 5)
    fine = speech(place / "fine", 5, 0, ["abcd"] * 5)
    out = trained(job(tmp_path, recogniser, {"some": some, "none": none, "fine": fine}, max_steps=1))
    assert provenance(out)["unknown"] == {"some": 0.05, "none": 1.0}
    said = capfd.readouterr().err
    assert "some: 5.0 % of its labels are unknown" in said and "none: 100.0 %" in said and "normaliser" in said
    assert "fine: " not in said


def test_byte_level_tokenizers_know_everything():
    from types import SimpleNamespace

    from consomme.train.examples import unknown_share

    ends = SimpleNamespace(unk_token_id=9, eos_token_id=9, pad_token_id=9)
    assert unknown_share([np.array([1, 2, 9])], SimpleNamespace(tokenizer=ends)) == 0
    known = SimpleNamespace(unk_token_id=3, eos_token_id=2, pad_token_id=1)  # a translator's processor is its tokenizer
    assert unknown_share([np.array([3, 7, 2]), np.array([7, 7, 2])], known) == pytest.approx(1 / 6)


def scripted(values, monkeypatch, weights):
    """Evaluations that give `values` one after the other and note the weights."""
    given = iter(values)

    def objective(evaluator, model, choice):
        weights.append(model.lm_head.weight.detach().clone())
        return next(given)

    monkeypatch.setattr("consomme.evaluate.choice.objective", objective)


def test_the_best_checkpoint_is_chosen(tmp_path, recogniser, tones, monkeypatch, job):
    seen = []
    scripted([1.0, 3.0, 2.0, 2.0], monkeypatch, seen)
    options = {"max_steps": 8, "eval_steps": 2, "load_best_model_at_end": True}
    out = trained(job(tmp_path, recogniser, {"tones": tones}, {"tones": tones}, **options))
    chosen = provenance(out)["chosen"]
    assert chosen["step"] == 4 and [e["objective"] for e in chosen["evaluations"]] == [1.0, 3.0, 2.0, 2.0]
    assert load(out).lm_head.weight.equal(seen[1]) and not seen[1].equal(seen[2])


def test_training_stops_when_patience_ends(tmp_path, recogniser, tones, monkeypatch, job):
    seen = []
    scripted([1.0, 3.0, 2.0, 2.0], monkeypatch, seen)
    options = {"max_steps": 80, "eval_steps": 2, "early_stopping_patience": 2}
    out = trained(job(tmp_path, recogniser, {"tones": tones}, {"tones": tones}, **options))
    assert provenance(out)["steps"] == 8
    assert load(out).lm_head.weight.equal(seen[-1])  # the last, as the best was not asked for


def test_the_saved_model_is_evaluated_from_the_cache(tmp_path, translator, pairs, job):
    from consomme.evaluate.evaluator import Evaluator

    options = {"max_steps": 3, "eval_steps": 3, "dropout": 0.2, "decoder_layerdrop": 0.1}
    made = job(tmp_path, translator, {"pairs": pairs}, {"pairs": pairs}, **options)
    out = trained(made)
    before = sorted((made.cache / "evaluations").iterdir())
    value = Evaluator.open(made, {"dev": ["pairs"]}, out).value(load(out), "dev", "loss")
    assert -value == provenance(out)["chosen"]["evaluations"][0]["objective"]
    assert sorted((made.cache / "evaluations").iterdir()) == before


def test_a_student_learns_from_its_teacher(tmp_path, recogniser, translator, tones, pairs, job):
    for name, model, corpus in (("asr", recogniser, tones), ("nmt", translator, pairs)):
        teacher = trained(job(tmp_path / name / "t", model, {"c": corpus}, max_steps=10))
        options = {"teacher": teacher, "distil": {"weight": 1.0, "temperature": 2.0}, "max_steps": 2}
        # alone, and from itself, a model without dropout stays what it is
        options |= {"dropout": 0.0}
        same = trained(job(tmp_path / name / "s", teacher, {"c": corpus}, **options))
        before, after = (load_file(p / "model.safetensors") for p in (teacher, same))
        # Adam makes steps of the learning rate out of rounding errors; the loss says that there was nothing to learn
        assert entries(same)[-1]["loss"] == pytest.approx(0, abs=1e-3)
        assert before.keys() == after.keys()
        student = trained(job(tmp_path / name / "o", model, {"c": corpus}, **options))
        assert entries(student)[-1]["loss"] > 1e-3


def test_bfloat16_trains_float32_weights(tmp_path, recogniser, tones, job):
    options = {"max_steps": 3, "precision": "bfloat16"}
    out = trained(job(tmp_path / "a", recogniser, {"tones": tones}, **options))
    full = trained(job(tmp_path / "b", recogniser, {"tones": tones}, max_steps=3))
    a, b = (load_file(p / "model.safetensors")["lm_head.weight"].numpy() for p in (out, full))
    assert a.dtype == np.float32 and not np.array_equal(a, b) and np.allclose(a, b, atol=0.02)


def test_a_share_trains_on_part_and_shares_the_features(tmp_path, translator, pairs, capfd, job):
    made = job(tmp_path, translator, {"pairs": pairs}, max_steps=1, share=0.5)
    stage.run(made)
    said = capfd.readouterr().err
    rows = int(next(line for line in said.splitlines() if "an epoch" in line).split(" rows")[0].split()[-1])
    assert 16 < rows < 48
    features = sorted((made.cache / "features").iterdir())
    stage.run(replace(made, spec={**made.spec, "share": 1.0, "digest": "other"}))
    assert sorted((made.cache / "features").iterdir()) == features


def test_what_cannot_be_done_is_said(tmp_path, recogniser, translator, tones, pairs, job):
    for match, made in {
        "has no label smoothing": job(tmp_path, recogniser, {"tones": tones}, label_smoothing_factor=0.1),
        "reads text": job(tmp_path, translator, {"pairs": pairs}, augment={"speed": [0.9]}),
        "set eval_steps": job(tmp_path, translator, {"pairs": pairs}, load_best_model_at_end=True),
        "no teacher": job(tmp_path, translator, {"pairs": pairs}, distil={"weight": 0.5, "temperature": 2.0}),
    }.items():
        with pytest.raises(ConsommeError, match=match):
            stage.run(made)
