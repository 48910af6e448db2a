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


def test_what_is_refused(tmp_path):
    with pytest.raises(ConsommeError, match=r"did you mean 'cosine'"):
        arguments(tmp_path, lr_scheduler_type="cosin")
    with pytest.raises(ConsommeError, match="constant_with_warmup"):
        arguments(tmp_path, lr_scheduler_type="constant", warmup_steps=5)
    with pytest.raises(ConsommeError, match="allowed"):
        arguments(tmp_path, lr_scheduler_type="reduce_lr_on_plateau")
