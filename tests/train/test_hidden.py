"""Distilled hidden states: which layers belong together, how far they are apart, and a training that brings them closer."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.common.job import Job
from consomme.common.provenance import lineage, weights_hash, write_provenance
from consomme.families import family_named, load
from consomme.families.surgery import keep_layers
from consomme.train import stage
from consomme.train.hidden import Hidden, distance, place_weights, teachers_layers
from consomme.train.layer_drop import LayerDrop

CTC, MARIAN = family_named("ctc"), family_named("marian")


@pytest.fixture
def made(tmp_path):
    """made(name, depth, *parents, stage=..., chosen=...): a folder with a config and the provenance that the stage writes."""

    def make(name, depth, *parents, stage="train", **more):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.safetensors").write_text(name)
        (folder / "config.json").write_text(json.dumps({"num_hidden_layers": depth}))
        spec = {"stage": stage, "digest": name, "task": "asr", "settings": {}}
        inputs = {f"parent/{p.name}": p for p in parents}
        write_provenance(Job(spec, inputs, folder, folder, folder, 1, "cpu"), folder, **more)
        return folder

    return make


def pruned(*kept):
    return {"stage": "prune", "chosen": {"layers": {"encoder": {"kept": list(kept)}}}}


def test_layers_are_followed_through_prunings_trainings_and_averages(made):
    start = made("start", 6, stage="start")
    base = made("base", 6, start)
    half = made("half", 3, base, **pruned(1, 4, 6))
    assert teachers_layers(CTC, half, base) == {"encoder": [1, 4, 6]}
    healed = [made(f"healed{i}", 3, half) for i in (1, 2)]
    soup = made("soup", 3, *healed, stage="average")
    small = made("small", 2, soup, **pruned(2, 3))
    for teacher in (base, made("longer", 6, base), start):
        assert teachers_layers(CTC, small, teacher) == {"encoder": [4, 6]}
    assert teachers_layers(CTC, small, half) == {"encoder": [2, 3]}
    assert teachers_layers(CTC, healed[0], half) == {"encoder": [1, 2, 3]}
    # the best of runs of many depths comes from the run that it is
    other = made("other", 4, base, **pruned(1, 2, 3, 6))
    best = made("best", 4, half, other, stage="average", chosen={"ingredients": ["other"]})
    assert lineage(best)["layers"] == {"encoder": [1, 2, 3, 6]}


def test_a_checkpoint_that_was_fetched_or_given_can_be_trained(tmp_path, recogniser, tones, job):
    """`from` records where it took a checkpoint from; that is no lineage of layers."""
    from consomme.train.stage import run

    given = tmp_path / "given"
    shutil.copytree(recogniser, given)
    known = {"stage": "start", "weights": weights_hash(recogniser), "origin": {"files": {"config.json": "0"}}}
    (given / "provenance.json").write_text(json.dumps(known))
    made = job(tmp_path, given, {"tones": tones}, max_steps=1)
    run(made)
    assert lineage(made.out) == {"weights": weights_hash(recogniser), "layers": {}}


def test_a_provenance_from_elsewhere_is_its_own_ancestor(made, tmp_path):
    base = made("base", 6, stage="start")
    assert lineage(base) == {"weights": weights_hash(base), "layers": {}}
    (base / "provenance.json").unlink()  # averaged or fetched by hand
    half = made("half", 3, base, **pruned(2, 4, 6))
    assert teachers_layers(CTC, half, base) == {"encoder": [2, 4, 6]}


def test_where_provenance_tells_nothing_layers_go_one_to_one_or_not_at_all(made):
    base, stranger = made("base", 6, stage="start"), made("stranger", 6, stage="start")
    assert teachers_layers(CTC, base, stranger) == {"encoder": [1, 2, 3, 4, 5, 6]}
    half, other = made("half", 3, base, **pruned(1, 4, 6)), made("other", 4, base, **pruned(1, 2, 3, 4))
    with pytest.raises(ConsommeError, match=r"teacher's 6 layers are the student's 3.*Distil from the model that"):
        teachers_layers(CTC, half, stranger)
    with pytest.raises(ConsommeError, match=r"it lacks layers \[6\] of the model that both come from"):
        teachers_layers(CTC, half, other)
    # a soup of models that lost different layers comes from neither
    mixed = made("mixed", 3, half, made("third", 3, base, **pruned(1, 2, 3)), stage="average")
    with pytest.raises(ConsommeError, match="doesn't lead to one model"):
        teachers_layers(CTC, mixed, base)


def test_the_distance_is_that_of_directions_by_hand():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    pairs = list(zip(student, teacher, strict=True))
    weights = torch.tensor([[0.5, 0.25, 0.0], [0.25, 0.0, 0.0]])
    correlation = torch.tensor([[torch.corrcoef(torch.stack(p))[0, 1] for p in zip(*s, strict=True)] for s in pairs])
    torch.testing.assert_close(
        distance(student, teacher, weights), (weights * 2 * (1 - correlation)).sum(), rtol=1e-3, atol=1e-4
    )
    assert distance(student, 5 * student + 2, weights).item() == pytest.approx(0, abs=1e-4)
    assert distance(student, -student, weights).item() == pytest.approx(4, abs=1e-3)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """The folders of a recogniser and a translator with six layers a side, and the arguments of a batch for each."""
    place = tmp_path_factory.mktemp("deep")
    small = {"hidden_size": 16, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 16}
    CTC.create(place / "ctc", small, {}, lambda: iter(["ab"]), ["en"], seed=1)
    small = {
        "d_model": 16,
        "encoder_layers": 6,
        "decoder_layers": 6,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "init_std": 0.3,
    }
    texts = ["one two three four", "un deux trois quatre"] * 20
    MARIAN.create(place / "marian", small, {"vocab_size": 40}, lambda: iter(texts), ["en", "fr"], seed=1)
    random = torch.Generator().manual_seed(0)
    heard = [torch.randn(length, 240, generator=random).numpy() for length in (30, 20)]
    read = [torch.randint(4, 12, (length,), generator=random).numpy() for length in (7, 3)]
    examples = {"ctc": (heard, [[3, 4], [4, 3, 4]]), "marian": (read, [[5, 6, 7, 8, 0], [9, 0]])}
    return {name: (family_named(name), place / name, *examples[name]) for name in examples}


def compared(family, folder, student, layers, features, labels, utterances, items, drop=None):
    """The loss of the hidden states of a batch, and what the student's layers said."""
    teacher, hidden = load(folder), Hidden(layers, family, 1.0)
    batch = family.collate(family.processor(folder, ["en", "fr"]), features, labels)
    labels = batch.pop("labels")
    if family.objective != "ctc" and "decoder_input_ids" not in batch:
        batch["decoder_input_ids"] = family.decoder_inputs(student, labels)
    with hidden.listening(student) as heard, hidden.listening(teacher) as said, torch.no_grad():
        if drop:
            with drop.dropping(0):
                student(**batch)
        else:
            student(**batch)
        teacher(**batch)
    weights = place_weights(family, student, batch, labels, heard, utterances, items)
    return hidden.loss(heard, said, weights).item(), heard, weights


@pytest.mark.parametrize("name", ["ctc", "marian"])
def test_layers_that_are_the_teachers_own_are_no_way_off(deep, name):
    family, folder, features, labels = deep[name]
    *below, top = family.stacks  # a decoder hears the top of its encoder
    lowest, whole = keep_layers(load(folder), family, {top: [0, 1, 2]}), {side: [1, 2, 3, 4, 5, 6] for side in below}
    same, other = {**whole, top: [1, 2, 3]}, {**whole, top: [1, 2, 4]}
    assert compared(family, folder, lowest, same, features, labels, 2, 7)[0] == pytest.approx(0, abs=1e-8)
    assert compared(family, folder, lowest, other, features, labels, 2, 7)[0] > 1e-3
    # hooks are gone afterwards
    assert not any(layer._forward_hooks for layer in lowest.modules())


@pytest.mark.parametrize("name", ["ctc", "marian"])
def test_a_step_is_the_same_in_one_batch_or_in_several_and_padding_counts_nothing(deep, name):
    family, folder, features, labels = deep[name]
    sides = list(family.stacks)
    student = keep_layers(load(folder), family, {side: [0, 4] for side in sides})
    layers, items = {side: [2, 6] for side in sides}, sum(map(len, labels))
    whole, heard, weights = compared(family, folder, student, layers, features, labels, 2, items)
    parts = sum(
        compared(family, folder, student, layers, [f], [label], 2, items)[0]
        for f, label in zip(features, labels, strict=True)
    )
    assert whole == pytest.approx(parts, rel=1e-4) and whole > 1e-3
    assert all(w.sum().item() == pytest.approx(1) for w in weights.values())
    assert set(heard) == {(side, n) for side in sides for n in (0, 1)}


def test_a_layer_that_the_step_left_out_adds_nothing(deep):
    family, folder, features, labels = deep["ctc"]
    student = keep_layers(load(folder), family, {"encoder": [0, 1, 4]})
    layers = {"encoder": [1, 2, 5]}
    drop = LayerDrop({"encoder_layerdrop": 0.999, "decoder_layerdrop": 0}, student, family, 1, 1)
    drop.rates = [0.0]
    drop.probabilities = lambda side, depth, step: torch.tensor([0.0, 1.0, 0.0]).numpy()
    found, heard, _ = compared(family, folder, student, layers, features, labels, 2, 5, drop)
    assert set(heard) == {("encoder", 0), ("encoder", 2)}
    # the first is the teacher's own; the third alone counts, a third of the mean over all three
    alone = compared(
        family,
        folder,
        keep_layers(load(folder), family, {"encoder": [0, 4]}),
        {"encoder": [1, 5]},
        features,
        labels,
        2,
        5,
    )
    assert found == pytest.approx(alone[0] * 2 / 3, rel=1e-5)


def distilled(tmp_path, deep_teacher, corpus, job, name, **distil):
    """A student with layers 1 and 3 of a teacher, trained to say what the teacher says."""
    from consomme.prune.stage import run

    student = tmp_path / "student"
    if not student.exists():
        spec = {"stage": "prune", "digest": "p", "task": "asr", "languages": ["en"], "inputs": ["parent/t"],
                "settings": {"layers": {"encoder": {"keep": [1, 3]}, "decoder": None}, "heads": None}}  # fmt: skip
        run(Job(spec, {"parent/t": deep_teacher}, student, tmp_path / "state", tmp_path / "cache", 1, "cpu"))
    settings = {"weight": 1.0, "temperature": 1.0, **distil}
    made = job(
        tmp_path / name, student, {"c": corpus}, teacher=deep_teacher, distil=settings, max_steps=25, dropout=0.0
    )
    stage.run(made)
    return made


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "t"
    scratch = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    CTC.create(folder, {**scratch, "num_mel_bins": 20}, {}, lambda: iter("abcd"), ["en"], 0)
    return folder


def test_training_brings_the_states_closer_and_its_identity_says_so(tmp_path, teacher, tones, job):
    plain = distilled(tmp_path, teacher, tones, job, "plain")
    hidden = distilled(tmp_path, teacher, tones, job, "hidden", hidden=4.0)
    random = torch.Generator().manual_seed(0)
    features = [torch.randn(length, 60, generator=random).numpy() for length in (30, 20)]
    away = {
        made.out: compared(CTC, teacher, load(made.out), {"encoder": [1, 3]}, features, [[3], [4]], 2, 2)[0]
        for made in (plain, hidden)
    }
    assert away[hidden.out] < 0.8 * away[plain.out]
    record = json.loads((hidden.out / "provenance.json").read_text())
    assert record["distilled_layers"] == {"encoder": [1, 3]} and record["lineage"]["layers"] == {"encoder": [1, 3]}
    assert "distilled_layers" not in json.loads((plain.out / "provenance.json").read_text())
    # the same weights that came from other layers are another training
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "student", moved)
    known = json.loads((moved / "provenance.json").read_text())
    known["lineage"]["layers"]["encoder"] = [1, 2]
    (moved / "provenance.json").write_text(json.dumps(known))
    for made, equal in ((plain, True), (hidden, False)):
        other = replace(made, inputs={**made.inputs, "parent/base": moved})
        assert (stage.identity(other) == stage.identity(made)) is equal


def test_an_ensemble_has_no_layers(tmp_path, recogniser, tones, job):
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "ensemble.json").write_text("{}")
    settings = {"weight": 0.5, "temperature": 2.0, "hidden": 1.0}
    with pytest.raises(ConsommeError, match="an ensemble"):
        stage.identity(job(tmp_path / "x", recogniser, {"c": tones}, teacher=tmp_path / "many", distil=settings))


def test_without_labels(tmp_path, teacher, tones, speech, translator, pairs, job):
    """A student that learns from its teacher alone is the same whatever the transcripts say, or if there are none."""
    import pyarrow as pa

    with pa.memory_map(str(tones / "rows.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()
        texts = table.column("text").to_pylist()

        def corpus(name, texts, **about):
            folder = tmp_path / name
            shutil.copytree(tones, folder)
            changed = table.set_column(table.column_names.index("text"), "text", pa.array(texts))
            (folder / "rows.arrow").unlink()
            with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(changed)
            known = json.loads((folder / "prepared.json").read_text())
            (folder / "prepared.json").write_text(json.dumps({**known, "fingerprint": name, **about}))
            return folder

        shuffled = corpus("shuffled", texts[1:] + texts[:1])
        endless = corpus("endless", ["abcd" * 200] * len(texts))  # longer than the frames: an infinite loss
        unknown = corpus("unknown", [""] * len(texts), missing="target")
    options = {
        "max_steps": 3,
        "dropout": 0.0,
        "augment": {"concatenate": {"utterances": 2, "seconds": 30.0, "probability": 0.5}},
    }

    def trained(name, data, weight):
        settings = {"weight": weight, "temperature": 2.0, "hidden": 0.5}
        made = job(tmp_path / name, teacher, {"c": data}, teacher=other, distil=settings, **options)
        stage.run(made)
        return weights_hash(made.out)

    other = tmp_path / "other"
    shutil.copytree(teacher, other)
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    save_file({n: t * 1.1 for n, t in weights.items()}, other / "model.safetensors", metadata={"format": "pt"})
    first = trained("a", tones, 1.0)
    assert first == trained("b", shuffled, 1.0) == trained("c", endless, 1.0) == trained("d", unknown, 1.0)
    assert first != weights_hash(teacher)
    assert trained("e", tones, 0.5) != trained("f", shuffled, 0.5)
    with pytest.raises(ConsommeError, match=r"c has no target side.*distil.weight 1"):
        trained("g", unknown, 0.5)
