"""Checkpoints as publishers store them: each is started from, evaluated, and some go the whole way.

A layout is one function. It turns a tiny model of the family into the files of a published one, key by key, as model cards,
documentation and old versions of transformers describe them."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_json
from consomme.common.job import parse
from consomme.doctor.trial import Trial
from consomme.evaluate import losses
from consomme.families import family_of, load
from consomme.start.stage import run

TEXTS = ["the cat sat", "hello world"]
LAYOUTS = {}  # name -> (family, edit, languages)
MISFITS = {}  # name -> (family, edit, message)


def layout(family, languages=None, **settings):
    def add(edit):
        LAYOUTS[edit.__name__] = family, settings, edit, languages
        return edit

    return add


def misfit(family, message, languages=None):
    def add(edit):
        MISFITS[edit.__name__] = family, edit, message, languages
        return edit

    return add


# -- editing files -----------------------------------------------------------------------------------------------------
def change(path, **keys):
    """Set keys of a JSON file; None removes a key, ... sets null."""
    found = read_json(path) if path.exists() else {}
    found |= {key: None if value is ... else value for key, value in keys.items()}
    write_json(path, {key: value for key, value in found.items() if keys.get(key, ...) is not None})


def weights(folder, edit):
    found = load_file(folder / "model.safetensors")
    save_file(
        {n: t.contiguous().clone() for n, t in edit(found).items()}, folder / "model.safetensors", {"format": "pt"}
    )


def halves(folder):
    """Weights in half precision, as most are published, with the old word for it."""
    weights(folder, lambda found: {n: t.half() if t.is_floating_point() else t for n, t in found.items()})
    change(folder / "config.json", dtype=None, torch_dtype="float16", transformers_version="4.30.0.dev0")


def shards(folder):
    found = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(found)
    parts = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, part in parts.items():
        save_file({n: found[n] for n in part}, folder / file, {"format": "pt"})
    placed = {n: file for file, part in parts.items() for n in part}
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": 1}, "weight_map": placed})


def old_extractor(folder, **keys):
    """The feature extractor's settings in a file of their own."""
    settings = read_json(folder / "processor_config.json").pop("feature_extractor")
    (folder / "processor_config.json").unlink()
    write_json(folder / "preprocessor_config.json", {**settings, **keys})


def special_tokens_map(folder, **more):
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    tokens = {n: t for n, t in read_json(folder / "tokenizer_config.json").items() if n in names and t}
    write_json(folder / "special_tokens_map.json", {**tokens, **more})


def slow_tokenizer(folder, kind):
    """The files of a tokenizer of before the tokenizers library: no tokenizer.json."""
    stored = json.loads((folder / "tokenizer.json").read_text())
    write_json(folder / "vocab.json", stored["model"]["vocab"])
    merges = ["#version: 0.2", *(" ".join(pair) for pair in stored["model"]["merges"])]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n", encoding="utf-8")
    base = len(stored["model"]["vocab"])
    added = [token["content"] for token in stored["added_tokens"] if token["id"] >= base]
    write_json(folder / "added_tokens.json", {t["content"]: t["id"] for t in stored["added_tokens"] if t["id"] >= base})
    special_tokens_map(folder, additional_special_tokens=added)
    (folder / "tokenizer.json").unlink()
    longest = read_json(folder / "tokenizer_config.json")["model_max_length"]
    tokens = {f"{name}_token": "<|endoftext|>" for name in ("bos", "eos", "unk")}
    old = {"tokenizer_class": kind, "add_prefix_space": False, "errors": "replace", "special_tokens_map_file": None}
    write_json(folder / "tokenizer_config.json", {**old, **tokens, "model_max_length": longest, "pad_token": None})


# -- whisper -----------------------------------------------------------------------------------------------------------
@layout("whisper")
def whisper_as_released(folder):
    ids = read_json(folder / "generation_config.json")
    forced = [[1, None], [2, ids["task_to_id"]["transcribe"]]]
    change(
        folder / "generation_config.json",
        language=None, task=None, return_timestamps=False, forced_decoder_ids=forced, suppress_tokens=[1, 2, 7],
        begin_suppress_tokens=[220, ids["eos_token_id"]], max_initial_timestamp_index=50, alignment_heads=[[1, 0], [2, 3]],
    )  # fmt: skip
    change(folder / "config.json", forced_decoder_ids=forced, suppress_tokens=[1, 2, 7], max_length=448)
    old_extractor(folder, processor_class="WhisperProcessor")
    halves(folder)


@layout("whisper")
def whisper_tuned_in_2022(folder):
    """No generation_config, slow tokenizer, mel filters in the extractor's file, no cache after gradient checkpointing."""
    ids = read_json(folder / "generation_config.json")
    (folder / "generation_config.json").unlink()
    forced = [
        [1, ids["lang_to_id"]["<|en|>"]],
        [2, ids["task_to_id"]["transcribe"]],
        [3, ids["no_timestamps_token_id"]],
    ]
    change(
        folder / "config.json",
        forced_decoder_ids=forced, suppress_tokens=[1, 2, 7], begin_suppress_tokens=[220, ids["eos_token_id"]],
        max_length=448, use_cache=False, torch_dtype="float32", dtype=None, _name_or_path="openai/whisper-small",
    )  # fmt: skip
    old_extractor(folder, processor_class="WhisperProcessor", mel_filters=np.zeros((201, 80)).tolist())
    slow_tokenizer(folder, "WhisperTokenizer")


@layout("whisper")
def whisper_with_a_generation_config_made_of_its_config(folder):
    ids = read_json(folder / "generation_config.json")
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    made = {"_from_model_config": True, "transformers_version": "4.26.0.dev0", "max_length": 448}
    write_json(folder / "generation_config.json", {**made, **{name: ids[name] for name in names}})


@layout("whisper")
def whisper_that_samples(folder):
    change(
        folder / "generation_config.json", do_sample=True, temperature=0.9, top_k=3, top_p=0.8, repetition_penalty=1.1
    )
    change(folder / "generation_config.json", alignment_heads=[[1, 0], [2, 3]])


@layout("whisper")
def whisper_named_as_a_part(folder):
    """Weights under the names of WhisperModel, and the output layer stored once more."""

    def edit(found):
        return {n.removeprefix("model."): t for n, t in found.items()}

    weights(folder, edit)
    change(folder / "config.json", architectures=["WhisperModel"])


@layout("whisper")
def whisper_in_shards_with_its_output_layer(folder):
    weights(folder, lambda found: {**found, "proj_out.weight": found["model.decoder.embed_tokens.weight"]})
    shards(folder)


# -- CTC ---------------------------------------------------------------------------------------------------------------
def as_960h(folder):
    """wav2vec2-base-960h and its relatives: capitals, <s> and </s> among the first tokens, weight norm by its old names."""
    order = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
    write_json(folder / "vocab.json", {token: i for i, token in enumerate(order)})
    config = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    config |= {
        "pad_token": "<pad>",
        "do_lower_case": False,
        "return_attention_mask": False,
        "word_delimiter_token": "|",
    }
    write_json(folder / "tokenizer_config.json", config | {"do_normalize": True})
    special_tokens_map(folder)
    old_extractor(folder)
    change(
        folder / "config.json",
        vocab_size=len(order), pad_token_id=0, bos_token_id=1, eos_token_id=2, gradient_checkpointing=False,
        transformers_version="4.7.0.dev0", mask_time_prob=0.05, apply_spec_augment=True,
    )  # fmt: skip

    def edit(found):
        new = {}
        for name, tensor in found.items():
            name = name.replace("parametrizations.weight.original0", "weight_g")
            name = name.replace("parametrizations.weight.original1", "weight_v")
            if name.startswith("lm_head"):
                tensor = torch.randn((len(order), *tensor.shape[1:]), generator=torch.Generator().manual_seed(1))
            if not name.endswith("masked_spec_embed"):
                new[name] = tensor
        return new

    weights(folder, edit)


def resized(folder, vocabulary, outputs, blank, added=(), **tokens):
    """A tokenizer of this vocabulary (token -> id), tokens added behind it, and a head of so many outputs."""
    write_json(folder / "vocab.json", vocabulary)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "Wav2Vec2CTCTokenizer", **tokens})
    if added:
        write_json(folder / "added_tokens.json", {token: len(vocabulary) + i for i, token in enumerate(added)})
    change(folder / "config.json", vocab_size=outputs, pad_token_id=... if blank is None else blank)
    shape = torch.Generator().manual_seed(1)

    def edit(found):
        heads = {
            n: torch.randn((outputs, *t.shape[1:]), generator=shape)
            for n, t in found.items()
            if n.startswith("lm_head")
        }
        return found | heads

    weights(folder, edit)


CHARACTERS = ["|", *"abcdefghijklmnopqrstuvwxyz'"]
TUNED = {token: i for i, token in enumerate([*CHARACTERS[1:], "|", "[UNK]", "[PAD]"])}
NAMES = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "word_delimiter_token": "|",
}


@layout("wav2vec2")
def wav2vec2_960h(folder):
    as_960h(folder)


@layout("wav2vec2")
def wav2vec2_960h_for_small_letters(folder):
    as_960h(folder)
    change(folder / "tokenizer_config.json", do_lower_case=True)


@layout("hubert")
def hubert_960h(folder):
    as_960h(folder)


@layout("wavlm")
def wavlm_960h(folder):
    as_960h(folder)


@layout("wav2vec2")
def xlsr_tuned_with_a_head_for_its_vocabulary(folder):
    """<s> and </s> were added behind the vocabulary and have no output; no transcript has them."""
    resized(folder, TUNED, len(TUNED), TUNED["[PAD]"], ["<s>", "</s>"], **NAMES)
    old_extractor(folder)


@layout("wav2vec2")
def xlsr_tuned_with_a_head_for_its_added_tokens(folder):
    resized(folder, TUNED, len(TUNED) + 2, TUNED["[PAD]"], ["<s>", "</s>"], **NAMES)
    halves(folder)


@layout("ctc")
def w2v_bert_tuned(folder):
    resized(folder, TUNED, len(TUNED), TUNED["[PAD]"], ["<s>", "</s>"], **NAMES)
    old_extractor(folder, processor_class="Wav2Vec2BertProcessor")


@layout("parakeet")
def parakeet_in_half_precision_and_shards(folder):
    halves(folder)
    shards(folder)


MMS = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4}
LANGUAGES = {
    "eng": MMS | {c: 5 + i for i, c in enumerate("etaoinshrdlu")},
    "fra": MMS | {c: 5 + i for i, c in enumerate("esaitnrulodcmpéh")},
}


def as_mms(folder):
    resized(
        folder, LANGUAGES["eng"], len(LANGUAGES["eng"]), 0,
        unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>", word_delimiter_token="|", target_lang="eng",
    )  # fmt: skip
    write_json(folder / "vocab.json", LANGUAGES)
    change(folder / "config.json", adapter_attn_dim=4)
    width = read_json(folder / "config.json")["hidden_size"]
    generator = torch.Generator().manual_seed(2)
    found = load_file(folder / "model.safetensors")
    layers = range(read_json(folder / "config.json")["num_hidden_layers"])
    shapes = {"norm.weight": [width], "norm.bias": [width], "linear_1.weight": [4, width], "linear_1.bias": [4]}
    shapes |= {"linear_2.weight": [width, 4], "linear_2.bias": [width]}
    names = {f"wav2vec2.encoder.layers.{i}.adapter_layer.{n}": s for i in layers for n, s in shapes.items()}
    for language in LANGUAGES:
        adapter = {name: torch.randn(shape, generator=generator) for name, shape in names.items()}
        adapter["lm_head.weight"] = torch.randn([len(LANGUAGES[language]), width], generator=generator)
        adapter["lm_head.bias"] = torch.randn([len(LANGUAGES[language])], generator=generator)
        save_file(adapter, folder / f"adapter.{language}.safetensors", {"format": "pt"})
        if language == "eng":
            found |= adapter
    save_file(found, folder / "model.safetensors", {"format": "pt"})


@layout("wav2vec2", ["fra"])
def mms(folder):
    as_mms(folder)


@layout("wav2vec2", ["eng"])
def mms_in_its_own_language(folder):
    as_mms(folder)


# -- recognisers with a decoder ----------------------------------------------------------------------------------------
@layout("moonshine")
def moonshine_without_padding(folder):
    for file in ("config.json", "generation_config.json"):
        change(folder / file, pad_token_id=...)
    old_extractor(folder)


@layout("speech2text")
def speech2text_of_2021(folder):
    """No generation_config; the decoder's start, beams and lengths stand in config.json."""
    (folder / "generation_config.json").unlink()
    change(
        folder / "config.json",
        num_beams=5, max_length=200, early_stopping=True, decoder_start_token_id=2, gradient_checkpointing=False,
        dtype=None,
    )  # fmt: skip
    old_extractor(folder, do_ceptral_normalize=True)
    special_tokens_map(folder)


# -- translators -------------------------------------------------------------------------------------------------------
def as_opus(folder):
    """No generation_config; beams and forbidden words stand in config.json, sinusoids and a bias among the weights."""
    size = read_json(folder / "config.json")["vocab_size"]
    (folder / "generation_config.json").unlink()
    change(
        folder / "config.json",
        num_beams=6, max_length=512, bad_words_ids=[[size - 1]], add_bias_logits=False, add_final_layer_norm=False,
        normalize_before=False, normalize_embedding=False, static_position_embeddings=True, bos_token_id=0, dtype=None,
        extra_pos_embeddings=size, forced_eos_token_id=0, num_hidden_layers=3,
    )  # fmt: skip
    change(folder / "tokenizer_config.json", model_max_length=512, target_lang="fr", source_lang="en")


@layout("marian")
def opus(folder):
    as_opus(folder)
    weights(
        folder,
        lambda found: {**found, "final_logits_bias": torch.zeros(1, read_json(folder / "config.json")["vocab_size"])},
    )


def with_codes(folder):
    """Target languages as tokens, in the places of rare pieces."""
    vocabulary = read_json(folder / "vocab.json")
    pieces = [piece for piece in vocabulary if not piece.startswith("<")][-2:]
    for piece, code in zip(pieces, (">>fr<<", ">>es<<"), strict=True):
        vocabulary[code] = vocabulary.pop(piece)
    write_json(folder / "vocab.json", vocabulary)


@layout("marian", ["en", "es"])
def opus_to_several_languages(folder):
    as_opus(folder)
    with_codes(folder)


@layout("marian")
def opus_with_two_vocabularies(folder):
    """Newer ones translate between scripts: vocab.json for the source, target_vocab.json for the target."""
    shutil.copy(folder / "vocab.json", folder / "target_vocab.json")
    change(folder / "tokenizer_config.json", separate_vocabs=True)
    change(folder / "config.json", share_encoder_decoder_embeddings=False, tie_word_embeddings=False)

    def edit(found):
        shared = found.pop("model.shared.weight")
        named = {f"model.{side}.embed_tokens.weight": shared.clone() for side in ("encoder", "decoder")}
        return found | named | {"lm_head.weight": shared.clone()}

    weights(folder, edit)


@layout("m2m_100")
def m2m_of_2021(folder):
    (folder / "generation_config.json").unlink()
    change(
        folder / "config.json",
        num_beams=5,
        max_length=200,
        early_stopping=True,
        gradient_checkpointing=False,
        dtype=None,
    )
    special_tokens_map(folder)


@layout("mbart")
def mbart_that_samples(folder):
    change(
        folder / "generation_config.json", do_sample=True, top_k=4, num_beams=5, early_stopping=True, length_penalty=0.8
    )


@layout("t5")
def t5_with_prefixes(folder):
    tasks = {
        "translation_en_to_fr": {
            "early_stopping": True,
            "max_length": 300,
            "num_beams": 4,
            "prefix": "translate English to French: ",
        }
    }
    change(folder / "config.json", task_specific_params=tasks, n_positions=512, output_past=True, dtype=None)
    (folder / "generation_config.json").unlink()
    special_tokens_map(folder)


@layout("t5")
def t5_with_each_embedding_stored(folder):
    def edit(found):
        shared = found["shared.weight"]
        return found | {f"{side}.embed_tokens.weight": shared.clone() for side in ("encoder", "decoder")}

    weights(folder, edit)
    shards(folder)


@layout("t5")
def t5_with_the_embeddings_of_its_sides_alone(folder):
    def edit(found):
        shared = found.pop("shared.weight")
        return found | {f"{side}.embed_tokens.weight": shared.clone() for side in ("encoder", "decoder")}

    weights(folder, edit)


# -- every layout ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def published(folders, tmp_path_factory):
    """Name -> the folder of a layout, made once."""
    made = {}

    def folder(name):
        if name not in made:
            family, settings, edit, _ = LAYOUTS[name]
            made[name] = tmp_path_factory.mktemp("published") / name
            shutil.copytree(folders(family, **settings), made[name])
            edit(made[name])
        return made[name]

    return folder


def started(source, out, family, languages=None):
    """The start stage's folder for a checkpoint; with languages as the plan gives them, or none."""
    from consomme.families import family_named

    settings = {"folder": str(source)}
    spec = {
        "stage": "start",
        "version": 1,
        "digest": "abcdef012345",
        "label": {},
        "task": family_named(family).task,
        "settings": settings,
    }
    if languages and family_named(family).by_language(source):
        spec["languages"] = languages
    job = parse(["--spec", json.dumps(spec), "--out", str(out), "--threads", "1"], "")
    run(job)
    return job.out


def answers(folder, languages):
    """The hypotheses of a checkpoint for two examples, their losses, and the loss of the same without capitals."""
    family = family_of(folder)
    processor, model = family.processor(folder, languages), load(folder)
    if family.task == "asr":
        rng = np.random.default_rng(0)
        sources = [0.1 * rng.standard_normal(n).astype(np.float32) for n in (16000, 16000)]
    else:
        sources = TEXTS
    features = [family.features(processor, source) for source in sources]
    batch = family.collate(processor, features, None)
    said = [family.generate(model, processor, batch, languages, {"max_new_tokens": 8}) for _ in range(2)]
    assert said[0] == said[1]  # nothing is drawn
    labels = [family.labels(processor, text, languages) for text in TEXTS]
    with torch.no_grad():
        nll, tokens = losses.nll(family, model, family.collate(processor, features, labels))
    assert torch.isfinite(nll).all() and (nll > 0).all() and (tokens > 0).all()
    return said[0], nll


def languages_of(name):
    family, *_, languages = LAYOUTS[name]
    several = ("marian", "m2m_100", "mbart", "t5")
    return languages or (["en", "fr"] if family in several else ["en"])


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_starts_and_answers(published, tmp_path, name):
    languages = languages_of(name)
    out = started(published(name), tmp_path / "out", LAYOUTS[name][0], languages)
    answers(out, languages)


WHOLE = ["whisper_tuned_in_2022", "whisper_that_samples", "mms", "opus_to_several_languages"]


@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_path(published, name):
    trial = Trial(str(published(name)))
    found = dict(trial.findings())
    assert not trial.crashes and {step: finding.well for step, finding in found.items()} == dict.fromkeys(found, True)
    assert list(found) == ["checkpoint", "start", "evaluate", "train", "average", "prune", "export"]


# -- what was filled in ------------------------------------------------------------------------------------------------
def test_a_whisper_of_before_generation_configs_is_asked_as_the_others(published, folders, tmp_path):
    """Its tokenizer says what theirs do; nothing of what its config said of decoding is lost."""
    name = "whisper_tuned_in_2022"
    made = read_json(started(published(name), tmp_path / "out", "whisper") / "generation_config.json")
    stock = read_json(folders("whisper") / "generation_config.json")
    for key in ("no_timestamps_token_id", "prev_sot_token_id", "task_to_id", "is_multilingual", "eos_token_id"):
        assert made[key] == stock[key]
    assert made["lang_to_id"] == stock["lang_to_id"]
    assert made["suppress_tokens"] == [1, 2, 7] and made["max_length"] == 448


def test_what_names_its_languages_already_is_left_alone(published, tmp_path):
    source = published("whisper_as_released")
    out = started(source, tmp_path / "out", "whisper")
    assert (out / "generation_config.json").read_bytes() == (source / "generation_config.json").read_bytes()


def test_the_adapter_and_the_letters_of_a_language_go_together(published, tmp_path):
    """As the stock classes put them together, which have to be told; ours are then loaded without being told."""
    from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

    source = published("mms")
    out = started(source, tmp_path / "out", "wav2vec2", ["fra"])
    stock = Wav2Vec2ForCTC.from_pretrained(source, target_lang="fra", ignore_mismatched_sizes=True).state_dict()
    ours = Wav2Vec2ForCTC.from_pretrained(out).state_dict()
    assert ours.keys() == stock.keys() and all(torch.equal(ours[name], stock[name]) for name in stock)
    tokenizer = Wav2Vec2Processor.from_pretrained(out).tokenizer
    assert tokenizer("été").input_ids == [LANGUAGES["fra"][letter] for letter in "été"]
    assert not list(out.glob("adapter*"))  # it would be laid over what is trained
    own = started(source, tmp_path / "own", "wav2vec2", ["eng"])
    english = load_file(source / "model.safetensors")
    assert all(torch.equal(tensor, english[name]) for name, tensor in load_file(own / "model.safetensors").items())
    short = started(source, tmp_path / "short", "wav2vec2", ["fr"])
    assert (short / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    with pytest.raises(ConsommeError, match=r"knows no 'swe'; allowed: eng, fra"):
        started(source, tmp_path / "other", "wav2vec2", ["swe"])
    shutil.copytree(source, tmp_path / "source", ignore=shutil.ignore_patterns("adapter*"))
    with pytest.raises(ConsommeError, match=r"no adapter\.fra\.safetensors in"):
        started(tmp_path / "source", tmp_path / "other", "wav2vec2", ["fra"])


def test_the_target_language_stands_before_a_source(published, tmp_path):
    out = started(published("opus_to_several_languages"), tmp_path / "out", "marian")
    family = family_of(out)
    processor = family.processor(out, ["en", "spa"])
    code = processor.encoder[">>es<<"]
    assert family.features(processor, "the cat")[0] == code
    assert family.features(processor, ">>fr<< the cat")[0] == processor.encoder[">>fr<<"]  # a row may say it itself
    spelled = family.subwords(processor, "source").spell("the cat")[0]
    assert spelled == [">>es<<"] and family.subwords(processor, "target").spell("the cat")[0] == []
    with pytest.raises(ConsommeError, match=r"'de' is unknown: allowed for this marian: es, fr"):
        family.processor(out, ["en", "de"])
    with pytest.raises(ConsommeError, match=r"into several languages, and none is given; allowed: es, fr"):
        family.features(family.processor(out), "the cat")


def test_a_tokenizer_for_small_letters_over_capitals_takes_and_gives_them(published):
    folder = published("wav2vec2_960h_for_small_letters")
    family = family_of(folder)
    small, capital = family.processor(folder), family.processor(published("wav2vec2_960h"))
    ids = family.labels(small, "the cat", ["en"])
    assert ids == family.labels(capital, "THE CAT", ["en"])
    assert family.texts(small, [np.array(ids)]) == [small.tokenizer.decode(ids, group_tokens=False)] == ["the cat"]


# -- what doesn't fit --------------------------------------------------------------------------------------------------
@misfit(
    "wav2vec2",
    r"gives '\[UNK\]' the id 28, and the model knows only the ids 0 to 19; correct the files, or make a new head",
)
def a_head_that_lacks_letters(folder):
    resized(folder, TUNED, 20, 19, **NAMES)


@misfit("wav2vec2", r"its head has 40 outputs, and its tokenizer has tokens for 32")
def a_head_with_outputs_that_no_token_names(folder):
    resized(folder, TUNED, 40, TUNED["[PAD]"], ["<s>", "</s>"], **NAMES)


@misfit("wav2vec2", r"pad_token_id, CTC's blank, is 0 in its config.json and 29 \('\[PAD\]'\) in its tokenizer")
def another_blank(folder):
    resized(folder, TUNED, len(TUNED), 0, **NAMES)


@misfit("ctc", r"CTC's blank, is null in its config.json and 29")
def no_blank(folder):
    resized(folder, TUNED, len(TUNED), None, **NAMES)


@misfit("wav2vec2", r"the space between words has the id 2, which is that of 'c'")
def a_space_with_a_letters_id(folder):
    vocabulary = {t: i for i, t in enumerate([*CHARACTERS[1:], "[UNK]", "[PAD]"])}
    space = {
        "2": {
            "content": "|",
            "special": True,
            "normalized": False,
            "lstrip": False,
            "rstrip": False,
            "single_word": False,
        }
    }
    resized(folder, vocabulary, len(vocabulary), vocabulary["[PAD]"], **NAMES, added_tokens_decoder=space)


@misfit("whisper", r"its tokenizer has no token for <\|notimestamps\|>.*copy the tokenizer's files")
def a_whisper_with_the_tokenizer_of_another_model(folder):
    text = (folder / "tokenizer.json").read_text().replace("<|notimestamps|>", "<|no|>")
    (folder / "tokenizer.json").write_text(text)
    change(folder / "tokenizer_config.json", extra_special_tokens=None)


@misfit("marian", r"its source vocabulary gives 'zebra' the id 10000, and the model knows only 0 to")
def a_marian_with_a_larger_vocabulary(folder):
    change(folder / "vocab.json", zebra=10000)


@misfit("moonshine", r"the model knows only the ids 0 to")
def words_added_without_embeddings(folder):
    text = json.loads((folder / "tokenizer.json").read_text())
    word = {"id": 5000, "content": "zebra", "special": False, "normalized": False, "lstrip": False, "rstrip": False}
    text["added_tokens"].append(word | {"single_word": False})
    text["model"]["vocab"]["zebra"] = 5000
    (folder / "tokenizer.json").write_text(json.dumps(text))


@misfit("wav2vec2", r"has several languages, and none is named; allowed: eng, fra")
def many_languages_and_none_named(folder):
    as_mms(folder)
    change(folder / "tokenizer_config.json", target_lang=None)


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused_in_words(folders, tmp_path, name):
    family, edit, message, languages = MISFITS[name]
    source = tmp_path / "published"
    shutil.copytree(folders(family), source)
    edit(source)
    with pytest.raises(ConsommeError, match=message) as caught:
        started(source, tmp_path / "out", family, languages)
    assert str(source) in str(caught.value) and ".finished" not in str(caught.value)
