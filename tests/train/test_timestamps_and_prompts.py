"""Timestamps and earlier text in a share of the examples: known layouts, times and losses."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from consomme.common.errors import ConsommeError
from consomme.data.prepared import Rows
from consomme.families import family_named, load
from consomme.train.augment import Augmenter, Context
from consomme.train.collate import Collator
from consomme.train.examples import Examples, open_corpus
from consomme.train.stage import run
from consomme.train.timestamps_and_prompts import TimestampsAndPrompts

WHISPER = family_named("whisper")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A Whisper from scratch, without tokens for timestamps."""
    folder = tmp_path_factory.mktemp("plain") / "model"
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    small = {"window": 2, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "max_target_positions": 40}
    neurons = {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    WHISPER.create(folder, small | heads | neurons, {}, lambda: iter(["abcd"] * 4), ["en"], 0)
    return folder


@pytest.fixture(scope="module")
def whisper(plain, tmp_path_factory):
    """The same with 101 of them, 0 s to 2 s, at the end of its vocabulary as published ones have them."""
    folder = tmp_path_factory.mktemp("whisper") / "model"
    model = load(plain)
    torch.manual_seed(1)
    model.resize_token_embeddings(model.config.vocab_size + 101, mean_resizing=False)
    model.save_pretrained(folder)
    WHISPER.processor(plain).save_pretrained(folder)
    return folder


@pytest.fixture
def processor(whisper):
    return WHISPER.processor(whisper)


def ids(processor, *names):
    return processor.tokenizer.convert_tokens_to_ids(list(names))


def said(processor, text):
    return processor.tokenizer(text, add_special_tokens=False).input_ids


# -- layouts -------------------------------------------------------------------------------------------------------
def test_timestamps_stand_around_each_segment(processor):
    segments = [(0.0, 0.31, "ab"), (0.31, 1.0, "cd")]
    first = processor.tokenizer.timestamps.start
    found = WHISPER.timed_labels(processor, segments, ["en"])
    wanted = [*ids(processor, "<|en|>", "<|transcribe|>"), first, *said(processor, "ab"), first + 16, first + 16]
    assert found == [*wanted, *said(processor, " cd"), first + 50, *ids(processor, "<|endoftext|>")]
    assert WHISPER.timed_labels(processor, [(0, 9.0, "ab")], ["en"])[-2] == first + 100  # the window's end


def test_a_model_without_tokens_for_timestamps_says_so(plain):
    with pytest.raises(ConsommeError, match="no tokens for them"):
        WHISPER.timed_labels(WHISPER.processor(plain), [], ["en"])


def test_earlier_text_is_cut_from_the_left_to_half_of_the_positions(processor):
    whole = said(processor, " ab cd")
    assert WHISPER.earlier(processor, "ab cd", 40) == ([*ids(processor, "<|startofprev|>"), *whole], False)
    assert WHISPER.earlier(processor, "ab cd", 3) == ([*ids(processor, "<|startofprev|>"), *whole[-2:]], True)
    longest, cut = WHISPER.earlier(processor, "a b c d " * 40, 40)
    assert (len(longest), cut) == (20, True)
    assert WHISPER.earlier(processor, " ", 40) == ([], False) and WHISPER.earlier(processor, "ab", 1) == ([], True)


def test_it_is_laid_out_as_transformers_generation_expects(processor):
    stock = processor.get_prompt_ids("ab cd").tolist()
    assert WHISPER.earlier(processor, "ab cd", 40)[0] == stock


# -- loss ----------------------------------------------------------------------------------------------------------
def test_earlier_text_is_read_and_has_no_part_in_the_loss(whisper, processor):
    from consomme.evaluate.losses import seq2seq_nll

    model = load(whisper)
    waves = [np.random.default_rng(n).standard_normal(8000).astype(np.float32) for n in range(2)]
    features = [WHISPER.features(processor, wave) for wave in waves]
    labels = [WHISPER.labels(processor, text, ["en"]) for text in ("ab", "cdab")]
    before = WHISPER.earlier(processor, "dc", 40)[0]
    batch = WHISPER.collate(processor, features, labels, None, [before, []])
    start = ids(processor, "<|startoftranscript|>")
    assert batch["decoder_input_ids"][0].tolist() == [*before, *start, *labels[0][:-1]]
    with torch.no_grad():
        nll, tokens = seq2seq_nll(WHISPER, model, batch)
        logits = model(
            input_features=batch["input_features"][:1],
            decoder_input_ids=torch.tensor([[*before, *start, *labels[0][:-1]]]),
        ).logits[0, len(before) :]
        alone = WHISPER.collate(processor, features[1:], labels[1:])
        other, _ = seq2seq_nll(WHISPER, model, alone)
        untold, _ = seq2seq_nll(WHISPER, model, WHISPER.collate(processor, features[:1], labels[:1]))
    by_hand = cross_entropy(logits, torch.tensor(labels[0]), reduction="sum")
    assert tokens.tolist() == [len(labels[0]), len(labels[1])]
    assert nll.tolist() == pytest.approx([by_hand.item(), other.item()], rel=1e-5)
    assert abs(nll[0].item() - untold.item()) > 1e-3


# -- examples ------------------------------------------------------------------------------------------------------
def examples_of(whisper, tones, cache, timestamps=1.0, previous_text=1.0, augment=None, **columns):
    processor, rows = WHISPER.processor(whisper), Rows.open({"c": tones})
    rows.__dict__.update(columns)
    corpus = open_corpus(
        *(WHISPER, processor, load(whisper), rows),
        share=1.0,
        share_seed=0,
        languages=["en"],
        cache=cache,
        processor_key="w",
        labels_key="w",
    )
    more = TimestampsAndPrompts(WHISPER, processor, {"c": corpus}, timestamps, previous_text, 1)
    augmenter = Augmenter(augment, Context(longest=32000), 1) if augment else None
    return Examples(WHISPER, processor, {"c": corpus}, augmenter, more)


def times(examples, example):
    first = examples.processor.tokenizer.timestamps.start
    return [(token - first) / 50 for token in example["labels"] if token >= first]


def test_a_row_ends_where_its_audio_ends(whisper, tones, tmp_path):
    examples = examples_of(whisper, tones, tmp_path)
    for row in range(10):
        found = examples[0, "c", row]
        assert times(examples, found) == pytest.approx([0, examples.corpora["c"].seconds[row]], abs=0.011)
        assert found["timed"] and found["earlier"][0] == ids(examples.processor, "<|startofprev|>")[0]


def test_joined_rows_have_their_own_times_and_slower_ones_later_ends(whisper, tones, tmp_path):
    joined = {"concatenate": {"utterances": 2, "seconds": 30.0, "probability": 1.0}}
    examples = examples_of(whisper, tones, tmp_path, augment=joined)
    seconds = examples.corpora["c"].seconds
    found = [(row, examples[0, "c", row]) for row in range(10)]
    for row, example in found:
        assert times(examples, example) == pytest.approx([0, seconds[row], seconds[row], example["seconds"]], abs=0.011)
    slow = examples_of(whisper, tones, tmp_path, augment={"speed": [0.5]})
    example = slow[0, "c", 0]
    assert times(slow, example) == pytest.approx([0, 2 * seconds[0]], abs=0.02)


def test_shares_are_drawn_by_turn_and_row_whatever_else_is_set(whisper, tones, tmp_path):
    def drawn(key, **more):
        examples = examples_of(whisper, tones, tmp_path, **more)
        return [key in examples[turn, "c", row] for turn in range(8) for row in range(48)]

    timed = drawn("timed", timestamps=0.25, previous_text=0.0)
    assert np.mean(timed) == pytest.approx(0.25, abs=0.06) and timed[:48] != timed[48:96]
    gain = {"gain": [-6.0, 6.0]}
    assert drawn("timed", timestamps=0.25, previous_text=0.7, augment=gain) == timed
    assert np.mean(drawn("earlier", timestamps=0.25, previous_text=0.5)) == pytest.approx(0.5, abs=0.08)


def test_earlier_text_is_of_the_document_else_of_the_speaker_and_never_the_rows_own(whisper, tones, tmp_path):
    texts = [f"{'abcd'[n % 4]} {'abcd'[n // 4 % 4]} {'abcd'[n // 16]}" for n in range(48)]
    documents = ["talk"] * 3 + [None] * 45
    speakers = [f"s{n % 2}" for n in range(48)]
    columns = {"targets": texts, "documents": documents, "speakers": speakers}
    examples = examples_of(whisper, tones, tmp_path, timestamps=0.0, **columns)

    def told(turn, row):
        return examples.processor.decode(examples[turn, "c", row]["earlier"][1:]).strip()

    assert told(0, 2) == f"{texts[0]} {texts[1]}" and told(1, 1) == texts[0]
    for turn in range(20):
        found = texts.index(told(turn, 7))
        assert found % 2 == 1 and found != 7
    assert len({told(turn, 7) for turn in range(20)}) > 5
    same = examples_of(whisper, tones, tmp_path, targets=["a"] * 48, documents=["talk"] * 48)
    assert same[0, "c", 5]["earlier"] == []  # all rows of the document say the same


def test_batches_count_them(whisper, tones, tmp_path):
    examples = examples_of(whisper, tones, tmp_path, documents=["talk"] * 48)
    made = Collator(WHISPER, examples.processor)([examples[0, "c", row] for row in (0, 1, 40)])
    assert {k: made["counts"][k] for k in ("timestamps", "prompts", "cut_prompts")} == {
        "timestamps": 3,
        "prompts": 3,
        "cut_prompts": 1,
    }
    (batch,) = made["microbatches"]
    assert batch["decoder_input_ids"].shape == batch["labels"].shape


# -- trainings -----------------------------------------------------------------------------------------------------
def test_a_killed_training_ends_the_same_and_both_change_it(tmp_path, whisper, tones, job, killed_at, monkeypatch):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 2)
    options = {"max_steps": 6, "per_device_train_batch_size": 8}
    both = {"timestamps": 0.5, "previous_text": 0.5}
    jobs = [job(tmp_path / "whole", whisper, {"tones": tones}, **options, **both)]
    jobs.append(job(tmp_path / "killed", whisper, {"tones": tones}, **options, **both))
    jobs.append(job(tmp_path / "without", whisper, {"tones": tones}, **options))
    killed_at(5, jobs[1], monkeypatch)
    for one in jobs:
        run(one)
    whole, killed, without = ((j.out / "model.safetensors").read_bytes() for j in jobs)
    assert whole == killed != without
    lines = [json.loads(line) for line in (jobs[0].out / "progress.jsonl").read_text().splitlines()]
    assert 10 < sum(line["timestamps"] for line in lines) < 38 and sum(line["prompts"] for line in lines) > 10


def test_a_share_of_timestamps_without_their_tokens_ends_at_the_start(tmp_path, plain, tones, job):
    with pytest.raises(ConsommeError, match="no tokens for them"):
        run(job(tmp_path, plain, {"tones": tones}, max_steps=2, timestamps=0.2))


def test_other_families_are_refused(tmp_path, recogniser, tones, job):
    for key, words in (("timestamps", "writes no timestamps"), ("previous_text", "takes no earlier text")):
        with pytest.raises(ConsommeError, match=f"{key}: 'ctc' {words}"):
            run(job(tmp_path / key, recogniser, {"tones": tones}, max_steps=2, **{key: 0.2}))
