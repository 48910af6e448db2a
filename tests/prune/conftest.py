"""A translator that has learnt eight sentences by heart, the sentences as a development set, and jobs on them."""

import json

import pytest
import torch

from consomme.common.files import write_json
from consomme.data.prepared import Writer
from consomme.families import family_named, load

PAIRS = [("one", "un"), ("two", "deux"), ("three", "trois"), ("four", "quatre"), ("one two", "un deux"),
         ("two three", "deux trois"), ("four one", "quatre un"), ("three four", "trois quatre")]  # fmt: skip
IDENTITY = 2  # the encoder layer that does nothing, from 0
DEAF = (1, 3)  # the encoder layer and the head of it that nobody listens to, from 0


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    with Writer(folder / "rows.arrow", "nmt") as writer:
        for i, (source, target) in enumerate(PAIRS):
            row = {"id": f"r{i}", "speaker": None, "document": None, "recordings": []}
            writer.add({**row, "source": source, "target": target})
    about = {"task": "nmt", "name": "dev", "fingerprint": writer.fingerprint(), "rows": writer.rows, "version": 1}
    write_json(folder / "prepared.json", about)
    return folder


@pytest.fixture(scope="session")
def translator(tmp_path_factory):
    """A Marian checkpoint: 4 encoder layers, of which one is the identity, 3 decoder layers."""
    folder, family = tmp_path_factory.mktemp("translator"), family_named("marian")
    settings = {"d_model": 32, "encoder_layers": 4, "decoder_layers": 3, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
                "dropout": 0.0, "max_position_embeddings": 32}  # fmt: skip
    texts = [t for pair in PAIRS for t in pair] * 3
    family.create(folder, settings, {"vocab_size": 40}, lambda: iter(texts), ["en", "fr"], seed=3)
    model, processor = load(folder), family.processor(folder)
    nothing = model.model.encoder.layers[IDENTITY]
    still = [nothing.self_attn.out_proj, nothing.fc2]
    deaf = model.model.encoder.layers[DEAF[0]].self_attn.out_proj
    batch = family.collate(
        processor,
        [family.features(processor, s) for s, _ in PAIRS],
        [family.labels(processor, t, ["en", "fr"]) for _, t in PAIRS],
    )
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-3)

    def silence():
        with torch.no_grad():
            for linear in still:
                linear.weight.fill_(1e-30)  # adds nothing to what is there; zeros would say that it went before
                linear.bias.zero_()
            for norm in (nothing.self_attn_layer_norm, nothing.final_layer_norm):
                norm.weight.fill_(1)
                norm.bias.zero_()
            # what comes before has to be normalised for the layer to be the identity
            before = model.model.encoder.layers[IDENTITY - 1].final_layer_norm
            before.weight.fill_(1)
            before.bias.zero_()
            size = deaf.in_features // 4
            deaf.weight[:, DEAF[1] * size : (DEAF[1] + 1) * size] = 0

    for _ in range(150):
        silence()
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
    silence()
    assert loss < 0.1
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def job(tmp_path, corpus, translator):
    """job(layers=..., heads=..., **spec) -> the arguments of the prune command; the result is `tmp_path / name`."""

    def arguments(
        name="pruned",
        parent=translator,
        layers=None,
        heads=None,
        width=None,
        vocabulary=None,
        choose_on=None,
        cache=None,
        **spec,
    ):
        sides = {"encoder": None, "decoder": None, **(layers or {})}
        spec = {
            "stage": "prune", "version": 1, "digest": f"d{abs(hash(str((sides, heads, width, vocabulary))))}", "label": {}, "task": "nmt",
            "languages": ["en", "fr"], "metric": "bleu", "normaliser": "basic", "seed": 1,
            "decoding": {"num_beams": 1, "max_new_tokens": 16},
            "settings": {"layers": sides, "heads": heads, "width": width, "vocabulary": vocabulary,
                         "choose_on": choose_on}, "dev": {"d": ["dev"]},
            "inputs": ["parent/base", "corpus/dev"], **spec,
        }  # fmt: skip
        return ["--spec", json.dumps(spec), "--inputs", str(parent), str(corpus), "--out", str(tmp_path / name),
                "--cache", str(cache or tmp_path / "cache"), "--threads", "1", "--device", "cpu"]  # fmt: skip

    return arguments
