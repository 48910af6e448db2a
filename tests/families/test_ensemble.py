"""Ensembles against a computation written out in float64."""

import copy
import itertools
import shutil

import numpy as np
import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.evaluate.identity import hash_model
from consomme.families import family_named, load
from consomme.families.ensemble import ensemble

TEXTS = ["the cat sat on a mat", "le chat est assis", "hello world, how are you?"]
SETTINGS = {
    "ctc": ({"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32}, {}),
    "whisper": ({"window": 1, "d_model": 16, "encoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}, {}),
    "marian": ({"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}, {"vocab_size": 60}),
}
WIDE = {"ctc": {"hidden_size": 32, "num_hidden_layers": 3}, "whisper": {"d_model": 24, "decoder_layers": 3}}
WIDE["marian"] = WIDE["whisper"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Family -> (family, processor, batch, three loud models, the last of another width and depth)."""

    @lambda f: {name: f(name) for name in SETTINGS}.__getitem__
    def build(name):
        family, models = family_named(name), []
        for seed, more in ((1, {}), (2, {}), (3, WIDE[name])):
            folder = tmp_path_factory.mktemp(name)
            settings, tokenizer = SETTINGS[name]
            family.create(folder, {**settings, **more}, tokenizer, lambda: iter(TEXTS * 5), ["en", "fr"], seed)
            model = load(folder)
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.dim() > 1:
                        parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
            models.append(model)
        processor = family.processor(folder)
        rng = np.random.default_rng(0)
        audio = [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in (12000, 9000)]
        features = [family.features(processor, s) for s in (audio if family.task == "asr" else TEXTS[::2])]
        return family, processor, family.collate(processor, features, None), models

    return build


def log_probabilities(models, inputs):
    """float64, each member asked alone."""
    with torch.no_grad():
        found = [m(**inputs).logits.double().numpy() for m in models]
    found = [x - x.max(-1, keepdims=True) for x in found]
    return np.mean([x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in found], axis=0)


@pytest.mark.parametrize("name", ["ctc", "marian", "whisper"])
def test_its_logits_are_the_mean_log_probabilities(made, name):
    family, _, batch, models = made(name)
    if family.objective == "seq2seq":
        batch = {**batch, "decoder_input_ids": torch.tensor([[3, 5, 7], [3, 9, 2]]), "use_cache": False}
    with torch.no_grad():
        got = ensemble(models)(**batch).logits
    assert np.abs(got.double().numpy() - log_probabilities(models, batch)).max() < 1e-5


@pytest.mark.parametrize(("name", "beams"), [("marian", 1), ("marian", 3), ("whisper", 1), ("whisper", 3)])
def test_decoding_follows_the_mean_at_every_step(made, name, beams):
    """Caches, beams and encoders: the text is that of a model without cache whose every step is the mean."""
    family, processor, batch, models = made(name)
    plain = copy.deepcopy(models[0])
    members = [plain.forward, *(m.forward for m in models[1:])]

    def forward(encoder_outputs=None, past_key_values=None, decoder_input_ids=None, **more):
        # every member encodes anew and reads the whole prefix; beams of a row stand side by side
        times = len(decoder_input_ids) // len(next(iter(batch.values())))
        inputs = {k: v.repeat_interleave(times, 0) for k, v in batch.items()}
        found = [f(**inputs, decoder_input_ids=decoder_input_ids, use_cache=False) for f in members]
        found[0].logits = torch.stack([o.logits.double().log_softmax(-1) for o in found]).mean(0).float()
        return found[0]

    plain.forward = forward
    plain.generation_config.use_cache = False
    decoding = {"num_beams": beams, "max_new_tokens": 12}
    said = family.generate(ensemble(models), processor, batch, ["en", "fr"], decoding)
    wanted = family.generate(plain, processor, batch, ["en", "fr"], {**decoding, "use_cache": False})
    assert said == wanted
    alone = [family.generate(m, processor, batch, ["en", "fr"], decoding) for m in models]
    assert said not in alone and any(said)


def test_a_recogniser_reads_the_best_token_of_each_frame_of_the_mean(made):
    family, processor, batch, models = made("ctc")
    best, counts = log_probabilities(models, batch).argmax(-1), family.frames(models[0], batch).tolist()
    names = processor.tokenizer.convert_ids_to_tokens(range(len(processor.tokenizer)))
    wanted = []
    for row, count in zip(best, counts, strict=True):
        tokens = [names[t] for t, _ in itertools.groupby(row[:count])]
        wanted.append(" ".join("".join(t for t in tokens if t not in ("<pad>", "<unk>")).replace("|", " ").split()))
    assert family.generate(ensemble(models), processor, batch, ["en"], {}) == wanted and any(wanted)


def test_the_members_stay_as_they_are_and_make_its_identity(made):
    _, _, _, models = made("marian")
    before = [hash_model(m) for m in models]
    pair, other = ensemble(models[:2]), ensemble(models[1:])
    assert [hash_model(m) for m in models] == before
    assert len({hash_model(pair), hash_model(other), *before}) == 5
    assert hash_model(ensemble(models[:2])) == hash_model(pair)
    assert ensemble(models[:1]) is models[0] and not hasattr(models[0], "members")
    assert sum(p.numel() for p in pair.parameters()) == sum(p.numel() for m in models[:2] for p in m.parameters())


def test_what_can_not_answer_as_one_is_refused(made, tmp_path):
    family, _, batch, models = made("ctc")
    with pytest.raises(ConsommeError, match=r"different architectures.*Wav2Vec2BertForCTC, MarianMTModel"):
        ensemble([models[0], made("marian")[3][0]])
    with pytest.raises(ConsommeError, match="at least one"):
        ensemble([])
    family.create(tmp_path, {**SETTINGS["ctc"][0], "add_adapter": True}, {}, lambda: iter(TEXTS * 5), ["en"], 1)
    with pytest.raises(ConsommeError, match="one frame rate"):
        ensemble([models[0], load(tmp_path)])(**batch)


def test_an_ensemble_is_a_model_folder_too(made, tmp_path, name="marian"):
    """Made by the averaging method, loaded by the one call, it answers as its members do together."""
    from consomme.average.methods import TABLE
    from consomme.average.methods.base import Mix

    family, processor, batch, models = made(name)
    parents = {}
    for number, model in enumerate(models[:2]):
        folder = parents[f"run={number}"] = tmp_path / str(number)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        (folder / "provenance.json").write_text("{}")
    (tmp_path / "out").mkdir()
    chosen = TABLE["ensemble"].build(Mix(parents, {"method": "ensemble"}, lambda: None), tmp_path / "out")
    assert chosen == {"ingredients": ["run=0", "run=1"]} and not (tmp_path / "out" / "model.safetensors").exists()
    wanted = ensemble([load(folder) for folder in parents.values()])
    shutil.rmtree(tmp_path / "0")  # links, not references
    found = load(tmp_path / "out")
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    said = [family.generate(m, family.processor(tmp_path / "out"), inputs, ["en", "fr"], {}) for m in (found, wanted)]
    assert said[0] == said[1]
