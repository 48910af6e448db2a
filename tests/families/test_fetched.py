"""Checkpoints as others made them, saved with the stock classes: languages, prefixes, masks, unlisted architectures."""

import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_json
from consomme.families import family_named, family_of, load, surgery
from consomme.families.translation import code_of
from consomme.start.checkpoint import complete

TEXTS = ["the cat sat on a mat", "le chat est assis"]
LETTERS = [f"▁{c}" for c in "abcdefgh"] + list("abcdefghilmnorstuv")
BART = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 64,
}
SPEECH = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8, 8, 8],
    "conv_stride": [5, 8, 8],
    "conv_kernel": [10, 8, 8],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}


def parted(processor, family, noise):
    """A batch of two and the two alone."""
    features = [family.features(processor, noise(samples, samples)) for samples in (16000, 9000)]
    return family.collate(processor, features, None), [family.collate(processor, [f], None) for f in features]


# -- wav2vec 2.0 without a mask ------------------------------------------------------------------------------------
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_a_checkpoint_is_run_with_a_mask_only_if_it_was_trained_with_one(folders, noise, norm):
    folder = folders("wav2vec2", feat_extract_norm=norm, do_stable_layer_norm=False)
    family, model = family_of(folder), load(folder)
    processor = family.processor(folder)
    together, alone = parted(processor, family, noise)
    assert family.padding_matters(model.config) == (norm == "group") == ("attention_mask" not in together)
    frames = family.frames(model, together).tolist()
    if norm == "group":
        assert frames == [model(**together).logits.shape[1]] * 2
    for batch, count in zip(alone, family.frames(model, together).tolist(), strict=True):
        stock = processor(
            audio=noise(batch["input_values"].shape[1], batch["input_values"].shape[1]), sampling_rate=16000
        )
        np.testing.assert_allclose(batch["input_values"][0], stock["input_values"][0], atol=1e-6)
        if norm == "layer":
            assert model(**batch).logits.shape[1] == count


def test_weights_under_old_names_get_the_new_ones(folders, tmp_path):
    """Checkpoints of before weight norm was a parametrisation, without the embedding of masks that nothing uses."""
    folder = tmp_path / "old"
    shutil.copytree(folders("wav2vec2", mask_time_prob=0.05), folder)
    weights, before = load_file(folder / "model.safetensors"), load(folder).state_dict()
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for name, tensor in weights.items():
        for new, former in old.items():
            name = name.replace(new, former)
        if not name.endswith("masked_spec_embed"):
            renamed[name] = tensor.half()
    save_file(renamed, folder / "model.safetensors", {"format": "pt"})
    model = load(folder)
    complete(folder, model)
    after = load_file(folder / "model.safetensors")
    assert after.keys() == weights.keys() and {t.dtype for t in after.values()} == {torch.float16}
    again = load(folder).state_dict()
    assert all(torch.equal(again[n], t.half().float()) for n, t in before.items() if not n.endswith("_embed"))
    assert not again["wav2vec2.masked_spec_embed"].any()
    kept = (folder / "model.safetensors").read_bytes()
    complete(folder, model)
    assert (folder / "model.safetensors").read_bytes() == kept


# -- languages -----------------------------------------------------------------------------------------------------
def mbart50(folder):
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((p, -3.0) for p in LETTERS)]
    codes = transformers.models.mbart50.tokenization_mbart50.FAIRSEQ_LANGUAGE_CODES
    tokenizer = transformers.MBart50Tokenizer(vocab=[*pieces, *((c, 0.0) for c in codes), ("<mask>", 0.0)])
    config = transformers.MBartConfig(vocab_size=len(tokenizer), decoder_start_token_id=2, **BART)
    return save(folder, transformers.MBartForConditionalGeneration, config, tokenizer)


def nllb(folder):
    pieces = {t: i for i, t in enumerate(["<s>", "<pad>", "</s>", "<unk>", "▁", *LETTERS])}
    tokenizer = transformers.NllbTokenizer(vocab=pieces, merges=[])
    config = transformers.M2M100Config(vocab_size=len(tokenizer), **BART)
    return save(folder, transformers.M2M100ForConditionalGeneration, config, tokenizer)


def save(folder, kind, config, processor):
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("make", "name", "languages", "codes"),
    [
        (mbart50, "mbart", ["fr", "sv"], ["fr_XX", "sv_SE"]),
        (nllb, "m2m_100", ["fra_Latn", "swe_Latn"], ["fra_Latn", "swe_Latn"]),
    ],
)
def test_the_processor_of_a_model_of_many_languages_is_for_a_pair(tmp_path, make, name, languages, codes):
    folder = make(tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(folder)
    family = family_of(folder)
    assert family is family_named(name)
    with pytest.raises(ConsommeError, match="name no tgt_lang"):
        family.beginning(family.processor(folder))
    processor, model = family.processor(folder, languages), load(folder)
    stock.src_lang, stock.tgt_lang = codes
    ids = stock.convert_tokens_to_ids(codes)
    expected = stock("a cab", text_target="le bras")
    assert family.features(processor, "a cab").tolist() == expected["input_ids"]
    assert expected["input_ids"][0] == ids[0] and expected["labels"][0] == ids[1]
    assert family.labels(processor, "le bras", languages) == expected["labels"]
    assert processor.decode(expected["labels"], skip_special_tokens=True) == "le bras"

    batch = family.collate(processor, [family.features(processor, "a cab")], None)
    plain = model.generate(**batch, max_new_tokens=6, forced_bos_token_id=ids[1])
    assert plain[0, :2].tolist() == [2, ids[1]]
    said = family.generate(model, processor, batch, languages, {"max_new_tokens": 6})
    assert said == [t.strip() for t in stock.batch_decode(plain, skip_special_tokens=True)]
    with pytest.raises(ConsommeError, match="'xx' is unknown"):
        family.processor(folder, ["xx", languages[0]])


def test_mbarts_own_layout_ends_with_the_language(folders, bundle):
    tiny = bundle("mbart", folders("mbart"))
    code = tiny.processor.convert_tokens_to_ids("fr_XX")
    assert tiny.family.labels(tiny.processor, "le chat", ["en", "fr"])[-2:] == [2, code]
    assert tiny.family.beginning(tiny.processor)["decoder_start_token_id"] == code
    assert tiny.family.decoder_inputs(tiny.model, tiny.batch["labels"])[:, 0].tolist() == [code, code]


def test_a_language_is_its_code_or_the_only_one_that_begins_so():
    known = {"en_XX": 1, "fr_XX": 2, "zh_CN": 3, "zh_TW": 4, "de": 5}
    assert [code_of(c, known, "family") for c in ("en", "fr_XX", "de")] == ["en_XX", "fr_XX", "de"]
    with pytest.raises(ConsommeError, match="'zh' means zh_CN or zh_TW"):
        code_of("zh", known, "family")


def test_the_prefix_of_a_task_is_put_before_the_source(folders, tmp_path):
    shutil.copytree(folders("t5"), tmp_path / "t5")
    family, config = family_named("t5"), read_json(tmp_path / "t5" / "config.json")
    tasks = {"translation_en_to_fr": {"prefix": "translate English to French: "}}
    write_json(tmp_path / "t5" / "config.json", {**config, "task_specific_params": tasks})
    plain, there, back = (family.processor(tmp_path / "t5", pair) for pair in ((), ["en", "fr"], ["fr", "en"]))
    for processor in (plain, back):
        assert family.features(processor, "cat").tolist() == plain("cat").input_ids
    assert family.features(there, "cat").tolist() == plain("translate English to French: cat").input_ids
    assert family.labels(there, "chat", ["en", "fr"]) == plain(text_target="chat").input_ids


def test_a_t5_with_a_head_of_its_own_stays_one(folders, bundle, tmp_path):
    """As T5 1.1 is published: untied, outputs not scaled, and its config says so in the old way."""
    shutil.copytree(folders("t5"), tmp_path / "t5")
    weights, config = load_file(tmp_path / "t5" / "model.safetensors"), read_json(tmp_path / "t5" / "config.json")
    head = torch.randn(weights["shared.weight"].shape, generator=torch.Generator().manual_seed(0))
    save_file({**weights, "lm_head.weight": head}, tmp_path / "t5" / "model.safetensors", {"format": "pt"})
    del config["scale_decoder_outputs"]
    write_json(tmp_path / "t5" / "config.json", {**config, "tie_word_embeddings": False})
    tiny = bundle("t5", tmp_path / "t5")
    assert torch.equal(tiny.model.lm_head.weight, head)
    pruned = surgery.keep_layers(tiny.model, tiny.family, {"encoder": [1, 2], "decoder": [2]})
    pruned.save_pretrained(tmp_path / "pruned")
    plain = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "pruned").eval()
    assert torch.equal(plain(**tiny.batch).logits, pruned(**tiny.batch).logits)
    for name in ("t5", "pruned"):
        assert "scaled" in tiny.family.no_conversion(read_json(tmp_path / name / "config.json"))
    assert tiny.family.no_conversion(read_json(folders("t5") / "config.json")) is None


# -- unlisted architectures ----------------------------------------------------------------------------------------
def unispeech(folder, folders):
    source = folders("wav2vec2")
    config = transformers.UniSpeechSatConfig(vocab_size=len(read_json(source / "vocab.json")), pad_token_id=0, **SPEECH)
    return save(folder, transformers.UniSpeechSatForCTC, config, transformers.Wav2Vec2Processor.from_pretrained(source))


def bart(folder, folders):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders("t5"))
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "forced_eos_token_id": None}
    config = transformers.BartConfig(vocab_size=len(tokenizer), **BART, **ids)
    return save(folder, transformers.BartForConditionalGeneration, config, tokenizer)


def listener(folder, folders):
    processor = transformers.Wav2Vec2Processor.from_pretrained(folders("moonshine"))
    width = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    encoder = transformers.Wav2Vec2Config(**SPEECH)
    decoder = transformers.BertConfig(
        vocab_size=len(processor.tokenizer), hidden_size=16, is_decoder=True, add_cross_attention=True, **width
    )
    config = transformers.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 3, 2
    return save(folder, transformers.SpeechEncoderDecoderModel, config, processor)


@pytest.mark.parametrize(("make", "name"), [(unispeech, "auto-ctc"), (bart, "auto-text"), (listener, "auto-speech")])
def test_an_unlisted_architecture_is_used_through_the_auto_classes(folders, noise, tmp_path, make, name):
    folder = make(tmp_path, folders)
    family = family_of(folder)
    assert family is family_named(name) and not family.stacks
    model, processor = load(folder), family.processor(folder)
    sources = [noise(16000, 1), noise(9000, 2)] if family.task == "asr" else TEXTS[:2]
    features = [family.features(processor, source) for source in sources]
    batch = family.collate(processor, features, [family.labels(processor, text, ["en"]) for text in TEXTS])
    labels = batch.pop("labels")
    if family.objective == "seq2seq":
        batch["decoder_input_ids"] = family.decoder_inputs(model, labels)
    logits = model(**batch).logits
    assert torch.isfinite(logits).all()
    if family.objective == "ctc":
        assert family.frames(model, batch).max() == logits.shape[1]
        assert family.output_frames(model, torch.tensor([16000]))[0] == logits.shape[1]
    batch.pop("decoder_input_ids", None)
    assert len(family.generate(model, processor, batch, ["en"], {"max_new_tokens": 4})) == 2
    with pytest.raises(ConsommeError, match="none is made from scratch"):
        family.create(tmp_path / "new", {}, {}, lambda: iter(TEXTS), ["en"], 1)


def test_no_code_of_a_checkpoint_is_run(folders, tmp_path):
    folder = bart(tmp_path, folders)
    config = read_json(folder / "config.json")
    (folder / "modeling.py").write_text("raise SystemExit('this code was run')")
    remote = {"AutoConfig": "modeling.Config", "AutoModelForSeq2SeqLM": "modeling.Model"}
    write_json(folder / "config.json", {**config, "model_type": "novel", "auto_map": remote})
    with pytest.raises(ConsommeError, match="can't load it"):
        load(folder)
    write_json(folder / "config.json", {**config, "architectures": ["BartModel"], "model_type": "novel"})
    with pytest.raises(ConsommeError, match="'novel' belongs to no family"):
        family_of(folder)


def test_a_decoder_without_a_padding_token_is_trained_and_asked(folders, bundle, tmp_path):
    """The published Moonshine has none in its config: what stands behind a transcript's end is then anything."""
    shutil.copytree(folders("moonshine"), tmp_path / "moonshine")
    for file in ("config.json", "generation_config.json"):
        write_json(tmp_path / "moonshine" / file, read_json(tmp_path / "moonshine" / file) | {"pad_token_id": None})
    with_one, without = bundle("moonshine", folders("moonshine")), bundle("moonshine", tmp_path / "moonshine")
    assert without.model.config.pad_token_id is None
    said, logits = [], []
    for tiny in (with_one, without):
        given = tiny.family.decoder_inputs(tiny.model, tiny.batch["labels"])
        logits.append(tiny.model(**tiny.inputs, decoder_input_ids=given).logits[tiny.batch["labels"] != -100])
        said.append(tiny.family.generate(tiny.model, tiny.processor, tiny.inputs, ["en"], {"max_new_tokens": 6}))
    assert torch.equal(*logits) and said[0] == said[1]


def test_a_decoder_without_a_start_token_is_refused(folders, tmp_path):
    folder = bart(tmp_path, folders)
    model = load(folder)
    labels = torch.tensor([[5, 6, 1]])
    model.config.decoder_start_token_id = None  # as in checkpoints of which only the generation config tells
    assert family_of(folder).decoder_inputs(model, labels).tolist() == [[0, 5, 6]]
    model.generation_config.decoder_start_token_id = None
    with pytest.raises(ConsommeError, match="names no decoder_start_token_id"):
        family_of(folder).decoder_inputs(model, labels)


def test_a_multilingual_whisper_needs_no_language_in_its_generation_config(folders, bundle, tmp_path):
    """Published ones list their languages there, and name neither `language` nor `task`."""
    shutil.copytree(folders("whisper"), tmp_path / "whisper")
    file = tmp_path / "whisper" / "generation_config.json"
    known = read_json(file)
    assert known["is_multilingual"]
    write_json(file, {key: value for key, value in known.items() if key not in ("language", "task")})
    written = [
        tiny.family.generate(tiny.model, tiny.processor, tiny.inputs, ["en"], {"max_new_tokens": 6})
        for tiny in (bundle("whisper", folders("whisper")), bundle("whisper", tmp_path / "whisper"))
    ]
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("make", "pairs"),
    [
        (mbart50, [("fr_XX", "sv_SE"), ("sv_SE", "de_DE"), ("fr_XX", "de_DE")]),
        (nllb, [("fra_Latn", "swe_Latn"), ("swe_Latn", "deu_Latn"), ("fra_Latn", "deu_Latn")]),
    ],
)
def test_each_row_has_its_own_pair_of_languages(tmp_path, make, pairs):
    """Features, labels and the first token, in any order of rows, are those of a tokenizer that is for that pair alone."""
    folder = make(tmp_path)
    family, processor = family_of(folder), family_of(folder).processor(folder, pairs[0])
    for pair in [*pairs, *pairs[::-1]]:
        stock = transformers.AutoTokenizer.from_pretrained(folder)
        stock.src_lang, stock.tgt_lang = pair
        expected = stock("a cab", text_target="le bras")
        assert family.labels(processor, "le bras", pair) == expected["labels"]
        assert family.features(processor, "a cab", pair).tolist() == expected["input_ids"]
        assert family.beginning(processor, pair) == {"forced_bos_token_id": stock.convert_tokens_to_ids(pair[1])}
    with pytest.raises(ConsommeError, match="'xx_XX' is unknown"):
        family.labels(processor, "le bras", ("xx_XX", pairs[0][1]))
    assert set(pairs[0]) < set(family.known_languages(folder))
