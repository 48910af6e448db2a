import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from consomme.common.errors import ConsommeError
from consomme.train.augment import (
    TABLE,
    Augmenter,
    Context,
    concatenate,
    folders,
    gain,
    noise,
    pitch,
    reverb,
    spec_augment,
    speed,
    subwords,
    words,
)

HERE = Context(rate=16000, stride=2, root=Path())
WAVES = Context(rate=16000, waveform=True)
MASKS = {"time_masks": 2, "time_width": 0.2, "frequency_masks": 2, "frequency_width": 4}


def draws(seed=0):
    return np.random.default_rng(seed)


def test_the_random_numbers_of_an_utterance_depend_on_seed_turn_corpus_and_id_only():
    def first(seed=1, turn=0, corpus="a", identity="x"):
        return Augmenter({}, HERE, seed).generator(turn, corpus, identity).random()

    assert first() == first()
    assert len({first(), first(seed=2), first(turn=1), first(corpus="b"), first(identity="y")}) == 5


def test_masks_hold_the_mean_and_leave_the_rest_and_the_original_alone():
    features = draws().normal(3, 1, (50, 16)).astype(np.float32)
    before = features.copy()
    masked = spec_augment.build(MASKS, HERE)(features, draws(1))
    assert np.array_equal(features, before) and masked.shape == features.shape
    changed = masked != features
    assert changed.any() and np.allclose(masked[changed], features.mean(), atol=1e-5)


def test_joined_frames_are_masked_by_mel_bin():
    features = draws().normal(0, 1, (50, 16)).astype(np.float32)
    settings = {"time_masks": 0, "time_width": 0.0, "frequency_masks": 1, "frequency_width": 8}
    changed = spec_augment.build(settings, HERE)(features, draws(4)) != features
    assert changed.any() and np.array_equal(changed[:, :8], changed[:, 8:])  # both mel vectors of a frame


def test_masks_are_as_wide_and_as_placed_as_those_of_torchaudio():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchaudio.functional")
    generator, ours, theirs = draws(), np.zeros(40), np.zeros(40)
    torch.manual_seed(0)
    for _ in range(4000):
        ours[spec_augment.band(40, 12, generator)] += 1
        theirs += functional.mask_along_axis(torch.zeros(1, 2, 40), 12, 1.0, 2)[0, 0].numpy()
    assert np.abs(ours - theirs).max() / 4000 < 0.04
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.05)


@pytest.mark.parametrize(("point", "goal"), [(30.0, 45.0), (30.0, 12.5), (50.0, 50.0)])
def test_a_ramp_warps_as_computed_and_its_ends_stay(point, goal):
    ramp = np.stack([np.arange(100.0), -np.arange(100.0)], axis=1).astype(np.float32)
    found = spec_augment.warped(ramp, point, goal)
    times = np.arange(100)
    left, right = times * point / goal, point + (times - goal) * (99 - point) / (99 - goal)
    np.testing.assert_allclose(found[:, 0], np.where(times <= goal, left, right), atol=1e-4)
    np.testing.assert_allclose(found[:, 1], -found[:, 0], atol=1e-4)
    assert np.array_equal(found[[0, -1]], ramp[[0, -1]]) and found.dtype == np.float32


def test_the_warp_moves_a_frame_by_at_most_its_distance_both_ways():
    settings = {**MASKS, "time_masks": 0, "frequency_masks": 0, "time_warp": 20}
    ramp = np.arange(200.0, dtype=np.float32)[:, None]
    change, generator = spec_augment.build(settings, Context()), draws()
    shifts = np.array(
        [
            np.abs(s).max() * np.sign(s[np.abs(s).argmax()])
            for s in (change(ramp, generator)[:, 0] - ramp[:, 0] for _ in range(500))
        ]
    )
    assert -21 < shifts.min() < -17 and 17 < shifts.max() < 21 and abs(shifts.mean()) < 2
    short = ramp[:41]
    assert np.array_equal(change(short, draws()), short)  # no frame is 20 away from both ends


def test_the_widest_time_mask_is_the_smaller_of_frames_and_share():
    def widest(frames, **given):
        drawn = [spec_augment.stretches(frames, frames, generator, time_masks=1, **given)[0] for _ in range(2000)]
        return max(s.stop - s.start for s in drawn)

    generator = draws()
    assert 95 <= widest(1000, time_width=1.0, time_frames=100) < 100
    assert 38 <= widest(200, time_width=0.2, time_frames=100) < 40


def test_adaptive_masks_grow_with_the_utterance_up_to_their_limit():
    def number(frames):
        return len(
            spec_augment.stretches(frames, frames, draws(), time_masks=20, time_width=0.04, time_masks_per_frame=0.04)
        )

    assert [number(n) for n in (20, 100, 399, 10000)] == [0, 4, 15, 20]


def test_waveforms_get_time_masks_as_long_as_frames_would():
    wave = draws().normal(1, 1, 32000).astype(np.float32)
    before = wave.copy()
    settings = {"time_masks": 1, "time_width": 1.0, "time_frames": 50, "frequency_width": 15}
    change, generator = spec_augment.build(settings, WAVES), draws()
    lengths = []
    for _ in range(300):
        masked = change(wave, generator)
        assert masked.shape == wave.shape and np.allclose(masked[masked != wave], wave.mean())
        lengths.append((masked != wave).sum())
    assert np.array_equal(wave, before)
    assert 7800 < max(lengths) <= 8000  # 50 frames of 10 ms at 16 kHz
    for more in ({"frequency_masks": 1}, {"time_warp": 5}):
        with pytest.raises(ConsommeError, match=r"reads waveforms.*allowed: time_masks"):
            spec_augment.build({**settings, **more}, WAVES)
    spec_augment.build({**settings, "frequency_masks": 0, "time_warp": 0}, WAVES)


def test_speed_changes_length_and_pitch_by_its_factor():
    wave = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    fast = speed.change(wave, draws(), [1.1], 16000)
    assert len(fast) == pytest.approx(16000 / 1.1, abs=2) and fast.dtype == np.float32
    peak = np.abs(np.fft.rfft(fast)).argmax() * 16000 / len(fast)
    assert peak == pytest.approx(484, abs=2)
    assert speed.change(wave, draws(), [1.0], 16000) is wave
    assert speed.change(wave, draws(), [0.9], 16000, longest=17000) is wave  # would not fit the model's window


@pytest.mark.parametrize("semitones", [-4, -1, 3, 12])
def test_pitch_moves_the_tone_and_not_the_length(semitones):
    wave = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    shifted = pitch.change(wave, draws(), [semitones], 16000)
    assert shifted.shape == wave.shape and shifted.dtype == np.float32
    peak = np.abs(np.fft.rfft(shifted)).argmax()
    assert peak == pytest.approx(440 * 2 ** (semitones / 12), rel=0.01)


@pytest.mark.parametrize("factor", [0.8, 1.25, 2.0])
def test_the_vocoder_is_that_of_torchaudio(factor):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchaudio.functional")
    wave, window = torch.from_numpy(draws().standard_normal(16000)), torch.hann_window(512, dtype=torch.float64)
    spectrum = torch.stft(wave, 512, 128, window=window, return_complex=True)
    advance = torch.linspace(0, torch.pi * 128, 257, dtype=torch.float64)[:, None]
    theirs, ours = functional.phase_vocoder(spectrum, 1 / factor, advance).T, pitch.slower(spectrum.T, factor)
    whole = int((len(spectrum.T) - 1) * factor)  # what follows lies after the last frame
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours[:whole], theirs[:whole], atol=1e-8)
    np.testing.assert_allclose(pitch.overlapped(spectrum.T, window), wave, atol=1e-12)


def test_every_semitone_is_met_within_four_hundredths():
    for steps in range(-12, 13):
        assert 12 * np.log2(float(pitch.ratio(steps))) == pytest.approx(steps, abs=0.04)


def test_pitch_leaves_alone_what_is_not_shifted_or_shorter_than_a_window():
    wave = draws().standard_normal(400).astype(np.float32)
    assert pitch.change(wave, draws(), [0], 16000) is wave and pitch.change(wave, draws(), [3], 16000) is wave


def test_gain_is_drawn_between_its_ends_and_changes_nothing_else():
    wave = draws().standard_normal(1000).astype(np.float32)
    change = gain.build([-6, 12], HERE)
    generator = draws()
    factors = [change(wave, generator)[0] / wave[0] for _ in range(1000)]
    decibels = 20 * np.log10(factors)
    assert -6 <= decibels.min() < -5 and 11 < decibels.max() <= 12 and decibels.mean() == pytest.approx(3, abs=0.6)
    louder = change(wave, draws(7))
    np.testing.assert_allclose(louder / wave, louder[0] / wave[0], rtol=1e-5)
    assert louder.dtype == np.float32


@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
def test_noise_is_mixed_at_the_drawn_ratio(snr):
    wave = (0.1 * draws().standard_normal(16000)).astype(np.float32)
    change = noise.build({"folder": None, "snr": [snr, snr], "probability": 1.0}, HERE)
    added = change(wave, draws(1)) - wave
    assert 10 * np.log10(np.mean(wave**2) / np.mean(added**2)) == pytest.approx(snr, abs=0.05)


def test_noise_comes_with_its_probability_from_its_folder(tmp_path):
    hum = np.sin(2 * np.pi * 100 * np.arange(4000) / 8000).astype(np.float32)
    (tmp_path / "below").mkdir()
    soundfile.write(tmp_path / "below" / "hum.wav", hum, 8000)
    context = Context(16000, 1, tmp_path)
    change = noise.build({"folder": ".", "snr": [0, 0], "probability": 0.25}, context)
    wave, generator = np.full(32000, 0.1, np.float32), draws()
    added = [change(wave, generator) for _ in range(400)]
    assert 0.15 < np.mean([a is not wave for a in added]) < 0.35
    heard = next(a for a in added if a is not wave) - wave  # longer than the recording, which goes round
    assert np.abs(np.fft.rfft(heard)).argmax() * 16000 / len(heard) == pytest.approx(100, abs=1)


def test_a_recorded_room_keeps_time_length_and_power(tmp_path):
    response = np.zeros(800, np.float32)
    response[[100, 180, 420]] = 0.02, 0.8, 0.4  # something early, the direct sound, an echo 240 samples after it
    soundfile.write(tmp_path / "room.wav", response, 16000, subtype="FLOAT")
    change = reverb.build({"folder": ".", "rt60": [0.1, 0.6], "probability": 1.0}, Context(16000, 1, tmp_path))
    clicks = np.zeros(16000, np.float32)
    clicks[[1000, 15990]] = 0.5
    heard = change(clicks, draws())
    assert heard.shape == clicks.shape and heard.dtype == np.float32
    assert np.abs(heard).argsort()[-2:].tolist() in ([1000, 15990], [15990, 1000])
    assert heard[1240] / heard[1000] == pytest.approx(0.5, abs=1e-4)
    assert heard[920] / heard[1000] == pytest.approx(0.025, abs=1e-4)
    assert np.mean(heard**2) == pytest.approx(np.mean(clicks**2), rel=1e-4)


def test_convolution_is_that_of_numpy():
    wave, response = draws().standard_normal(5000).astype(np.float32), draws(1).standard_normal(700).astype(np.float32)
    start = int(np.abs(response).argmax())
    expected = np.convolve(wave, response)[start : start + len(wave)]
    expected *= np.sqrt(np.mean(wave**2) / np.mean(expected**2))
    np.testing.assert_allclose(reverb.within(wave, response), expected, atol=1e-4)


def test_a_room_made_on_the_spot_falls_by_sixty_decibels_in_its_time():
    response = reverb.room(0.4, 6.0, 16000, draws())
    tail = response[1:]
    assert np.abs(response).argmax() == 0 and 10 * np.log10(1 / np.sum(tail**2)) == pytest.approx(6, abs=1e-6)
    first, last = tail[400:1200], tail[4400:5200]  # 0.25 s apart
    assert 10 * np.log10(np.sum(first**2) / np.sum(last**2)) == pytest.approx(60 * 0.25 / 0.4, abs=1.5)


def test_rooms_come_with_their_probability():
    change = reverb.build({"folder": None, "rt60": [0.1, 0.2], "probability": 0.3}, HERE)
    wave, generator = draws().standard_normal(4000).astype(np.float32), draws()
    assert 0.2 < np.mean([change(wave, generator) is not wave for _ in range(300)]) < 0.4
    silence = np.zeros(4000, np.float32)
    assert not any(np.any(change(silence, generator)) for _ in range(20))


def test_folders_of_augmentations_are_found_with_what_lies_below(tmp_path):
    for name in ("b/hum.wav", "a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.ones(10), 8000)
    settings = {"noise": {"folder": ".", "snr": [0, 5]}, "reverb": {"folder": "b"}, "gain": [0, 1], "speed": None}
    assert folders(settings, tmp_path) == {
        "noise": [tmp_path / "a.wav", tmp_path / "b/hum.wav"],
        "reverb": [tmp_path / "b/hum.wav"],
    }


def test_pink_noise_falls_by_three_decibels_an_octave():
    spectra = {True: [], False: []}
    generator = draws()
    for _ in range(60):
        power = np.abs(np.fft.rfft(noise.coloured(4096, generator))) ** 2
        ratio = power[64:128].mean() / power[512:1024].mean()
        spectra[ratio > 3].append(ratio)
    assert np.mean(spectra[True]) == pytest.approx(8, rel=0.2) and np.mean(spectra[False]) == pytest.approx(1, rel=0.2)


# -- text ----------------------------------------------------------------------------------------------------------------
SENTENCES = [
    f"{a} {b} the {c} house"
    for a in ("green", "greener", "greenest")
    for b in ("over", "under")
    for c in ("old", "colder")
]


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def spm(request):
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5), model_writer=model, model_type=request.param, vocab_size=60,
        hard_vocab_limit=False, eos_id=0, unk_id=1, bos_id=-1, pad_id=-1, minloglevel=2,
    )  # fmt: skip
    return request.param, sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def test_without_chance_the_pieces_are_those_of_sentencepiece(spm):
    from consomme.families.settings import pieces

    kind, model = spm
    found, scores = pieces(model, {model.id_to_piece(i) for i in range(len(model))})
    assert found == kind and "<unk>" not in scores and "</s>" not in scores
    for text in [*SENTENCES, "  the  Ωmega 北京 greens ", "", "zz"]:
        spelled = model.normalize(text)
        if kind == "unigram":
            mine = subwords.sample(spelled, scores, 1000.0, draws(), max(map(len, scores)))
        else:
            mine = subwords.merge(spelled, scores, 0.0, draws())
        assert subwords.joined(mine, scores) == model.encode(text, out_type=str)


def test_a_unigram_model_is_sampled_in_proportion_to_its_weights():
    scores = {"a": -1.0, "b": -1.5, "ab": -2.0, "ba": -1.2, "aba": -3.0}
    alpha, text = 0.7, "abab"

    def ways(rest):
        return [[p, *more] for p in scores if rest.startswith(p) for more in ways(rest[len(p) :])] if rest else [[]]

    weights = {tuple(way): np.exp(alpha * sum(scores[p] for p in way)) for way in ways(text)}
    generator, counts = draws(), dict.fromkeys(weights, 0)
    for _ in range(20000):
        counts[tuple(subwords.sample(text, scores, alpha, generator, 3))] += 1
    for way, weight in weights.items():
        assert counts[way] / 20000 == pytest.approx(weight / sum(weights.values()), abs=0.012)


def test_merges_are_left_out_as_often_as_asked():
    scores = {"ab": -1.0}
    generator = draws()
    whole = [subwords.merge("ab", scores, 0.3, generator) == ["ab"] for _ in range(5000)]
    assert np.mean(whole) == pytest.approx(0.7, abs=0.02)
    assert subwords.merge("▁ab▁ab", scores, 1.0, generator) == list("▁ab▁ab")


def test_sampled_ids_spell_the_same_text_on_either_side(translator):
    from consomme.families import family_named

    family = family_named("marian")
    processor = family.processor(translator)
    context = Context(subwords=lambda side: family.subwords(processor, side))
    settings = {"sides": ["source", "target"], "alpha": 0.1, "dropout": 0.1}
    encoders = subwords.build(settings, context)
    plain = {
        "source": lambda t: list(family.features(processor, t)),
        "target": lambda t: family.labels(processor, t, []),
    }
    for side, encode in encoders.items():
        sampled = [encode("one two three", draws(seed)) for seed in range(30)]
        assert sampled == [encode("one two three", draws(seed)) for seed in range(30)]
        assert len({tuple(ids) for ids in sampled}) > 5
        assert {processor.decode(ids, skip_special_tokens=True) for ids in sampled} == {"one two three"}
        assert all(ids[-1] == processor.eos_token_id for ids in sampled)
        exact = subwords.build({**settings, "alpha": 1000.0}, context)[side]("one two three", draws())
        assert exact == plain[side]("one two three")


def test_words_are_left_out_in_order_and_never_all():
    change, generator = words.build(0.4, HERE), draws()
    text = " ".join(map(str, range(10)))
    left = [change(text, generator).split() for _ in range(2000)]
    assert all(w == sorted(w, key=int) and w for w in left)
    assert np.mean([len(w) for w in left]) == pytest.approx(6, abs=0.15)
    assert {change("a b", generator) for _ in range(200)} == {"a", "b", "a b"}
    assert change("", generator) == "" and words.build(0.001, HERE)(text, draws(1)) is text


# -- examples --------------------------------------------------------------------------------------------------------------
SPEECH = {
    "concatenate": {"utterances": 3, "seconds": 0.95, "probability": 0.5},
    "speed": [0.9, 1.0, 1.1],
    "pitch": [-2, 0, 2],
    "gain": [-6, 6],
    "reverb": {"folder": None, "rt60": [0.1, 0.3], "probability": 0.5},
    "noise": {"folder": None, "snr": [5, 20], "probability": 0.5},
    "spec_augment": {"time_masks": 1, "time_width": 0.2, "frequency_masks": 1, "frequency_width": 4, "time_warp": 2},
}
TEXT = {
    "concatenate": {"utterances": 2, "seconds": 30.0, "probability": 0.5},
    "word_dropout": 0.2,
    "subwords": {"sides": ["source", "target"], "alpha": 0.3, "dropout": 0.1},
}


def examples_of(name, parent, folder, cache, augment, speakers=None, usable=None, fastest=1.0):
    """The training examples of one corpus; `speakers`: instead of the corpus's own."""
    from dataclasses import replace

    from consomme.data.prepared import Rows
    from consomme.families import family_named, load
    from consomme.train.examples import Examples, open_corpus

    family = family_named(name)
    processor = family.processor(parent)
    rows = Rows.open({"c": folder})
    if speakers:
        rows.__dict__["speakers"] = speakers
    corpus = open_corpus(
        family, processor, load(parent), rows, share=1.0, share_seed=0, languages=["en", "fr"], cache=cache,
        processor_key=name, fastest=fastest,
    )  # fmt: skip
    if usable is not None:
        corpus = replace(corpus, usable=np.array(usable))
    context = Context(
        stride=getattr(getattr(processor, "feature_extractor", None), "stride", 1),
        subwords=lambda side: family.subwords(processor, side),
    )
    return Examples(family, processor, {"c": corpus}, Augmenter(augment, context, 1) if augment is not None else None)


def test_every_augmentation_is_tried_here():
    assert set(SPEECH) | set(TEXT) == set(TABLE)


def test_a_configuration_has_a_key_for_every_augmentation():
    from consomme.plan.schema import Augment

    assert list(Augment.model_fields) == list(TABLE)


@pytest.mark.parametrize("task", ["asr", "nmt"])
def test_workers_order_and_repetition_change_nothing(task, tmp_path, recogniser, tones, translator, pairs):
    from torch.utils.data import DataLoader

    asr = task == "asr"
    given = ("ctc", recogniser, tones, tmp_path, SPEECH) if asr else ("marian", translator, pairs, tmp_path, TEXT)
    examples = examples_of(*given)
    keys = [(turn, "c", row) for turn in (0, 1) for row in range(24)]
    inline = {key: examples[key] for key in keys}
    loader = DataLoader(examples, sampler=keys[::-1], batch_size=None, num_workers=2)
    changed = 0
    for key, example in zip(keys[::-1], loader, strict=True):
        assert np.array_equal(example["features"], inline[key]["features"]), key
        assert list(example["labels"]) == list(inline[key]["labels"]) and example["seconds"] == inline[key]["seconds"]
        cached = examples.corpora["c"].features[key[2]]
        changed += example["features"].shape != cached.shape or not np.array_equal(example["features"], cached)
    assert changed > 30
    assert any(not np.array_equal(inline[0, "c", r]["features"], inline[1, "c", r]["features"]) for r in range(24))


def test_what_was_built_travels_to_another_process(tmp_path, recogniser, tones, translator, pairs):
    import pickle

    for given in (("ctc", recogniser, tones, tmp_path, SPEECH), ("marian", translator, pairs, tmp_path, TEXT)):
        examples = examples_of(*given)
        expected = [examples[0, "c", row] for row in range(8)]
        examples.augmenter = pickle.loads(pickle.dumps(examples.augmenter))
        for row in range(8):
            found = examples[0, "c", row]
            assert np.array_equal(found["features"], expected[row]["features"])
            assert list(found["labels"]) == list(expected[row]["labels"])


def test_joined_utterances_have_joined_transcripts_and_stay_within_seconds(tmp_path, recogniser, tones):
    augment = {"concatenate": {"utterances": 3, "seconds": 0.75, "probability": 1.0}}
    examples = examples_of("ctc", recogniser, tones, tmp_path, augment)
    corpus, processor = examples.corpora["c"], examples.processor
    texts = corpus.rows.targets
    joined = 0
    for row in range(48):
        found = examples[0, "c", row]
        said = processor.tokenizer.decode(found["labels"], group_tokens=False).split()
        assert found["seconds"] <= 0.75 + 1e-9 and said[0] == texts[row]
        assert sum(map(len, said)) == round(found["seconds"] * 10)  # a letter lasts 0.1 s
        assert len(found["features"]) >= sum(corpus.lengths[[texts.index(t) for t in said]])
        joined += len(said) > 1
    assert joined > 20


def test_only_rows_to_train_on_and_of_the_same_speaker_are_joined(tmp_path, recogniser, tones):
    speakers = [f"s{i % 3}" for i in range(48)]
    augment = {"concatenate": {"utterances": 4, "seconds": 30.0, "probability": 1.0}}
    examples = examples_of("ctc", recogniser, tones, tmp_path, augment, speakers, usable=range(12))
    corpus = examples.corpora["c"]
    followers = set()
    for turn in range(30):
        together = examples._together(
            examples.augmenter, "c", 4, examples.augmenter.generator(turn, "c", corpus.ids[4])
        )
        assert together[0] == 4 and len(together) == len(set(together))
        followers |= set(together[1:])
    assert followers == {1, 7, 10}


def test_a_row_alone_of_its_speaker_stays_alone(tmp_path, recogniser, tones):
    augment = {"concatenate": {"utterances": 4, "seconds": 30.0, "probability": 1.0}}
    alone = examples_of("ctc", recogniser, tones, tmp_path, augment, [f"s{i}" for i in range(48)])
    plain = examples_of("ctc", recogniser, tones, tmp_path, None)
    found, expected = alone[0, "c", 3], plain[0, "c", 3]
    assert found["features"] is not None and np.array_equal(found["features"], expected["features"])
    assert list(found["labels"]) == list(expected["labels"]) and found["seconds"] == expected["seconds"]


def test_what_does_not_fit_joined_is_left_alone(tmp_path, recogniser, tones, translator, pairs):
    from dataclasses import replace

    augment = {"concatenate": {"utterances": 2, "seconds": 30.0, "probability": 1.0}}
    examples = examples_of("ctc", recogniser, tones, tmp_path, augment)
    tight = replace(examples.corpora["c"], room=np.array([len(x) for x in examples.corpora["c"].labels]))
    examples.corpora = {"c": tight}  # CTC: room for each by itself, none for the space between two
    assert all(list(examples[0, "c", r]["labels"]) == list(tight.labels[r]) for r in range(10))
    examples = examples_of("ctc", recogniser, tones, tmp_path, augment)
    examples.augmenter.longest = 16000 * 6 // 10  # a window of 0.6 s
    found = [examples[0, "c", r]["seconds"] for r in range(48)]
    assert max(found) <= 0.6 + 1e-9 and any(s > examples.corpora["c"].seconds[r] for r, s in enumerate(found))
    examples = examples_of("marian", translator, pairs, tmp_path, augment)
    long = [examples[0, "c", r] for r in range(64)]
    assert any(len(e["labels"]) > len(examples.corpora["c"].labels[r]) for r, e in enumerate(long))
    assert all(len(e["labels"]) <= 32 and len(e["features"]) <= 32 for e in long)  # the model's positions


def test_sentences_are_joined_on_both_sides(tmp_path, translator, pairs):
    augment = {"concatenate": {"utterances": 2, "seconds": 30.0, "probability": 1.0}}
    examples = examples_of("marian", translator, pairs, tmp_path, augment)
    rows, processor = examples.corpora["c"].rows, examples.processor
    known = dict(zip(rows.sources, rows.targets, strict=True))
    joined = 0
    for row in range(20):
        found = examples[0, "c", row]
        source, target = (processor.decode(list(found[k]), skip_special_tokens=True) for k in ("features", "labels"))
        assert source.startswith(rows.sources[row]) and target.startswith(rows.targets[row])
        rest = source[len(rows.sources[row]) :].strip()
        joined += bool(rest)
        assert target[len(rows.targets[row]) :].strip() == known.get(rest, "")
    assert joined > 10


def test_texts_cut_too_finely_for_the_model_are_cut_as_ever(tmp_path, translator, pairs):
    augment = {"subwords": {"sides": ["source", "target"], "alpha": 1e-9, "dropout": 0.1}}
    examples = examples_of("marian", translator, pairs, tmp_path, augment)
    corpus = examples.corpora["c"]
    found = [examples[0, "c", r] for r in range(64)]
    assert all(len(e["labels"]) <= 32 and len(e["features"]) <= 32 for e in found)
    assert any(len(e["features"]) > len(corpus.features[r]) for r, e in enumerate(found))
    only = examples_of(
        "marian", translator, pairs, tmp_path, {"subwords": {**augment["subwords"], "sides": ["source"]}}
    )
    assert all(list(only[0, "c", r]["labels"]) == list(corpus.labels[r]) for r in range(20))


def test_what_cannot_be_done_is_said(tmp_path):
    with pytest.raises(ConsommeError, match="no recording there"):
        noise.build({"folder": "none", "snr": [5, 20], "probability": 1.0}, Context(16000, 1, tmp_path))
    with pytest.raises(ConsommeError, match="lower ratio first"):
        noise.build({"folder": None, "snr": [20, 5], "probability": 1.0}, HERE)
    with pytest.raises(ConsommeError, match="factors between"):
        speed.build([0.0], HERE)
    with pytest.raises(ConsommeError, match="a fraction of the frames"):
        spec_augment.build({**MASKS, "time_width": 30}, HERE)
    with pytest.raises(ConsommeError, match=r"augment.reverb.folder.*no recording there"):
        reverb.build({"folder": "none", "rt60": [0.1, 0.2], "probability": 1.0}, Context(16000, 1, tmp_path))
    with pytest.raises(ConsommeError, match="shorter time first"):
        reverb.build({"folder": None, "rt60": [0.2, 0.1], "probability": 1.0}, HERE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 16000)
    with pytest.raises(ConsommeError, match="remove it from the folder"):
        noise.build({"folder": ".", "snr": [5, 20], "probability": 1.0}, Context(16000, 1, tmp_path))
    with pytest.raises(ConsommeError, match="at least 2"):
        concatenate.build({"utterances": 1, "probability": 1.0}, HERE)
    with pytest.raises(ConsommeError, match="above 0 and below 1"):
        words.build(1.0, HERE)
    with pytest.raises(ConsommeError, match="gives no scores of its subwords"):
        subwords.build({"sides": ["source"], "alpha": 0.1, "dropout": 0.1}, Context(subwords=lambda side: None))
