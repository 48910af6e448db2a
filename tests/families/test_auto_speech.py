"""Every recogniser that transformers' auto classes name: which family takes it, what works with a tiny one of random weights,
and what a user is told where none takes it.

A maker saves a checkpoint with the stock classes. Its losses and answers must be those of the stock classes, called in the
way that its publisher describes."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torchaudio.functional import rnnt_loss
from transformers.models.auto import modeling_auto

from consomme.common.errors import ConsommeError, Unusable
from consomme.common.files import read_json, write_json
from consomme.common.job import parse
from consomme.doctor.trial import Trial
from consomme.evaluate.losses import nll
from consomme.families import TABLE, family_for, family_of, load, subwords, surgery
from consomme.start.stage import run

TEXTS = [
    "the cat sat on a mat",
    "le chat est assis",
    "hello world",
    "the first sentence",
    "here is another",
    "a third one",
]
SAID = "the last cat"
RATE = {"sampling_rate": 16000, "return_tensors": "pt"}
STEPS = ["checkpoint", "start", "evaluate", "train", "average", "prune", "export"]


# -- tiny checkpoints --------------------------------------------------------------------------------------------------
def save(folder, kind, config, processor, generation=None, seed=0):
    """A model whose weights are larger than a fresh one's, so that every part of it shows in the output."""
    torch.manual_seed(seed)
    model = kind(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight += 0.2 * torch.randn_like(weight)
    if generation is not None:
        model.generation_config = generation
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tokenizer(*special, kind=transformers.PreTrainedTokenizerFast, **named):
    pieces = subwords.byte_pairs(
        lambda: iter(TEXTS * 5), {"type": "bpe", "vocab_size": 80}, "some", ["<unk>", *special]
    )
    return kind(tokenizer_object=pieces, unk_token="<unk>", clean_up_tokenization_spaces=False, **named)


WAVE = {"conv_dim": [8, 8, 8], "conv_stride": [5, 8, 8], "conv_kernel": [10, 8, 8]}
WAVE |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
SIDE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
MELS = {**SIDE, "num_mel_bins": 16, "subsampling_conv_channels": 8, "conv_kernel_size": 5}


def letters(folder):
    write_json(
        folder / "vocab.json",
        {t: i for i, t in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz"])},
    )
    return transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))


def waveform_ctc(name, **more):
    """A descendant of wav2vec 2.0."""

    def make(folder):
        spelled = letters(folder)
        extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask="feat_extract_norm" in more)
        kind, config = (getattr(transformers, f"{name}{end}") for end in ("ForCTC", "Config"))
        config = config(vocab_size=len(spelled), pad_token_id=0, **SIDE, **WAVE, **more)
        return save(folder, kind, config, transformers.Wav2Vec2Processor(extractor, spelled))

    return make


def data2vec(folder):
    """As it is published: no file names the class of its processor."""
    waveform_ctc("Data2VecAudio")(folder)
    write_json(folder / "preprocessor_config.json", read_json(folder / "processor_config.json")["feature_extractor"])
    (folder / "processor_config.json").unlink()
    return folder


def lasr(folder):
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((p, -3.0) for p in ["▁", *"abcdefghilmnorstw", "▁the"])]
    spelled = transformers.LasrTokenizer(vocab=pieces, extra_ids=0)
    config = transformers.LasrCTCConfig(vocab_size=len(spelled), encoder_config={**MELS, "conv_kernel_size": 8})
    extractor = transformers.LasrFeatureExtractor(feature_size=16)
    return save(folder, transformers.LasrForCTC, config, transformers.LasrProcessor(extractor, spelled))


def granite_ctc(folder):
    spelled = tokenizer("<pad>", kind=transformers.ParakeetTokenizer, pad_token="<pad>")
    encoder = {**SIDE, "num_mel_bins": 16, "subsample_layers": [0], "max_position_embeddings": 16, "context_size": 8}
    sizes = {"vocab_size": len(spelled), "pad_token_id": spelled.pad_token_id}
    config = transformers.GraniteSpeech5CTCConfig(**sizes, encoder_config={**encoder, "vocab_size": len(spelled)})
    extractor = transformers.GraniteSpeech5FeatureExtractor(num_mel_bins=16)
    return save(
        folder, transformers.GraniteSpeech5ForCTC, config, transformers.GraniteSpeech5Processor(extractor, spelled)
    )


ENDS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3, "decoder_start_token_id": 1}


def moonshine_streaming(folder):
    spelled = tokenizer("<s>", "</s>", "<pad>", **ENDS)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    side = {**SIDE, "num_key_value_heads": 2, "max_position_embeddings": 128}
    encoder = {**side, "sliding_windows": [[16, 4], [8, 0]]}
    config = transformers.MoonshineStreamingConfig(vocab_size=len(spelled), encoder_config=encoder, **side, **IDS)
    processor = transformers.MoonshineStreamingProcessor(extractor, spelled)
    return save(folder, transformers.MoonshineStreamingForConditionalGeneration, config, processor)


def seamless(version):
    """As SeamlessM4TForSpeechToText saves its part of a published model."""

    def make(folder):
        pieces = ["<pad>", "<unk>", "<s>", "</s>", "▁", *(f"▁{c}" for c in "abcdefhlst"), *"abcdefhilnorst"]
        spelled = transformers.SeamlessM4TTokenizer(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=[],
            additional_special_tokens=["__eng__", "__fra__"],
            src_lang="fra",
            tgt_lang="fra",
        )
        sizes = {"hidden_size": 16, "feature_projection_input_dim": 32, "max_position_embeddings": 64}
        for side, count in (("encoder", 1), ("decoder", 2)):
            sizes |= {f"{side}_layers": count, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 16}
        sizes |= {
            "speech_encoder_layers": 2,
            "speech_encoder_attention_heads": 2,
            "speech_encoder_intermediate_size": 16,
        }
        ids = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0, "decoder_start_token_id": 3}
        config = getattr(transformers, f"SeamlessM4T{version}Config")(
            vocab_size=len(spelled), conv_depthwise_kernel_size=7, **sizes, **ids
        )
        generation = transformers.GenerationConfig(**ids)
        codes = {code: spelled.convert_tokens_to_ids(f"__{code}__") for code in ("eng", "fra")}
        generation.text_decoder_lang_to_code_id = codes
        extractor = transformers.SeamlessM4TFeatureExtractor(feature_size=16, num_mel_bins=16)
        kind = getattr(transformers, f"SeamlessM4T{version}ForSpeechToText")
        return save(folder, kind, config, transformers.SeamlessM4TProcessor(extractor, spelled), generation, seed=1)

    return make


def speecht5(folder):
    import sentencepiece

    made = io.BytesIO()
    ids = {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3}
    options = {"model_type": "char", "vocab_size": 40, "hard_vocab_limit": False, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TEXTS), model_writer=made, **options, **ids)
    (folder / "spm_char.model").write_bytes(made.getvalue())
    spelled = transformers.SpeechT5Tokenizer(str(folder / "spm_char.model"))
    sizes = {"hidden_size": 16, "max_speech_positions": 128, "max_text_positions": 64}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 2, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 16}
    config = transformers.SpeechT5Config(vocab_size=len(spelled), decoder_start_token_id=2, **sizes, **WAVE)
    processor = transformers.SpeechT5Processor(transformers.SpeechT5FeatureExtractor(), spelled)
    return save(folder, transformers.SpeechT5ForSpeechToText, config, processor)


def wav2vec2_bert(folder):
    """wav2vec 2.0 and BERT, whose tokenizer calls the ends of a text [CLS] and [SEP]."""
    from tokenizers.processors import TemplateProcessing

    spelled = tokenizer("[CLS]", "[SEP]", "[PAD]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]")
    ends = [("[CLS]", spelled.cls_token_id), ("[SEP]", spelled.sep_token_id)]
    spelled.backend_tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    decoder = transformers.BertConfig(vocab_size=len(spelled), is_decoder=True, add_cross_attention=True, **SIDE)
    encoder = transformers.Wav2Vec2Config(**SIDE, **WAVE)
    config = transformers.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 1, 2, 3
    processor = transformers.Wav2Vec2Processor(transformers.Wav2Vec2FeatureExtractor(), spelled)
    return save(folder, transformers.SpeechEncoderDecoderModel, config, processor)


ASKED = ["<|startofcontext|>", "<|startoftranscript|>", "<|emo:undefined|>", "<|en|>", "<|fr|>", "<|pnc|>", "<|nopnc|>"]
ASKED += ["<|noitn|>", "<|notimestamp|>", "<|nodiarize|>"]
TEMPLATE = """\
{%- for c in messages[0]['content'] if c['type'] == 'text' -%}
<|startofcontext|><|startoftranscript|><|emo:undefined|><|{{ c['source_language'] }}|><|{{ c['target_language'] }}|>
{{- '<|pnc|>' if c['punctuation'] else '<|nopnc|>' }}<|noitn|><|notimestamp|><|nodiarize|>
{%- endfor -%}"""


def prompted(*more):
    named = {"pad_token": "<pad>", "eos_token": "<|endoftext|>"}
    return tokenizer("<pad>", "<|endoftext|>", *ASKED, *more, **named, additional_special_tokens=ASKED)


def canary(folder):
    spelled = prompted()
    ids = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3, "vocab_size": len(spelled)}
    decoder = {**SIDE, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64}
    config = transformers.CanaryConfig(
        encoder_config={"model_type": "parakeet_encoder", **MELS},
        decoder_config={**decoder, "vocab_size": len(spelled)},
        **ids,
    )
    extractor = transformers.ParakeetFeatureExtractor(feature_size=16)
    processor = transformers.CanaryProcessor(extractor, spelled, chat_template=TEMPLATE)
    return save(folder, transformers.CanaryForConditionalGeneration, config, processor)


def cohere(folder):
    spelled = prompted("▁")
    ids = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": spelled.convert_tokens_to_ids("▁")}
    sizes = {**SIDE, "hidden_size": 24, "max_position_embeddings": 64, "vocab_size": len(spelled)}
    config = transformers.CohereAsrConfig(encoder_config={"model_type": "parakeet_encoder", **MELS}, **sizes, **ids)
    extractor = transformers.CohereAsrFeatureExtractor(feature_size=16)
    return save(
        folder,
        transformers.CohereAsrForConditionalGeneration,
        config,
        transformers.CohereAsrProcessor(extractor, spelled),
    )


def nemotron(name, **more):
    def make(folder):
        spelled = tokenizer("<pad>", "<blank>", kind=transformers.ParakeetTokenizer, pad_token="<pad>")
        ids = {"pad_token_id": 1, "blank_token_id": 2, "vocab_size": len(spelled)}
        config = getattr(transformers, f"{name}Config")(
            encoder_config={"model_type": "nemotron_asr_streaming_encoder", **MELS},
            decoder_hidden_size=16,
            num_decoder_layers=1,
            max_symbols_per_step=2,
            **ids,
            **more,
        )
        extractor = transformers.NemotronAsrStreamingFeatureExtractor(feature_size=16)
        processor = getattr(transformers, f"{name}Processor")(extractor, spelled)
        generation = transformers.GenerationConfig(decoder_start_token_id=2, pad_token_id=1)
        return save(folder, getattr(transformers, f"{name}ForRNNT"), config, processor, generation)

    return make


# -- how the stock classes are called ----------------------------------------------------------------------------------
def stock_ctc(model, processor, wave):
    """(the loss of SAID, summed over its tokens; what the model says)."""
    model.config.ctc_loss_reduction = "sum"
    spelled = processor.tokenizer
    labels = spelled(SAID, add_special_tokens=False, return_tensors="pt").input_ids
    found = model(**(processor if callable(processor) else processor.feature_extractor)(wave, **RATE), labels=labels)
    # told to skip special tokens, a tokenizer of letters would join letters that a blank parts
    skip = not hasattr(spelled, "word_delimiter_token")
    (said,) = spelled.batch_decode(found.logits.argmax(-1), skip_special_tokens=skip)
    return found.loss, [re.sub("</?s>|<unk>", "", said)]


def stock_seq2seq(model, processor, wave, new=12, **asked):
    """With labels as transformers' example of training makes them: without the start token, which the model adds."""
    labels = processor.tokenizer(text_target=SAID, return_tensors="pt").input_ids
    start, end = model.config.decoder_start_token_id, model.config.eos_token_id
    labels = labels[:, 1:] if labels[0, 0] == start else labels
    labels = labels if labels[0, -1] == end else torch.cat([labels, torch.tensor([[end]])], 1)
    heard = processor(audio=wave, **RATE)
    said = model.generate(**heard, **asked, max_new_tokens=new, num_beams=1, do_sample=False)
    loss = model(**heard, labels=labels).loss * labels.shape[1]
    return loss, processor.tokenizer.batch_decode(said, skip_special_tokens=True)


def stock_seamless(model, processor, wave):
    processor.tokenizer.tgt_lang = "eng"
    return stock_seq2seq(
        model, processor, wave, new=11, tgt_lang="eng"
    )  # the code of the language is given and not new


def stock_canary(model, processor, wave):
    heard = processor.apply_transcription_request(wave, source_language="en", processor_kwargs={"sampling_rate": 16000})
    (prompt,) = processor.apply_transcription_request(wave, source_language="en", tokenize=False)
    whole = processor(audio=wave, text=f"{prompt}{SAID}<|endoftext|>", output_labels=True, sampling_rate=16000)
    said = model.generate(**heard, max_new_tokens=12, num_beams=1, do_sample=False)
    loss = model(**whole).loss * (whole["labels"] != -100).sum()
    return loss, processor.batch_decode(said, skip_special_tokens=True)


def stock_cohere(model, processor, wave):
    heard = processor(audio=wave, language="en", sampling_rate=16000)
    heard.pop("audio_chunk_index")
    ids = processor.tokenizer(SAID, add_special_tokens=False).input_ids
    whole = torch.tensor([[*heard["decoder_input_ids"][0].tolist(), *ids, model.config.eos_token_id]])
    said = model.generate(**heard, max_new_tokens=12, num_beams=1, do_sample=False)
    heard["decoder_input_ids"] = whole[:, :-1]
    loss = torch.nn.functional.cross_entropy(model(**heard).logits[0], whole[0, 1:], reduction="sum")
    return loss, processor.tokenizer.batch_decode(said, skip_special_tokens=True)


def stock_rnnt(model, processor, wave, **asked):
    """The stock classes have no loss of their own: it is torchaudio's."""
    heard = processor(audio=wave, text=SAID, sampling_rate=16000, **asked)
    labels, counts = heard.pop("labels"), heard["attention_mask"].sum(-1)
    logits = model(**heard).logits
    frames = model._get_subsampling_output_length(counts)
    length = torch.tensor([labels.shape[1]], dtype=torch.int32)
    loss = rnnt_loss(logits, labels.int(), frames.int(), length, blank=model.config.blank_token_id, reduction="sum")
    heard.pop("decoder_input_ids")
    said = model.generate(**heard, max_new_tokens=int(frames) * model.config.max_symbols_per_step)
    return loss, processor.batch_decode(said.sequences, skip_special_tokens=True)


# model_type -> how it is made, its family, how the stock classes are called
TAKEN = {
    "data2vec-audio": (data2vec, "auto-ctc", stock_ctc),
    "granite_speech5_ctc": (granite_ctc, "auto-ctc", stock_ctc),
    "lasr_ctc": (lasr, "auto-ctc", stock_ctc),
    "sew": (waveform_ctc("SEW"), "auto-ctc", stock_ctc),
    "sew-d": (waveform_ctc("SEWD"), "auto-ctc", stock_ctc),
    "unispeech": (waveform_ctc("UniSpeech"), "auto-ctc", stock_ctc),
    "unispeech-sat": (waveform_ctc("UniSpeechSat"), "auto-ctc", stock_ctc),
    "wav2vec2-conformer": (waveform_ctc("Wav2Vec2Conformer", feat_extract_norm="layer"), "auto-ctc", stock_ctc),
    "seamless_m4t": (seamless(""), "auto-speech", stock_seamless),
    "seamless_m4t_v2": (seamless("v2"), "auto-speech", stock_seamless),
    "speech-encoder-decoder": (wav2vec2_bert, "auto-speech", stock_seq2seq),
    "speecht5": (speecht5, "auto-speech", stock_seq2seq),
    "moonshine_streaming": (moonshine_streaming, "moonshine_streaming", stock_seq2seq),
    "canary": (canary, "canary", stock_canary),
    "cohere_asr": (cohere, "cohere_asr", stock_cohere),
    "nemotron_asr_streaming": (nemotron("NemotronAsrStreaming"), "nemotron", stock_rnnt),
    "nemotron3_5_asr": (nemotron("Nemotron3_5Asr", prompt_intermediate_size=16), "nemotron3_5", stock_rnnt),
}
READS_TEXT = "takes text before anything else"
PROMPTED = "is no encoder-decoder .* a language model that reads audio among the tokens of a prompt can't be used here"
# model_type -> what the user is told
REFUSED = {
    **dict.fromkeys(["dia", "pop2piano"], READS_TEXT),
    **dict.fromkeys(
        ["fun_asr_nano", "glmasr", "granite_speech", "granite_speech_plus", "kyutai_speech_to_text"], PROMPTED
    ),
    **dict.fromkeys(["moss_transcribe_diarize", "nemo_speechlm", "qwen2_5_omni", "qwen2_audio", "qwen3_asr"], PROMPTED),
    **dict.fromkeys(["qwen3_omni_moe", "vibevoice", "vibevoice_asr", "voxtral", "voxtral_realtime"], PROMPTED),
    "phi4_multimodal": "Phi4MultimodalForCausalLM is neither a CTC model nor an encoder-decoder, by its name",
}


def named():
    """model_type -> class, of all that transformers calls a recogniser or a language model that hears."""
    maps = ("CTC", "SPEECH_SEQ_2_SEQ", "RNNT", "TDT", "MULTIMODAL_LM")
    found = {k: v for name in maps for k, v in getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES").items()}
    sees = modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    return {k: v for k, v in found.items() if k not in sees}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """model_type -> the folder of a tiny checkpoint, made at first use."""
    folders = {}

    def folder(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("published") / name
            folders[name].mkdir()
            TAKEN[name][0](folders[name])
        return folders[name]

    return folder


def started(source, out, **spec):
    """What the start stage makes of a checkpoint."""
    settings = {"stage": "start", "version": 1, "digest": "abcdef012345", "label": {}, "task": "asr"}
    settings |= {"settings": {"folder": str(source)}, **spec}
    run(parse(["--spec", json.dumps(settings), "--out", str(out), "--threads", "1"], ""))
    return out


def test_every_recogniser_of_transformers_is_taken_or_refused():
    ours = {family.model_type for family in TABLE.values() if family.task == "asr" and family.scratch}
    assert named().keys() == TAKEN.keys() | REFUSED.keys() | ours
    assert not TAKEN.keys() & REFUSED.keys()


@pytest.mark.parametrize("name", TAKEN)
def test_losses_and_answers_are_those_of_the_stock_classes(made, noise, name):
    folder, (_, family, stock) = made(name), TAKEN[name]
    found = family_of(folder)
    assert found.name == family
    processor, model, wave = found.processor(folder, ["en"]), load(folder), noise(16040, 1)
    assert found.misfit(model.config, processor) is None
    if found.objective == "seq2seq":
        model.generation_config.suppress_tokens = silent(processor.tokenizer)
    features = [found.features(processor, wave)]
    with torch.no_grad():
        batch = found.collate(processor, features, [found.labels(processor, SAID, ["en"])])
        loss, count = nll(found, model, batch)
        said = found.generate(model, processor, found.collate(processor, features, None), ["en"], asked(found))
        mine = transformers.AutoProcessor.from_pretrained(folder)
        expected, words = stock(model, mine if hasattr(mine, "feature_extractor") else processor, wave)
    assert count.item() > 0 and loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert said == [" ".join(text.split()) if found.objective != "seq2seq" else text.strip() for text in words]
    assert said[0]


def silent(spelled):
    """The tokens that would leave an answer empty, but the codes of languages, which are given."""
    named = zip(spelled.all_special_ids, spelled.all_special_tokens, strict=True)
    return [number for number, token in named if not token.startswith("__")] + spelled.convert_tokens_to_ids(["▁"])


def asked(family):
    return {"max_new_tokens": 12} if family.objective == "seq2seq" else {}


@pytest.mark.parametrize("name", TAKEN)
def test_the_whole_path(made, name):
    trial = Trial(str(made(name)))
    found = dict(trial.findings())
    assert not trial.crashes and list(found) == STEPS
    prunable = True if TABLE[TAKEN[name][1]].stacks else None
    assert {step: finding.well for step, finding in found.items()} == dict.fromkeys(STEPS, True) | {"prune": prunable}


@pytest.mark.parametrize("name", [name for name, (_, family, _) in TAKEN.items() if TABLE[family].stacks])
def test_pruned_layers_leave_a_plain_checkpoint(made, noise, tmp_path, name):
    folder = made(name)
    family, model = family_of(folder), load(folder)
    processor = family.processor(folder, ["en"])
    features = [family.features(processor, noise(16000, seed)) for seed in (1, 2)]
    batch = family.collate(processor, features, [family.labels(processor, SAID, ["en"])] * 2)
    with torch.no_grad():
        whole, _ = nll(family, model, batch)
        pruned = surgery.keep_layers(model, family, {side: [1] for side in family.stacks})
        pruned.save_pretrained(tmp_path)
        less, _ = nll(family, pruned, batch)
        again, _ = nll(family, getattr(transformers, family.architecture).from_pretrained(tmp_path).eval(), batch)
    assert torch.equal(less, again) and not torch.allclose(less, whole)


@pytest.mark.parametrize("name", ["canary", "cohere_asr", "nemotron_asr_streaming", "nemotron3_5_asr"])
def test_no_answer_rests_on_the_padding_of_its_batch(made, noise, name):
    folder = made(name)
    family, model = family_of(folder), load(folder)
    processor = family.processor(folder, ["en"])
    assert not family.padding_matters(model.config)
    features = [family.features(processor, noise(samples, 3)) for samples in (16000, 9000)]
    labels = [family.labels(processor, text, ["en"]) for text in (SAID, "the cat")]
    with torch.no_grad():
        together, _ = nll(family, model, family.collate(processor, features, labels))
        alone = [
            nll(family, model, family.collate(processor, [f], [ids]))[0].item()
            for f, ids in zip(features, labels, strict=True)
        ]
    assert together.tolist() == pytest.approx(alone, rel=1e-4)


# -- languages ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["canary", "cohere_asr", "seamless_m4t"])
def test_each_row_is_told_its_language(made, noise, name):
    folder = made(name)
    family, model = family_of(folder), load(folder)
    processor, tokens = family.processor(folder), family.processor(folder).tokenizer
    codes = {"en": "__eng__", "fr": "__fra__"} if name == "seamless_m4t" else {"en": "<|en|>", "fr": "<|fr|>"}
    batch, read = family.collate(processor, [family.features(processor, noise(16000, 1))], None), []
    decoder = model.text_decoder if name == "seamless_m4t" else model.model.decoder
    decoder.register_forward_pre_hook(lambda *given: read.extend(given[2]["input_ids"][0].tolist()), with_kwargs=True)
    for language, other in (("en", "fr"), ("fr", "en"), ("en", "fr")):
        wanted, strange = tokens.convert_tokens_to_ids([codes[language], codes[other]])
        model.generation_config.suppress_tokens = [strange]  # which random weights might write
        read.clear()
        family.generate(model, processor, batch, [language], {"max_new_tokens": 3})
        for ids in (read, family.labels(processor, SAID, [language])):
            assert wanted in ids and strange not in ids
    with pytest.raises(Unusable, match=r"'de' is unknown.*allowed for this"):
        family.labels(processor, SAID, ["de"])


def test_prompts_are_for_one_language_or_for_a_translation(made):
    families = {name: family_of(made(name)) for name in ("canary", "cohere_asr")}
    processors = {name: family.processor(made(name)) for name, family in families.items()}
    translated = families["canary"].labels(processors["canary"], SAID, ["fr", "en"])
    assert [processors["canary"].tokenizer.convert_ids_to_tokens(token) for token in translated[2:4]] == [
        "<|fr|>",
        "<|en|>",
    ]
    with pytest.raises(Unusable, match=r"no prompt for 'fr' and 'en'.*writes the language that it hears"):
        families["cohere_asr"].labels(processors["cohere_asr"], SAID, ["fr", "en"])
    with pytest.raises(ConsommeError, match="canary needs the spoken language"):
        families["canary"].labels(processors["canary"], SAID, [])


def test_a_nemotron_is_told_the_language_that_it_is_started_for(made, noise, tmp_path):
    source = made("nemotron3_5_asr")
    family = family_of(source)
    assert family.by_language(source)
    german = started(source, tmp_path / "german", languages=["de"])
    open_ = started(source, tmp_path / "open")
    assert (read_json(german / "config.json")["default_prompt_id"], read_json(open_ / "config.json").get("default_prompt_id", 101)) == (9, 101)  # fmt: skip
    model, stock = load(german), transformers.Nemotron3_5AsrForRNNT.from_pretrained(source).eval()
    processor, wave = family.processor(german), noise(16000, 1)
    batch = family.collate(processor, [family.features(processor, wave)], [family.labels(processor, SAID, ["de"])])
    with torch.no_grad():
        expected, words = stock_rnnt(stock, processor, wave, language="de-DE")
        loss, _ = nll(family, model, batch)
        batch.pop("labels")
        assert family.generate(model, processor, batch, ["de"], {}) == [" ".join(text.split()) for text in words]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    with pytest.raises(ConsommeError, match=r"'xx' is unknown: allowed for this nemotron3_5: .*de-DE"):
        started(source, tmp_path / "other", languages=["xx"])


# -- what can't be used ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_used_is_refused_in_words_before_any_weights_are_read(tmp_path, name):
    config = transformers.CONFIG_MAPPING[name]()
    config.architectures = [named()[name]]
    config.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(ConsommeError, match=REFUSED[name]) as caught:
        family_of(tmp_path).processor(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_the_class_of_a_model_for_several_tasks_says_none(tmp_path):
    """A published SeamlessM4T has a text encoder and a vocoder beside."""
    write_json(tmp_path / "config.json", {"is_encoder_decoder": True})
    config = {"model_type": "seamless_m4t", "architectures": ["SeamlessM4TModel"], "is_encoder_decoder": True}
    with pytest.raises(
        ConsommeError, match="SeamlessM4TModel is neither a CTC model nor an encoder-decoder, by its name"
    ):
        family_for(tmp_path, config)
    with pytest.raises(ConsommeError, match="its architectures name no class"):
        family_for(tmp_path, {"model_type": "seamless_m4t"})


MISFITS = {
    "no start": ("speecht5", {"decoder_start_token_id": None}, "names a decoder_start_token_id"),
    "no template": ("canary", {}, "no prompt for 'en' and 'en'"),
    "another start": ("canary", {"decoder_start_token_id": 5}, "its prompts begin with the token 3, and decoder_start_token_id is 5"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISFITS)
def test_what_does_not_fit_is_said_at_the_start(made, tmp_path, what):
    name, changed, words = MISFITS[what]
    source = tmp_path / "source"
    source.mkdir()
    for file in made(name).iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    for file in ("config.json", "generation_config.json"):
        if (source / file).is_file():
            write_json(source / file, read_json(source / file) | changed)
    if what == "no template":
        (source / "chat_template.jinja").unlink()
    with pytest.raises(ConsommeError, match=words) as caught:
        started(source, tmp_path / "out")
    assert str(source) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["speecht5", "speech-encoder-decoder", "moonshine_streaming", "canary", "lasr_ctc", "seamless_m4t"]
)
def test_recordings_that_are_too_short_are_named(made, noise, name):
    folder = made(name)
    family, model = family_of(folder), load(folder)
    processor, heard = family.processor(folder, ["en"]), []
    for samples in (1, 30, 200, 400, 500, 600):
        try:
            heard.append(family.features(processor, noise(samples, 1)))
        except Unusable:
            continue
    lengths = np.array([len(feature) for feature in heard])
    left_out = family.unheard(model, lengths)
    for i, feature in enumerate(heard):
        if i not in left_out:
            batch = family.collate(processor, [feature], [family.labels(processor, SAID, ["en"])])
            assert torch.isfinite(nll(family, model, batch)[0]).all()
    assert len(left_out) + 6 - len(heard) > 0


@pytest.mark.parametrize("name", ["moonshine_streaming", "canary"])
def test_recordings_beyond_the_positions_are_named(made, name):
    family, model = family_of(made(name)), load(made(name))
    (reason,) = set(family.unheard(model, np.array([10_000_000])).values())
    assert reason == "audio longer than the model's positions" and not family.unheard(model, np.array([16000]))


def test_what_a_feature_extractor_would_cut_into_pieces_is_left_out(made, noise):
    family = family_of(made("cohere_asr"))
    processor = family.processor(made("cohere_asr"))
    with pytest.raises(Unusable, match=r"36\.00 s"):
        family.features(processor, noise(36 * 16000, 1))


def test_the_page_names_every_architecture():
    page = (Path(__file__).parents[2] / "docs" / "families.md").read_text(encoding="utf-8")
    assert [name for name in [*TAKEN, *REFUSED] if f"`{name}`" not in page] == []
