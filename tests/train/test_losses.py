import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.families import family_named, family_of, load
from consomme.train import distil, losses


def test_cross_entropy_is_that_of_the_label_smoother_of_transformers():
    from transformers.trainer_pt_utils import LabelSmoother

    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 7), torch.randint(0, 7, (3, 5))
    labels[1, 3:] = labels[2, 1:] = -100
    for smoothing in (0.0, 0.1):
        theirs = LabelSmoother(epsilon=smoothing)({"logits": logits}, labels.clone())
        ours = losses.seq2seq(logits, labels, smoothing, (labels != -100).sum())
        assert torch.allclose(ours, theirs)


def test_accumulated_batches_weigh_each_label_alike():
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 5, 7), torch.randint(0, 7, (4, 5))
    labels[0, 1:] = -100
    items = (labels != -100).sum()
    parts = sum(losses.seq2seq(logits[i : i + 2], labels[i : i + 2], 0.1, items) for i in (0, 2))
    assert torch.allclose(parts, losses.seq2seq(logits, labels, 0.1, items))


def test_ctc_is_the_model_own_loss(recogniser):
    model = load(recogniser)  # its config asks for the mean and for zero infinity
    torch.manual_seed(0)
    width = model.config.feature_projection_input_dim
    batch = {"input_features": torch.randn(2, 12, width), "attention_mask": torch.ones(2, 12, dtype=torch.int64)}
    batch["attention_mask"][1, 9:] = 0
    labels = torch.tensor([[3, 4, 5], [6, -100, -100]])
    own = model(**batch, labels=labels)
    assert torch.allclose(losses.ctc(own.logits, labels, torch.tensor([12, 9]), 0, 2), own.loss)


def test_ctc_of_a_step_is_the_same_in_one_batch_or_in_several():
    torch.manual_seed(0)
    logits, frames = torch.randn(4, 12, 7), torch.tensor([12, 9, 10, 3])
    labels = torch.tensor([[3, 4, 5], [6, -100, -100], [1, 2, -100], [1, 1, 2]])  # the last doesn't fit into its frames
    whole = losses.ctc(logits, labels, frames, 0, 4)
    parts = sum(losses.ctc(logits[i], labels[i], frames[i], 0, 4) for i in (slice(0, 3), slice(3, 4)))
    assert torch.allclose(parts, whole) and whole > 0


def test_each_utterance_counts_as_one_whatever_its_frames():
    weights = losses.frame_weights(torch.tensor([4, 2]), 5)
    assert torch.allclose(weights.sum(1), torch.ones(2)) and (weights[1, 2:] == 0).all()


def test_decoder_inputs_are_those_of_the_model_own_loss(translator):
    model = load(translator)
    labels = torch.tensor([[5, 6, 0], [7, 0, -100]])
    given = family_of(translator).decoder_inputs(model, labels)
    pad = model.config.pad_token_id
    assert given.tolist() == [[pad, 5, 6], [pad, 7, 0]] and labels[1, 2] == -100


def test_a_student_that_is_its_teacher_learns_nothing_from_it(translator):
    teacher, student = load(translator), load(translator)
    ids = torch.tensor([[4, 5, 6, 0]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": ids}
    logits, weights = student(**inputs).logits, torch.ones(1, 4)
    mixed = distil.Teacher(teacher, family_named("marian"), {"weight": 1.0, "temperature": 3.0}).mixed(
        torch.tensor(5.0), logits, inputs, weights, weights.sum()
    )
    mixed.backward()
    assert mixed.item() == pytest.approx(0, abs=1e-5)
    assert max(p.grad.abs().max() for p in student.parameters() if p.grad is not None) < 1e-5
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_divergence_by_hand():
    student, teacher = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 0.0], [9.0, 0.0]]])
    p = torch.softmax(torch.tensor([0.5, 0.0]), -1)  # at temperature 2
    expected = 4 * (p * (p / 0.5).log()).sum()
    assert torch.allclose(distil.divergence(student, teacher, torch.tensor([[1.0, 0.0]]), 2.0), expected)


def test_a_teacher_with_another_vocabulary_or_family_is_refused(recogniser, translator, tmp_path):
    ctc, marian = family_named("ctc"), family_named("marian")
    ctc.create(tmp_path / "other", {"hidden_size": 16, "num_hidden_layers": 1}, {}, lambda: iter(["xyz"]), ["en"], 0)
    with pytest.raises(ConsommeError, match="vocabulary"):
        distil.check(ctc, ctc.processor(recogniser), ctc, tmp_path / "other")
    with pytest.raises(ConsommeError, match="can't teach"):
        distil.check(ctc, ctc.processor(recogniser), marian, translator)
