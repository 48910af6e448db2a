"""The evaluator: its losses against float64 arithmetic, its order, its cache."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from consomme.common.errors import ConsommeError, Unusable
from consomme.evaluate.evaluator import Said
from consomme.evaluate.identity import hash_model, processor_key

SOURCES = ["5 6 7", "8", "9 10 11 3 4", "2 2", "6 7 8 9"]
TARGETS = ["7 6", "8 8 8", "3", "", "4 5 6 7 8 9"]


def test_the_seq2seq_loss_is_that_of_float64(small):
    evaluator = small({"dev": small.Rows(SOURCES, TARGETS)}, batch_size=2)
    model = small.marian()
    found = evaluator.statistics(model, "dev", "loss")

    double = small.marian().double().eval()
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        labels = [int(t) for t in target.split()] + [0]
        given = torch.tensor([[1, *labels[:-1]]])
        inputs = torch.tensor([[int(t) for t in source.split()] + [0]])
        with torch.no_grad():
            logits = double(input_ids=inputs, decoder_input_ids=given).logits[0]
        nll = -sum(logits[i].log_softmax(-1)[token].item() for i, token in enumerate(labels))
        assert found[row, 0] == pytest.approx(nll, rel=1e-5)
        assert found[row, 1] == len(labels)
    assert evaluator.value(model, "dev", "loss") == pytest.approx(found[:, 0].sum() / found[:, 1].sum())
    with torch.no_grad():  # and the mean is transformers' own
        batch = evaluator._collate(model, "dev", range(5), evaluator.inputs("dev").labels)
        assert evaluator.value(model, "dev", "loss") == pytest.approx(model.eval()(**batch).loss.item(), rel=1e-5)


class Recogniser(torch.nn.Module):
    """A CTC model of one linear layer."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.head = torch.nn.Linear(16, 5)
        self.config = SimpleNamespace(pad_token_id=0, to_dict=lambda: {"kind": "recogniser"})
        self.dtype = torch.float32

    def forward(self, input_features, attention_mask):
        return SimpleNamespace(logits=self.head(input_features))


def ctc_by_paths(log_probs, labels):
    """-log of the sum over all alignments, by the forward recursion of Graves et al. 2006 in float64."""
    padded = [0]
    for label in labels:
        padded += [label, 0]
    alpha = {(0): log_probs[0][0]}
    if labels:
        alpha[1] = log_probs[0][padded[1]]
    for frame in log_probs[1:]:
        after = {}
        for s in range(len(padded)):
            came = [alpha[p] for p in (s, s - 1) if p in alpha]
            if s >= 2 and padded[s] != 0 and padded[s] != padded[s - 2] and s - 2 in alpha:
                came.append(alpha[s - 2])
            if came:
                after[s] = math.log(sum(math.exp(c) for c in came)) + frame[padded[s]]
        alpha = after
    ends = [alpha[s] for s in (len(padded) - 1, len(padded) - 2) if s in alpha]
    return -math.log(sum(math.exp(e) for e in ends)) if ends else 0.0


def test_the_ctc_loss_is_that_of_float64(small):
    sources = ["abcde", "abcdefgh", "ab", "abc", "xyz"]
    targets = ["1 2", "3 3 4", "1 2 3 4", "", "2"]  # the third doesn't fit into its two frames; the fourth is silence
    record = small.family("ctc")
    evaluator = small({"dev": small.Rows(sources, targets)}, record=record, batch_size=2)
    model = Recogniser()
    found = evaluator.statistics(model, "dev", "loss")
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        features = torch.from_numpy(record.features(None, source)).double()
        with torch.no_grad():
            log_probs = (features @ model.head.weight.double().T + model.head.bias.double()).log_softmax(-1).tolist()
        labels = [int(t) for t in target.split()]
        assert found[row, 0] == pytest.approx(ctc_by_paths(log_probs, labels), rel=1e-5)
        assert found[row, 1] == len(labels)
    assert found[2, 0] == 0


def test_a_set_of_silence_has_a_ctc_loss(small):
    evaluator = small({"dev": small.Rows(["abc", "abcd"], ["", ""])}, "ctc")
    found = evaluator.statistics(Recogniser(), "dev", "loss")
    assert (found[:, 0] > 0).all()
    assert (found[:, 1] == 0).all()


def test_batches_and_order_do_not_show(small, tmp_path):
    model = small.marian()
    answers = []
    for i, size in enumerate((1, 2, 64)):
        evaluator = small({"dev": small.Rows(SOURCES, TARGETS)}, batch_size=size, cache=tmp_path / str(i))
        answers.append((evaluator.statistics(model, "dev", "loss"), evaluator.hypotheses(model, "dev").texts))
        assert answers[-1][1][1].endswith(" 8 0")  # the row's own source
        assert len(answers[-1][1]) == len(SOURCES)
    for loss, said in answers[1:]:
        np.testing.assert_allclose(loss, answers[0][0], rtol=1e-5)
        assert said == answers[0][1]
    swapped = [3, 1, 4, 0, 2]
    rows = small.Rows([SOURCES[i] for i in swapped], [TARGETS[i] for i in swapped], fingerprint="swapped")
    again = small({"dev": rows}, batch_size=2)
    np.testing.assert_allclose(again.statistics(model, "dev", "loss"), answers[0][0][swapped], rtol=1e-5)


def test_what_was_asked_before_does_not_call_the_model(small, capsys):
    def never(*given):
        raise AssertionError("the model was called")

    rows = {"dev": small.Rows(SOURCES, TARGETS)}
    record, model = small.family("seq2seq"), small.marian()
    first = small(rows, record=record)
    loss, bleu = first.statistics(model, "dev", "loss"), first.statistics(model, "dev", "bleu")
    lines = capsys.readouterr().err
    assert lines.count("dev: ") == 2
    assert "(5 utterances, " in lines
    assert record.calls == [5]

    second = small(rows, record=record)
    same = small.marian()
    same.forward = never
    np.testing.assert_array_equal(second.statistics(same, "dev", "loss"), loss)
    np.testing.assert_array_equal(second.statistics(same, "dev", "bleu"), bleu)
    assert second.statistics(same, "dev", "chrf").shape == (5, 18)
    assert record.calls == [5]
    assert capsys.readouterr().err == ""


def test_each_part_of_the_question_makes_another_answer(small):
    rows, record = {"dev": small.Rows(SOURCES, TARGETS)}, small.family("seq2seq")
    model = small.marian()
    small(rows, record=record).hypotheses(model, "dev")
    asked = len(record.calls)
    for other in (
        {"decoding": {"num_beams": 4}},
        {"languages": ["fr", "en"]},
        {"processor_key": "q"},
    ):
        small(rows, record=record, **other).hypotheses(model, "dev")
        asked += 1
        assert len(record.calls) == asked
    small({"dev": small.Rows(SOURCES, TARGETS, fingerprint="new")}, record=record).hypotheses(model, "dev")
    assert len(record.calls) == asked + 1
    # of speed or of scoring only
    small(rows, record=record, batch_size=1, normaliser="basic").hypotheses(model, "dev")
    small({"other name": rows["dev"]}, record=record).hypotheses(model, "other name")
    assert len(record.calls) == asked + 1
    with torch.no_grad():
        model.model.decoder.layers[0].fc1.weight[3, 3] += 1e-6
    small(rows, record=record).hypotheses(model, "dev")
    assert len(record.calls) == asked + 2


def test_the_hash_sees_weights_and_config_and_no_history(small):
    model = small.marian()
    known = hash_model(model)
    assert hash_model(small.marian()) == known
    model.config._name_or_path = "/somewhere/else"
    assert hash_model(model) == known
    model.config.activation_function = "relu"
    assert hash_model(model) != known
    assert hash_model(small.marian(seed=1)) != known
    assert hash_model(small.marian().to(torch.bfloat16)) != known


def test_the_training_mode_comes_back(small):
    model = small.marian().train()
    model.model.encoder.eval()
    evaluator = small({"dev": small.Rows(SOURCES, TARGETS)})
    first = evaluator.value(model, "dev", "loss")
    assert model.training
    assert not model.model.encoder.training
    assert small({"dev": small.Rows(SOURCES, TARGETS)}).value(small.marian().eval(), "dev", "loss") == first


def test_an_empty_set(small):
    evaluator = small({"dev": small.Rows([], [])})
    model = small.marian()
    assert evaluator.hypotheses(model, "dev") == ([], [], ())
    assert evaluator.statistics(model, "dev", "loss").shape == (0, 2)
    assert evaluator.statistics(model, "dev", "bleu").shape == (0, 10)
    assert evaluator.value(model, "dev", "bleu") == 0


def test_an_unknown_set(small):
    with pytest.raises(ConsommeError, match="did you mean 'general'"):
        small({"general": small.Rows(SOURCES, TARGETS)}).value(small.marian(), "genral", "loss")


def test_the_processor_key_is_of_content(tmp_path):
    def folder(name, tokenizer, **more):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer_config.json").write_text(tokenizer)
        (tmp_path / name / "source.spm").write_bytes(b"pieces")
        for file, text in more.items():
            (tmp_path / name / f"{file}.json").write_text(text)
        return processor_key(tmp_path / name)

    first = folder("a", json.dumps({"x": 1, "y": 2}), config='{"a": 1}')
    assert folder("b", json.dumps({"y": 2, "x": 1, "name_or_path": "b"}), config="{}", provenance="{}") == first
    assert folder("c", json.dumps({"x": 1, "y": 3})) != first
    assert folder("d", json.dumps({"x": 1, "y": 2}), vocab="{}") != first


def test_only_rows_of_one_length_are_batched_where_padding_is_heard(small):
    record = small.family("seq2seq")
    object.__setattr__(record, "padding_matters", lambda config: True)
    sources = ["1 2", "3 4 5", "6 7", "8 9", "5 4 3 2"]
    evaluator = small({"dev": small.Rows(sources, sources)}, record=record, batch_size=2)
    said = evaluator.hypotheses(small.marian(), "dev").texts
    assert record.calls == [1, 1, 2, 1]  # the longest first
    assert [hypothesis.partition(" ")[2] for hypothesis in said] == [f"{source} 0" for source in sources]


LONG = " ".join(["2"] * 20)  # more than the family has positions for


def test_a_row_that_the_model_can_not_take_is_an_empty_hypothesis_and_the_others_are_as_without_it(small, capsys):
    model = small.marian()
    alone = small({"dev": small.Rows(SOURCES, TARGETS)})
    rows = small.Rows([*SOURCES[:2], LONG, *SOURCES[2:]], [*TARGETS[:2], "4 5", *TARGETS[2:]], fingerprint="with")
    evaluator = small({"dev": rows})
    others = [0, 1, 3, 4, 5]
    said, loss = evaluator.hypotheses(model, "dev").texts, evaluator.statistics(model, "dev", "loss")
    assert [said[i] for i in others] == alone.hypotheses(model, "dev").texts
    np.testing.assert_allclose(loss[others], alone.statistics(model, "dev", "loss"), rtol=1e-5)
    assert said[2] == "" and loss[2].tolist() == [0, 0]
    length = evaluator.statistics(model, "dev", "bleu")[2, :2]
    assert length.tolist() == [0, 2]  # nothing said of two words: it counts against the model
    assert evaluator.inputs("dev").unheard(model) == {2: "source too long"}
    log = capsys.readouterr().err
    assert log.count("1 row (row2): source too long") == 1  # said once


def test_a_target_longer_than_the_decoder_has_no_part_in_the_loss_and_is_scored(small, capsys):
    rows = small.Rows(SOURCES, [*TARGETS[:4], LONG])
    evaluator, model = small({"dev": rows}), small.marian()
    loss = evaluator.statistics(model, "dev", "loss")
    assert loss[4].tolist() == [0, 0] and (loss[:4, 1] > 0).all()
    assert evaluator.inputs("dev").unmeasured(model) == {4: "labels too long"}
    assert evaluator.hypotheses(model, "dev").texts[4] != "" and evaluator.inputs("dev").unheard(model) == {}
    assert "not counted in the loss: 1 row (row4): labels too long" in capsys.readouterr().err
    assert evaluator.inputs("dev").usable() == [0, 1, 2, 3]


def test_no_model_wins_with_a_set_of_which_it_can_take_nothing(small):
    evaluator = small({"dev": small.Rows([LONG], ["1"])})
    with pytest.raises(ConsommeError, match="none of its 1 rows has a loss"):
        evaluator.value(small.marian(), "dev", "loss")
    with pytest.raises(ConsommeError, match="dev: the model can use none of its rows"):
        evaluator.inputs("dev").usable()
    assert evaluator.hypotheses(small.marian(), "dev").texts == [""]


def test_an_error_of_the_model_names_the_rows(small):
    evaluator, model = small({"dev": small.Rows(["8", "99"], ["1", "2"])}), small.marian()
    with pytest.raises(IndexError) as caught:  # 99 is no token of this model
        evaluator.statistics(model, "dev", "loss")
    assert caught.value.__notes__ == ["This was in 'dev', rows row0, row1."]


@pytest.mark.parametrize(
    ("targets", "decoding", "most"),
    [
        (TARGETS, {}, 26),  # six words and the end: half as many again, and 16 more
        (TARGETS, {"max_new_tokens": None}, 26),
        (TARGETS, {"max_new_tokens": 5}, 5),
        ([*TARGETS[:4], LONG], {}, None),  # as many as the model has positions for
        ([""] * 5, {}, None),  # no references
    ],
)
def test_hypotheses_may_be_as_long_as_the_longest_reference_asks_for(small, targets, decoding, most):
    record = small.family("seq2seq")
    small({"dev": small.Rows(SOURCES, targets)}, record=record, decoding=decoding).hypotheses(small.marian(), "dev")
    assert [given.get("max_new_tokens") for given in record.decodings] == [most]


def test_hypotheses_that_were_cut_are_known_from_the_cache_too(small, capsys):
    from consomme.families.base import Hypothesis

    record = small.family("seq2seq")
    cut = lambda *given: [Hypothesis("1", i == 1) for i in range(5)]  # noqa: E731
    object.__setattr__(record, "decode", cut)
    rows = {"dev": small.Rows(SOURCES, TARGETS)}
    (row,) = small(rows, record=record).hypotheses(small.marian(), "dev").cut
    said = Said(["1"] * 5, [row])
    assert "dev: 1 of 5 (20 %) of the hypotheses were cut" in capsys.readouterr().err
    object.__setattr__(record, "decode", None)
    assert small(rows, record=record).hypotheses(small.marian(), "dev") == said


# -- several languages -------------------------------------------------------------------------------------------------
def test_each_row_is_decoded_in_its_own_language_and_a_batch_is_in_one(small):
    record, spoken = small.family("seq2seq"), [("en", "fr"), ("fr", "en"), ("en", "fr"), ("de", "en")]
    asked = []

    def generate(model, processor, batch, languages, decoding):
        asked.append((languages, len(batch["input_ids"])))
        return [" ".join(languages)] * len(batch["input_ids"])

    object.__setattr__(record, "generate", generate)
    rows = small.Rows(["5 6", "7", "8 9 10", "3"], ["1"] * 4, languages=spoken)
    said = small({"dev": rows}, record=record).hypotheses(small.marian(), "dev")
    assert said.texts == ["en fr", "fr en", "en fr", "de en"]
    assert sorted(asked) == [(("de", "en"), 1), (("en", "fr"), 2), (("fr", "en"), 1)]


def test_results_of_the_same_rows_in_other_languages_are_kept_apart(small):
    rows = lambda languages: small.Rows(["5 6", "7"], ["1", "2"], languages=languages)  # noqa: E731
    model, record = small.marian(), small.family("seq2seq")
    for languages in (None, [("en", "fr")] * 2, [("en", "fr"), ("fr", "en")], [("fr", "en"), ("en", "fr")]):
        small({"dev": rows(languages)}, record=record).hypotheses(model, "dev")
    assert len(record.calls) == 1 + 0 + 2 + 2  # the second is what the default says


def test_labels_are_those_of_the_rows_language(small):
    record = small.family("seq2seq")
    plain = type(record).labels
    object.__setattr__(
        record,
        "labels",
        lambda p, text, languages: [{"fr": 4, "en": 5}[languages[1]], *plain(record, p, text, languages)],
    )
    rows = lambda spoken: small.Rows(["5 6", "7"], ["1", "2"], languages=spoken)  # noqa: E731
    model = small.marian()
    value = lambda spoken: small({"dev": rows(spoken)}, record=record).statistics(model, "dev", "loss")  # noqa: E731
    french, english = value([("en", "fr")] * 2), value([("fr", "en")] * 2)
    mixed = value([("en", "fr"), ("fr", "en")])
    assert np.allclose(mixed[0], french[0]) and np.allclose(mixed[1], english[1]) and not np.allclose(french, english)


def test_a_row_in_a_language_that_the_model_can_not_be_told_is_an_empty_hypothesis(small, capsys):
    record, spoken = small.family("seq2seq"), [("en", "fr"), ("en", "xx"), ("en", "fr")]
    plain = type(record).labels

    def labels(processor, text, languages):
        if languages[1] == "xx":
            raise Unusable("languages: 'xx' is unknown", "allowed: en, fr")
        return plain(record, processor, text, languages)

    object.__setattr__(record, "labels", labels)
    sources, targets, model = ["5 6", "7", "8"], ["1", "2", "3"], small.marian()
    evaluator = small({"dev": small.Rows(sources, targets, languages=spoken)}, record=record)
    said, loss = evaluator.hypotheses(model, "dev").texts, evaluator.statistics(model, "dev", "loss")
    assert said[1] == "" and all(said[i] for i in (0, 2)) and loss[:, 1].tolist() == [2, 0, 2]
    assert "1 row (row1): languages: 'xx' is unknown" in capsys.readouterr().err
    alone = small({"dev": small.Rows(sources[1:2], ["2"], languages=spoken[1:2])}, record=record)
    with pytest.raises(ConsommeError, match="'xx' is unknown: allowed: en, fr"):  # a set of nothing else
        alone.hypotheses(model, "dev")
