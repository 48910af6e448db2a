import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from consomme.common.digest import canonical
from consomme.common.errors import ConsommeError
from consomme.common.settings import defaults
from consomme.families import TABLE, device_named, family_named, family_of, load, surgery
from consomme.families.base import value_of

MADE = [name for name in TABLE if TABLE[name].scratch]


def auto(family):
    if family.objective != "seq2seq":
        named = {"parakeet_rnnt": transformers.AutoModelForRNNT, "parakeet_tdt": transformers.AutoModelForTDT}
        return named.get(family.name, transformers.AutoModelForCTC)
    return transformers.AutoModelForSpeechSeq2Seq if family.task == "asr" else transformers.AutoModelForSeq2SeqLM


def test_records_import_no_heavy_package():
    code = "import sys, consomme.families as f; list(f.TABLE); print({'torch', 'numpy', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_unknown_names_are_told_the_nearest(tmp_path):
    with pytest.raises(ConsommeError, match="did you mean 'marian'"):
        family_named("marain")
    with pytest.raises(ConsommeError, match=r"no config\.json"):
        family_of(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConsommeError, match="'bert' belongs to no family"):
        family_of(tmp_path)


def test_a_folder_of_another_engine_is_told_so(tmp_path):
    """CTranslate2 writes a config.json of its own."""
    (tmp_path / "config.json").write_text('{"add_source_bos": false, "decoder_start_token": "<s>"}')
    with pytest.raises(ConsommeError, match=r"names no model_type.*runs in that engine"):
        family_of(tmp_path)


def test_records_name_what_their_models_have(tiny):
    config = tiny.model.config
    for key in tiny.family.dropouts:
        assert value_of(config, key) is not None
    for stack in tiny.family.stacks.values():
        assert all(value_of(config, key) is not None for key in (stack.count, stack.heads, stack.layerdrop) if key)
    assert family_of(tiny.folder) is tiny.family is TABLE[tiny.family.name]


def test_stock_classes_load_a_scratch_checkpoint_bit_for_bit(tiny):
    stock = auto(tiny.family).from_pretrained(tiny.folder).eval()
    kind = transformers.AutoTokenizer if tiny.family.task == "nmt" else transformers.AutoProcessor
    assert type(kind.from_pretrained(tiny.folder)) is type(tiny.processor)
    with torch.no_grad():
        assert torch.equal(stock(**tiny.forward).logits, tiny.model(**tiny.forward).logits)


def test_the_seed_alone_decides_the_weights(tiny, recipe, tmp_path):
    settings, tokenizer, texts, languages = recipe(tiny.family.name)
    weights = []
    for i, seed in enumerate((1, 1, 2)):
        torch.rand(i)
        out = tmp_path / str(i)
        tiny.family.create(out, settings, tokenizer, texts, languages, seed)
        weights.append((out / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]
    vocabularies = [
        {p.name: p.read_bytes() for p in (tmp_path / i).iterdir() if p.suffix != ".safetensors"} for i in "02"
    ]
    assert vocabularies[0] == vocabularies[1]


def test_frames_stay_apart_in_a_deep_ctc_encoder(tmp_path):
    """An untrained deep encoder must not give every frame the same state, or CTC has nothing to learn from."""
    ctc = family_named("ctc")
    ctc.create(tmp_path / "deep", {"num_hidden_layers": 18}, {}, lambda: iter(["one two"]), ["en"], seed=1)
    encoder = load(tmp_path / "deep").wav2vec2_bert
    noise = torch.randn(1, 100, 240, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = encoder(input_features=noise, attention_mask=torch.ones(1, 100, dtype=torch.int64)).last_hidden_state
    directions = torch.nn.functional.normalize(states[0], dim=-1)
    between = (directions @ directions.T)[~torch.eye(100, dtype=torch.bool)]
    assert between.mean() < 0.2


def test_unknown_settings_are_refused(tmp_path):
    for name in MADE:
        with pytest.raises(ConsommeError, match="no such setting"):
            family_named(name).create(tmp_path, {"encoder_layer": 2}, {}, lambda: iter(["a"]), ["en", "fr"], 1)
        with pytest.raises(ConsommeError, match=f"allowed for {name}"):
            family_named(name).create(tmp_path, {}, {"type": "words"}, lambda: iter(["a"]), ["en", "fr"], 1)
    with pytest.raises(ConsommeError, match="allowed: 2, 3"):
        family_named("ctc").create(tmp_path, {"stride": 1}, {}, lambda: iter(["a"]), ["en"], 1)
    with pytest.raises(ConsommeError, match="knows no 'xx'"):
        family_named("whisper").create(tmp_path, {}, {}, lambda: iter(["a"]), ["xx"], 1)
    with pytest.raises(ConsommeError, match="no training texts"):
        family_named("marian").create(tmp_path, {}, {}, lambda: iter([]), ["en", "fr"], 1)


def test_what_a_model_says_does_not_depend_on_its_batch(tiny):
    if tiny.family.padding_matters(tiny.model.config):
        pytest.skip("the architecture hears the padding")
    decoding = {"num_beams": 1, "max_new_tokens": 12}

    def said(features):
        batch = tiny.family.collate(tiny.processor, features, None)
        return tiny.family.generate(tiny.model, tiny.processor, batch, tiny.languages, decoding)

    assert said(tiny.features) == said(tiny.features[:1]) + said(tiny.features[1:])


def test_generate_equals_the_stock_call(tiny):
    decoding = {} if tiny.family.objective != "seq2seq" else {"num_beams": 2, "max_new_tokens": 9}
    if tiny.family.name == "parakeet":
        ids = tiny.model.generate(**tiny.inputs)
        stock = tiny.processor.batch_decode(ids, skip_special_tokens=True)
    elif tiny.family.objective == "transducer":
        stock = []  # one by one: in a batch the stock call hears the padding
        for feature in tiny.features:
            inputs = tiny.family.collate(tiny.processor, [feature], None)
            ids = tiny.model.generate(**inputs, max_new_tokens=1000).sequences
            stock += tiny.processor.batch_decode(ids, skip_special_tokens=True)
    elif tiny.family.objective == "ctc":
        # with skip_special_tokens the stock tokenizer drops blanks before it joins repeats, and "three" loses an e;
        # without, it keeps <unk>: so that is kept from being said here
        tiny.model.lm_head.bias.data[tiny.processor.tokenizer.unk_token_id] = -100
        ids = tiny.model(**tiny.inputs).logits.argmax(-1)
        ids[tiny.family.frames(tiny.model, tiny.inputs)[:, None] <= torch.arange(ids.shape[1])] = 0
        stock = tiny.processor.batch_decode(ids)
    elif tiny.family.name == "whisper":
        ids = tiny.model.generate(**tiny.inputs, language="en", task="transcribe", max_new_tokens=9, num_beams=2)
        stock = tiny.processor.batch_decode(ids, skip_special_tokens=True)
    else:
        ids = tiny.model.generate(**tiny.inputs, max_new_tokens=9, num_beams=2, no_repeat_ngram_size=1)
        stock = tiny.processor.batch_decode(ids, skip_special_tokens=True)
        decoding["no_repeat_ngram_size"] = 1  # untrained models say one word only
    ours = tiny.family.generate(tiny.model, tiny.processor, tiny.inputs, tiny.languages, decoding)
    assert ours == [" ".join(t.split()) if tiny.family.objective != "seq2seq" else t.strip() for t in stock]
    assert any(ours)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_hypothesis_is_cut_where_no_end_came(tiny, beams):
    """Against a run with more room: what goes on there was cut."""
    if tiny.family.objective != "seq2seq":
        pytest.skip("CTC and transducers have no end token")

    def said(most, end):
        with torch.no_grad():
            bias = torch.zeros(tiny.model.config.vocab_size)
            bias[tiny.model.generation_config.eos_token_id] = 1e4 if end else -1e4
        handle = tiny.model.get_output_embeddings().register_forward_hook(lambda module, given, out: out + bias)
        try:
            decoding = {"num_beams": beams, "max_new_tokens": most}
            return tiny.family.decode(tiny.model, tiny.processor, tiny.inputs, tiny.languages, decoding)
        finally:
            handle.remove()

    assert [one.cut for one in said(6, end=False)] == [True, True]
    assert [one.cut for one in said(6, end=True)] == [False, False]


def test_more_new_tokens_than_positions_are_capped(tiny):
    decoding = {"max_new_tokens": 10**6} if tiny.family.name == "whisper" else {"max_new_tokens": 5}
    assert len(tiny.family.generate(tiny.model, tiny.processor, tiny.inputs, tiny.languages, decoding)) == 2


def test_load_refuses_weights_that_do_not_fit(tiny, tmp_path):
    for path in tiny.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights[next(n for n in sorted(weights) if "layers.1." in n or "block.1." in n)]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConsommeError, match="missing_keys"):
        load(tmp_path)


def test_loss_ignores_padding(tiny):
    """The loss of a batch is the mean of its examples' losses, weighted by tokens (ctc: by example)."""
    if tiny.family.padding_matters(tiny.model.config):
        pytest.skip("the architecture hears the padding")
    if tiny.family.objective == "transducer":
        pytest.skip("test_transducers has the loss")
    singles, tokens = [], []
    for i, feature in enumerate(tiny.features):
        labels = tiny.batch["labels"][i]
        labels = labels[labels != -100].tolist()
        batch = tiny.family.collate(tiny.processor, [feature], [labels])
        singles.append(tiny.model(**batch).loss.item())
        tokens.append(1 if tiny.family.objective == "ctc" else len(labels))
    assert tiny.model(**tiny.batch).loss.item() == pytest.approx(np.average(singles, weights=tokens), rel=1e-4)


def test_a_fresh_model_learns(tiny):
    """15 steps on two examples, by the losses that training has."""
    from consomme.train import losses

    model, batch = copy.deepcopy(tiny.model).train(), dict(tiny.batch)
    labels = batch.pop("labels")
    if tiny.family.objective != "ctc":
        batch["decoder_input_ids"] = tiny.family.decoder_inputs(model, labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    torch.manual_seed(0)
    found = []
    for _ in range(15):
        logits = model(**batch).logits
        if tiny.family.objective == "ctc":
            frames = tiny.family.frames(model, batch)
            loss = losses.ctc(logits, labels, frames, model.config.pad_token_id, len(labels))
        elif tiny.family.objective == "transducer":
            frames = tiny.family.frames(model, batch)
            nll = tiny.family.lattice_nll(model, logits, labels, frames)
            loss = losses.transducer(nll, labels, len(labels))
        else:
            loss = losses.seq2seq(logits, labels, 0.0, (labels != -100).sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert np.isfinite(found).all()
    assert np.mean(found[-3:]) < 0.9 * np.mean(found[:3])


def test_decoder_inputs_are_those_of_the_models_own_loss(tiny):
    if tiny.family.objective != "seq2seq":
        pytest.skip("no decoder whose inputs the model makes of labels")
    labels = tiny.batch["labels"]
    given = tiny.family.decoder_inputs(tiny.model, labels)
    inputs = {k: v for k, v in tiny.batch.items() if k != "labels"}
    with torch.no_grad():
        assert torch.equal(tiny.model(**inputs, decoder_input_ids=given).logits, tiny.model(**tiny.batch).logits)


def test_frames_are_those_that_an_example_alone_gives(tiny):
    if tiny.family.objective == "seq2seq":
        pytest.skip("no frames")
    counts = tiny.family.frames(tiny.model, tiny.batch).tolist()
    for feature, count in zip(tiny.features, counts, strict=True):
        alone = tiny.family.collate(tiny.processor, [feature], None)
        if tiny.family.objective == "transducer":
            alone["decoder_input_ids"] = torch.zeros(1, 2, dtype=torch.int64)
        assert tiny.model(**alone).logits.shape[1] == count
    lengths = torch.tensor([len(feature) for feature in tiny.features])
    assert tiny.family.output_frames(tiny.model, lengths).tolist() == counts


def test_the_head_makes_logits_of_the_top_layers_states(tiny):
    if tiny.family.objective != "ctc":
        pytest.skip("no CTC head")
    heard = []
    layers = surgery.layers(tiny.model, tiny.family.stacks["encoder"])
    layers[-1].register_forward_hook(lambda module, given, output: heard.append(output))
    with torch.no_grad():
        logits = tiny.model(**tiny.inputs).logits
        states = heard[0][0] if isinstance(heard[0], tuple) else heard[0]
        assert torch.equal(tiny.family.head(tiny.model, states, tiny.inputs), logits)


@pytest.mark.parametrize("name", MADE)
def test_settings_may_come_as_a_jobs_json_has_them(name, recipe, tmp_path):
    """1.0 is 1 there, and a tuple a list."""
    family = family_named(name)
    given, tokenizer, texts, languages = recipe(name)
    settings = json.loads(canonical({**defaults(family.scratch), **given}))
    family.create(tmp_path / "a", settings, tokenizer, texts, languages, 1)
    family.create(tmp_path / "b", given, tokenizer, texts, languages, 1)
    weights = [(tmp_path / i / "model.safetensors").read_bytes() for i in "ab"]
    assert weights[0] == weights[1]
    ranges = [key for key in ("init_std", "initializer_range", "initializer_factor") if key in defaults(family.scratch)]
    family.create(tmp_path / "c", {**settings, ranges[0]: 1}, tokenizer, texts, languages, 1)
    with pytest.raises(ConsommeError, match="refuses these settings"):
        family.create(tmp_path / "d", {**settings, ranges[0]: "much"}, tokenizer, texts, languages, 1)


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, "cpu"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "cpu"),  # no job of Slurm
        ({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": ""}, "cpu"),  # one without a GPU
        ({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": "NoDevFiles"}, "cpu"),
        ({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": "0", "CONSOMME_DEVICE": "cpu"}, "cpu"),
        ({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": "1,2"}, None),
        ({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": "MIG-1a2b"}, None),
    ],
)
def test_a_gpu_that_slurm_gave_has_to_be_of_use(monkeypatch, environment, wanted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES", "CONSOMME_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if wanted:
        assert device_named("auto") == wanted
    else:
        with pytest.raises(ConsommeError, match=r"Slurm gave this job GPU .* finds no CUDA .* CONSOMME_DEVICE=cpu"):
            device_named("auto")
    assert device_named("cuda") == "cuda"
