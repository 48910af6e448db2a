"""A checkpoint with a new CTC head: encoders as pretraining leaves them, saved with the stock classes."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from consomme.common.errors import ConsommeError
from consomme.common.files import hash_file, read_json
from consomme.common.job import parse
from consomme.families import family_of, load
from consomme.start.stage import run

TEXTS = ["ein hund bellt", "zwei äpfel"]
WAVEFORM = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [16, 16, 16],
    "conv_stride": [5, 8, 8],
    "conv_kernel": [10, 8, 8],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "codevector_dim": 8,
    "proj_codevector_dim": 8,
    "num_codevectors_per_group": 4,
}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_depthwise_kernel_size": 3,
    "codevector_dim": 8,
    "proj_codevector_dim": 8,
}
# class that a checkpoint was saved from -> its config, settings, feature extractor
SAVED = {
    "Wav2Vec2Model": ("Wav2Vec2Config", WAVEFORM, "Wav2Vec2FeatureExtractor"),
    "Wav2Vec2ForPreTraining": ("Wav2Vec2Config", WAVEFORM, "Wav2Vec2FeatureExtractor"),
    "Wav2Vec2ForCTC": ("Wav2Vec2Config", WAVEFORM, "Wav2Vec2FeatureExtractor"),
    "HubertModel": ("HubertConfig", WAVEFORM, "Wav2Vec2FeatureExtractor"),
    "WavLMModel": ("WavLMConfig", WAVEFORM, "Wav2Vec2FeatureExtractor"),
    "Wav2Vec2BertModel": ("Wav2Vec2BertConfig", BERT, "SeamlessM4TFeatureExtractor"),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Class name -> a folder as it is published: weights, config, feature extractor."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            config, settings, extractor = SAVED[name]
            torch.manual_seed(0)
            model = getattr(transformers, name)(getattr(transformers, config)(**settings))
            model.save_pretrained(made[name])
            getattr(transformers, extractor)().save_pretrained(made[name])
        return made[name]

    return folder


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A prepared corpus, written by hand."""
    import pyarrow as pa

    folder, n = tmp_path_factory.mktemp("prepared") / "speech", len(TEXTS)
    columns = {
        "id": pa.array([str(i) for i in range(n)]),
        "speaker": pa.array([None] * n, pa.string()),
        "document": pa.array([None] * n, pa.string()),
        "recordings": pa.array([[] for _ in range(n)], pa.list_(pa.string())),
        "seconds": pa.array([0.1] * n),
        "audio": pa.array([[1, 2]] * n, pa.large_list(pa.int16())),
        "text": pa.array(TEXTS),
    }
    table = pa.table(columns)
    folder.mkdir()
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    prepared = {"task": "asr", "name": "speech", "fingerprint": "f00d", "rows": n, "seconds": 0.2, "version": 1}
    prepared |= {"sampling_rate": 16000, "read": n, "skipped": {}}
    (folder / "prepared.json").write_text(json.dumps(prepared))
    return folder


@pytest.fixture
def start(tmp_path, speech):
    """start(folder, tokenizer): the folder that the start stage makes of it."""

    def started(folder, tokenizer=None, seed=1, name="out"):
        spec = {
            "stage": "start",
            "version": 1,
            "digest": "abcdef012345",
            "task": "asr",
            "settings": {"folder": str(folder)},
        }
        more = []
        if tokenizer is not None:
            spec["settings"]["tokenizer"] = tokenizer
            spec |= {"languages": ["de"], "seed": seed, "inputs": ["corpus/speech"]}
            more = ["--inputs", str(speech)]
        run(parse(["--spec", json.dumps(spec), *more, "--out", str(tmp_path / name), "--threads", "1"], ""))
        return tmp_path / name

    return started


CHARACTERS = {"type": "characters"}


@pytest.mark.parametrize("name", list(SAVED))
def test_the_encoder_stays_and_a_head_for_the_training_texts_is_new(name, saved, start):
    out = start(saved(name), CHARACTERS)
    model, family = load(out), family_of(out)
    processor = family.processor(out)
    source = getattr(transformers, name).from_pretrained(saved(name))
    before, after = source.base_model.state_dict(), model.base_model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not {n for n in load_file(out / "model.safetensors") if "quantizer" in n or "project_" in n}

    assert set(read_json(out / "vocab.json")) == {"<pad>", "<unk>", "|", *"".join(TEXTS)} - {" "}
    assert model.lm_head.out_features == model.config.vocab_size == len(processor.tokenizer)
    assert model.config.pad_token_id == processor.tokenizer.pad_token_id
    assert read_json(out / "config.json")["architectures"] == [family.architecture]
    assert not model.lm_head.bias.any()
    assert abs(model.lm_head.weight.std() / model.config.initializer_range - 1) < 0.2
    record = read_json(out / "provenance.json")
    assert record["corpora"] == {"speech": "f00d"} and record["seed"] == 1

    # a step of training
    waves = [(0.1 * np.random.default_rng(i).standard_normal(24000)).astype(np.float32) for i in range(2)]
    labels = [family.labels(processor, text, ["de"]) for text in TEXTS]
    assert all(processor.tokenizer.unk_token_id not in row for row in labels)
    batch = family.collate(processor, [family.features(processor, wave) for wave in waves], labels)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(3):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    assert model.lm_head.weight.grad.any()


def test_the_head_is_the_seeds(saved, start):
    first, again, other = (
        load_file(start(saved("HubertModel"), CHARACTERS, seed, name) / "model.safetensors")
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert {n for n in first if not torch.equal(first[n], other[n])} == {"lm_head.weight"}


def test_old_names_of_the_weight_norm_and_half_precision_stay_the_same_numbers(saved, start, tmp_path):
    shutil.copytree(saved("Wav2Vec2Model"), tmp_path / "old")
    ends = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = {}
    for name, tensor in load_file(saved("Wav2Vec2Model") / "model.safetensors").items():
        for new, old in ends.items():
            name = name.replace(new, old)
        weights[name] = tensor.half()
    assert any(name.endswith("weight_g") for name in weights)
    save_file(weights, tmp_path / "old" / "model.safetensors", {"format": "pt"})
    made = load_file(start(tmp_path / "old", CHARACTERS) / "model.safetensors")
    expected = load_file(start(saved("Wav2Vec2Model"), CHARACTERS, name="new") / "model.safetensors")
    assert made.keys() == expected.keys()
    assert all(made[n].dtype == torch.float16 for n in made)
    assert all(torch.equal(made[n], expected[n].half()) for n in made)


def test_parakeet_gets_subwords(start, tmp_path):
    from consomme.families import family_named

    settings = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32, "subsampling_conv_channels": 8}
    family_named("parakeet").create(tmp_path / "old", settings, {}, lambda: iter(["the cat sat"] * 5), ["en"], 3)
    out = start(tmp_path / "old", {"type": "bpe", "vocab_size": 24})
    before, after = (load_file(f / "model.safetensors") for f in (tmp_path / "old", out))
    assert {n for n in before if not n.startswith("ctc_head")} == {n for n in after if not n.startswith("ctc_head")}
    assert all(torch.equal(before[n], after[n]) for n in before if not n.startswith("ctc_head"))
    tokenizer = family_of(out).processor(out).tokenizer
    assert len(after["ctc_head.weight"]) == len(tokenizer) == load(out).config.vocab_size
    assert tokenizer.unk_token_id not in tokenizer(TEXTS[1], add_special_tokens=False).input_ids


def test_without_a_tokenizer_a_checkpoint_with_a_head_is_copied_and_one_without_is_refused(saved, start, tmp_path):
    with pytest.raises(ConsommeError, match=r"without a head.*tokenizer: \{type: characters\}"):
        start(saved("Wav2Vec2ForPreTraining"))
    german = start(saved("Wav2Vec2ForCTC"), CHARACTERS)
    again = start(german, name="again")
    assert hash_file(german / "model.safetensors") == hash_file(again / "model.safetensors")


def test_what_can_not_carry_a_new_head_is_refused(saved, start, tmp_path):
    shutil.copytree(saved("HubertModel"), tmp_path / "bare")
    (tmp_path / "bare" / "preprocessor_config.json").unlink()
    with pytest.raises(ConsommeError, match=r"feature extractor does not load.*preprocessor_config\.json"):
        start(tmp_path / "bare", CHARACTERS)
    shutil.copytree(saved("HubertModel"), tmp_path / "lost")
    weights = load_file(saved("HubertModel") / "model.safetensors")
    layer = "encoder.layers.1.attention.k_proj.weight"
    save_file({n: t for n, t in weights.items() if n != layer}, tmp_path / "lost" / "model.safetensors")
    with pytest.raises(ConsommeError, match=r"missing_keys: hubert\.encoder\.layers\.1\.attention\.k_proj\.weight"):
        start(tmp_path / "lost", CHARACTERS)
    save_file({**weights, "encoder.extra": torch.ones(1)}, tmp_path / "lost" / "model.safetensors")
    with pytest.raises(ConsommeError, match=r"unexpected_keys: .*encoder\.extra"):
        start(tmp_path / "lost", CHARACTERS)
    save_file({**weights, layer: torch.ones(3, 3)}, tmp_path / "lost" / "model.safetensors")
    with pytest.raises(ConsommeError, match="mismatched_keys"):
        start(tmp_path / "lost", CHARACTERS)
