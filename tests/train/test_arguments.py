import pytest

from consomme.common.errors import ConsommeError
from consomme.train.arguments import checkpoint_steps, steps, training_arguments

SETTINGS = {
    "max_steps": None,
    "num_train_epochs": None,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0,
    "warmup_ratio": 0.0,
    "weight_decay": 0.01,
    "adam_beta1": 0.9,
    "adam_beta2": 0.98,
    "max_grad_norm": 1.0,
}


def arguments(folder, **given):
    return training_arguments({**SETTINGS, **given}, total=200, seed=7, folder=folder, device="cpu")


def test_length_of_a_training():
    assert steps({**SETTINGS, "max_steps": 7, "num_train_epochs": 3}, 10) == 7  # as in transformers
    assert steps({**SETTINGS, "num_train_epochs": 1.5}, 11) == 9  # 6 steps an epoch, the last of one batch
    with pytest.raises(ConsommeError, match="max_steps or num_train_epochs"):
        steps(SETTINGS, 10)
    assert (checkpoint_steps(100), checkpoint_steps(4000)) == (50, 400)


def test_settings_reach_the_trainer(tmp_path):
    found = arguments(tmp_path, warmup_ratio=0.1)
    assert (found.max_steps, found.seed, found.adam_beta2, found.weight_decay) == (200, 7, 0.98, 0.01)
    assert found.get_warmup_steps(200) == 20 and found.optim == "adamw_torch_fused" and found.report_to == []
    assert arguments(tmp_path, warmup_steps=3, warmup_ratio=0.1).get_warmup_steps(200) == 3


def test_every_allowed_schedule_works(tmp_path):
    import torch
    from transformers import get_scheduler
    from transformers.trainer_utils import SchedulerType

    for schedule in SchedulerType:
        if schedule.value in ("reduce_lr_on_plateau", "greedy"):
            continue
        found = arguments(tmp_path, lr_scheduler_type=schedule.value)
        optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1e-3)
        get_scheduler(found.lr_scheduler_type, optimizer, 10, 200, scheduler_specific_kwargs=found.lr_scheduler_kwargs)


def test_a_schedule_takes_its_own_settings(tmp_path):
    import torch
    from transformers import get_scheduler

    def rates(schedule, **more):
        found = arguments(tmp_path, lr_scheduler_type=schedule, lr_scheduler_kwargs=more)
        adam = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
        made = get_scheduler(
            found.lr_scheduler_type, adam, 10, 200, scheduler_specific_kwargs=found.lr_scheduler_kwargs
        )
        values = []
        for _ in range(200):
            adam.step()
            made.step()
            values.append(made.get_last_lr()[0])
        return values

    assert rates("cosine_with_min_lr", min_lr_rate=0.25)[-1] == pytest.approx(0.25)
    stable = rates("warmup_stable_decay", num_decay_steps=50.0)
    assert stable[10] == stable[148] == 1 and stable[-1] == pytest.approx(0, abs=1e-6)


def loss_of(folder, tones):
    """The loss of a recogniser on all the tones, and the model with its gradients."""
    from consomme.data.prepared import Rows
    from consomme.families import family_named, load
    from consomme.train import losses

    family, model, rows = family_named("ctc"), load(folder), Rows.open([tones])
    processor = family.processor(folder)
    features = [family.features(processor, rows.source(i)) for i in range(len(rows))]
    batch = family.collate(processor, features, [family.labels(processor, t, ["en"]) for t in rows.targets])
    labels = batch.pop("labels")
    loss = losses.ctc(model(**batch).logits, labels, family.frames(model, batch), 0, len(labels))
    loss.backward()
    return loss.item(), model


def test_one_step_of_sgd_is_the_rate_times_the_gradient(tmp_path, recogniser, tones, job):
    """Against the gradient taken here, of the same batch: all utterances, no warm-up, no clipping, no momentum."""
    import torch

    from consomme.families import load
    from consomme.train.stage import run

    rate = 0.05
    made = job(
        *(tmp_path, recogniser, {"tones": tones}),
        optim="sgd",
        momentum=0.0,
        learning_rate=rate,
        max_grad_norm=0.0,
        dropout=0.0,
        max_steps=1,
        per_device_train_batch_size=48,
    )
    run(made)
    after = dict(load(made.out).named_parameters())
    for name, before in loss_of(recogniser, tones)[1].named_parameters():
        if before.grad is not None:
            torch.testing.assert_close(after[name], before - rate * before.grad, rtol=1e-3, atol=1e-6)


def test_what_is_refused(tmp_path):
    with pytest.raises(ConsommeError, match=r"did you mean 'cosine'"):
        arguments(tmp_path, lr_scheduler_type="cosin")
    with pytest.raises(ConsommeError, match="constant_with_warmup"):
        arguments(tmp_path, lr_scheduler_type="constant", warmup_steps=5)
    with pytest.raises(ConsommeError, match="allowed"):
        arguments(tmp_path, lr_scheduler_type="reduce_lr_on_plateau")


def test_a_schedule_has_to_fit_into_the_run(tmp_path):
    assert arguments(tmp_path, lr_scheduler_type="warmup_stable_decay").lr_scheduler_kwargs == {"num_decay_steps": 20}
    found = arguments(tmp_path, lr_scheduler_type="warmup_stable_decay", lr_scheduler_kwargs={"min_lr_ratio": 0.1})
    assert found.lr_scheduler_kwargs == {"num_decay_steps": 20, "min_lr_ratio": 0.1}
    with pytest.raises(ConsommeError, match=r"warmup_steps \(201\) is longer than the run, which has 200"):
        arguments(tmp_path, warmup_steps=201)
    with pytest.raises(ConsommeError, match="are 250 together, and the run has 200"):
        more = {"num_decay_steps": 150}
        arguments(tmp_path, lr_scheduler_type="warmup_stable_decay", warmup_steps=100, lr_scheduler_kwargs=more)
