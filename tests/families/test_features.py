"""Features against the stock extractors."""

import numpy as np
import pytest
import torch

from consomme.common.errors import ConsommeError, Unusable
from consomme.families import TABLE, family_named, load


@pytest.mark.parametrize("stride", [2, 3])
def test_ctc_frames_are_the_stock_extractors(folders, noise, stride):
    family = family_named("ctc")
    processor = family.processor(folders("ctc", stride=stride))
    for samples in [8000 + 160 * i for i in range(6)] + [8111, 20000]:
        wave = noise(samples, samples)
        stock = processor.feature_extractor(wave, sampling_rate=16000, return_tensors="np")
        expected = stock["input_features"][0][stock["attention_mask"][0].astype(bool)]
        ours = family.features(processor, wave)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_whisper_frames_are_the_stock_extractors(folders, noise):
    family = family_named("whisper")
    processor = family.processor(folders("whisper"))
    for samples in (400, 16000, 15999, 16161, 31500, 31999, 32000):
        wave = noise(samples, samples)
        stock = processor.feature_extractor(wave, sampling_rate=16000, return_tensors="np")["input_features"]
        ours = family.collate(processor, [family.features(processor, wave)], None)["input_features"]
        assert tuple(ours.shape) == (1, 80, 200)
        np.testing.assert_allclose(ours, stock, atol=1e-5)
    assert len(family.features(processor, noise(16000, 0))) < 110  # cached without the window's silence


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm", "parakeet", "speech2text", "moonshine"])
def test_a_batch_is_the_stock_processors(folders, noise, name):
    family = family_named(name)
    processor = family.processor(folders(name))
    waves = [noise(samples, samples) for samples in (16000, 9111)]
    stock = processor.feature_extractor(waves, sampling_rate=16000, padding=True, return_tensors="pt")
    ours = family.collate(processor, [family.features(processor, wave) for wave in waves], None)
    mask = stock.pop("attention_mask")
    frames = mask.shape[1] if name != "parakeet" else int(mask.sum(1).max())  # the stock batch ends in one of silence
    assert torch.equal(ours.pop("attention_mask"), mask[:, :frames].long())
    ((key, expected),) = stock.items()
    np.testing.assert_allclose(ours[key], expected[:, :frames], atol=1e-4)


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm", "parakeet", "speech2text", "moonshine"])
def test_labels_are_the_stock_tokenizers_and_come_back(folders, name):
    family = family_named(name)
    processor = family.processor(folders(name))
    text = "le chat est assis"
    ids = family.labels(processor, text, ["en"])
    end = [processor.tokenizer.eos_token_id] if name == "moonshine" else []  # the stock one starts and ends nothing
    assert ids == processor.tokenizer(text).input_ids + end
    if family.objective == "ctc":
        assert family.texts(processor, [np.array(ids)]) == [text]
    else:
        assert processor.decode(ids, skip_special_tokens=True) == text


def test_audio_out_of_range_is_refused_with_its_length(folders, noise):
    whisper, ctc = family_named("whisper"), family_named("ctc")
    with pytest.raises(ConsommeError, match=r"longer than the model's window: 2\.50 s, the window is 2 s"):
        whisper.features(whisper.processor(folders("whisper")), noise(40000, 0))
    for family in (whisper, ctc):
        with pytest.raises(ConsommeError, match="at least one sample"):
            family.features(family.processor(folders(family.name)), np.zeros(0, np.float32))
    for name in ("ctc", "wav2vec2", "hubert", "wavlm", "parakeet", "speech2text", "moonshine"):
        family = family_named(name)
        with pytest.raises(ConsommeError, match="too short for the model: 300 samples, at least"):
            family.features(family.processor(folders(name)), noise(300, 0))
        model, processor = load(folders(name)), family.processor(folders(name))
        for fewest in (320, 400, 560, 720, 895):  # what is not refused is heard
            try:
                feature = family.features(processor, noise(fewest, 0))
            except ConsommeError:
                continue
            batch = family.collate(processor, [feature, feature], [family.labels(processor, "a", ["en"])] * 2)
            assert torch.isfinite(model(**batch).logits).all()


@pytest.mark.parametrize("name", [f.name for f in TABLE.values() if f.task == "asr" and f.scratch])
def test_lengths_are_told_from_the_number_of_samples(folders, noise, name):
    family = family_named(name)
    processor = family.processor(folders(name))
    for samples in [*range(1, 1300, 37), 2048, 2049, 2050, 15999, 16000, 16001, 31600, 31900, 32000, 32001, 40000]:
        try:
            expected = len(family.whole(processor, noise(samples, samples)))
        except Unusable as error:
            with pytest.raises(Unusable) as told:
                family.length(processor, samples)
            assert (told.value.reason, str(told.value)) == (error.reason, str(error))
        else:
            assert family.length(processor, samples) == expected, samples


def test_ctc_labels_and_greedy_decoding_invert_each_other(folders):
    family = family_named("ctc")
    processor = family.processor(folders("ctc"))
    text = "hello world, how are you?"
    ids = family.labels(processor, text, ["en"])
    assert family.labels(processor, "hello  WOrld", ["en"]).count(processor.tokenizer.unk_token_id) == 2

    class Says:  # a model that repeats each label and puts a blank after it
        device, dtype = torch.device("cpu"), torch.float32

        def __call__(self, **batch):
            path = [t for i in ids for t in (i, i, 0)] + [5, 7, 5]  # the last three lie in the padding
            one_hot = torch.nn.functional.one_hot(torch.tensor([path]), len(processor.tokenizer)).float()
            return type("Output", (), {"logits": one_hot})

        def _get_feat_extract_output_lengths(self, lengths):
            return lengths

    batch = {"attention_mask": torch.ones(1, 3 * len(ids), dtype=torch.int64)}
    assert family.generate(Says(), processor, batch, ["en"], {"max_new_tokens": 5}) == [text]
    with pytest.raises(ConsommeError, match="decodes greedily"):
        family.generate(Says(), processor, batch, ["en"], {"num_beams": 4})


def test_whisper_labels_are_the_stock_prefix_without_its_first_token(folders):
    family = family_named("whisper")
    processor = family.processor(folders("whisper"))
    for code in ("en", "fr"):
        processor.tokenizer.set_prefix_tokens(language=code, task="transcribe")
        stock = processor.tokenizer("le chat ça").input_ids
        assert family.labels(processor, "le chat ça", [code]) == stock[1:]
    with pytest.raises(ConsommeError, match="'xx' is unknown"):
        family.labels(processor, "der Hund", ["xx"])
    with pytest.raises(ConsommeError, match="the model has positions for"):
        family.labels(processor, "xyz " * 60, ["en"])


def test_marian_ids_are_the_stock_tokenizers_and_come_back(folders):
    family = family_named("marian")
    processor = family.processor(folders("marian"))
    text = "the cat sat on a mat"
    assert family.features(processor, text).tolist() == processor(text).input_ids
    assert family.labels(processor, text, []) == processor(text_target=text).input_ids
    assert processor.decode(family.labels(processor, text, []), skip_special_tokens=True) == text
    with pytest.raises(ConsommeError, match="the model has positions for"):
        family.features(processor, "the cat " * 400)


@pytest.mark.parametrize("name", ["whisper", "speech2text", "moonshine"])
@pytest.mark.parametrize("count", [9000, 12345, 16000])
def test_frames_are_those_of_the_encoder(name, count, bundle, folders, noise):
    """What hybrid CTC on an encoder-decoder's encoder counts with."""
    import torch

    one = bundle(name, folders(name))
    feature = one.family.features(one.processor, noise(count, 5))
    window = {"frames": len(feature) + len(feature) % 2} if one.family.windows else {}
    batch = one.family.collate(one.processor, [feature], None, **window)
    with torch.no_grad(), one.family.fitted(one.model, batch):
        states = one.model.get_encoder()(**batch).last_hidden_state
    frames = one.family.output_frames(one.model, torch.tensor([len(feature)]))
    assert frames.tolist() == [states.shape[1]]
