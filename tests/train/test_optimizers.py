"""Rates and weight decay by parameter, and what each optimizer does with them."""

import json

import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.families import family_named, load
from consomme.train import adapters, optimizers
from consomme.train.stage import run

SETTINGS = {
    "optim": "adamw_torch_fused",
    "learning_rate": 1.0,
    "weight_decay": 0.1,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
}

FIRST = "wav2vec2_bert.encoder.layers.0.ffn1.intermediate_dense.weight"
SECOND = FIRST.replace("layers.0", "layers.1")


@pytest.fixture
def model(recogniser):
    return load(recogniser)


def rates(model, family="ctc", **given):
    """Name -> (learning rate, weight decay) of each parameter that is trained."""
    settings = SETTINGS | given
    decayed = [n for n, p in model.named_parameters() if p.ndim > 1]
    found = optimizers.groups(model, family_named(family), settings, decayed)
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in found for p in g["params"]}


def test_every_parameter_is_in_one_group_and_only_matrices_decay(model):
    found = rates(model)
    assert set(found) == {n for n, _ in model.named_parameters()}
    assert found[FIRST] == (1.0, 0.1) and found[FIRST.replace("weight", "bias")] == (1.0, 0.0)


def test_settings_reach_the_optimizer(model):
    family = family_named("ctc")
    adamw = optimizers.build(model, family, SETTINGS | {"adam_beta1": 0.8, "adam_beta2": 0.95}, [])
    assert adamw.defaults["betas"] == (0.8, 0.95) and adamw.defaults["fused"] and adamw.defaults["lr"] == 1.0
    sgd = optimizers.build(model, family, SETTINGS | {"optim": "sgd", "momentum": 0.5}, [])
    assert sgd.defaults["momentum"] == 0.5
    assert optimizers.build(model, family, SETTINGS | {"optim": "sgd"}, []).defaults["momentum"] == 0.9


def test_parts_have_rates_of_their_own_and_the_first_that_fits_counts(model):
    found = rates(model, learning_rates={"*.layers.1.*": 0.5, "encoder": 0.25, "head": 2.0})
    assert (found[SECOND][0], found[FIRST][0], found["lm_head.weight"][0]) == (0.5, 0.25, 2.0)
    assert found["wav2vec2_bert.feature_projection.projection.weight"][0] == 1.0


def test_rates_fall_from_layer_to_layer_downwards(model, translator):
    found = rates(model, layerwise_lr_decay=0.5)
    assert (found["lm_head.weight"][0], found[SECOND][0], found[FIRST][0]) == (1.0, 1.0, 0.5)
    assert found["wav2vec2_bert.feature_projection.projection.weight"][0] == 0.25
    found = rates(load(translator), "marian", layerwise_lr_decay=0.5)
    top, low = (f"model.encoder.layers.{n}.fc1.weight" for n in (1, 0))
    assert (found[top][0], found[low][0], found["model.decoder.layers.0.fc1.weight"][0]) == (1.0, 0.5, 1.0)
    assert found["model.shared.weight"][0] == 0.25


def test_what_is_frozen_has_no_group_and_nothing_else_is(model):
    family = family_named("ctc")
    optimizers.freeze(model, family, ["wav2vec2_bert.feature_projection.*", "*.layers.0.*"])
    found = rates(model)
    assert FIRST not in found and SECOND in found and "lm_head.weight" in found
    with pytest.raises(ConsommeError, match="nothing is left"):
        optimizers.freeze(model, family, ["*"])
    with pytest.raises(ConsommeError, match=r"no tensor has a name like 'encodr'"):
        optimizers.freeze(model, family, ["encodr"])
    with pytest.raises(ConsommeError, match="has no decoder"):
        optimizers.freeze(model, family, ["decoder"])


def test_a_tied_head_can_not_have_a_rate_of_its_own(translator):
    with pytest.raises(ConsommeError, match="tied to the embeddings"):
        rates(load(translator), "marian", learning_rates={"head": 1.0})


def test_a_frozen_part_ends_as_it_began(tmp_path, recogniser, tones, job):
    made = job(tmp_path, recogniser, {"tones": tones}, freeze=["*.layers.0.*"], max_steps=5)
    run(made)
    before, after = (dict(load(p).named_parameters()) for p in (recogniser, made.out))
    assert torch.equal(before[FIRST], after[FIRST]) and not torch.equal(before[SECOND], after[SECOND])


def quadratic(optim, steps=200, **given):
    """How far from its minimum an optimizer ends on a bowl over a matrix, a table and a vector."""
    torch.manual_seed(0)
    shapes = {"matrix": (6, 8), "table": (400, 4), "vector": (5,)}
    holder = torch.nn.ParameterDict({n: torch.nn.Parameter(torch.randn(s)) for n, s in shapes.items()})
    settings = SETTINGS | {"learning_rate": 0.05, "optim": optim} | given
    rest = {"lr": settings["learning_rate"], "weight_decay": 0.0}
    optimizer = optimizers.TABLE[optim].make(
        [
            {"params": [holder["matrix"]], "table": False, **rest},
            {"params": [holder["table"], holder["vector"]], "table": True, **rest},
        ],
        settings,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(p.square().sum() for p in holder.parameters()).backward()
        optimizer.step()
        schedule.step()
    return {n: float(p.detach().abs().mean()) for n, p in holder.items()}, optimizer


@pytest.mark.parametrize("optim", optimizers.TABLE)
def test_each_optimizer_goes_down_on_every_kind_of_tensor(optim):
    if extra := optimizers.TABLE[optim].extra:
        pytest.importorskip(extra)
    found, _ = quadratic(optim)
    assert all(value < 0.25 for value in found.values()), found  # from 0.8


def test_eight_bits_hold_the_state_of_large_matrices_and_tables_keep_theirs():
    """Blocks of 256 share a scale, and matrices of fewer than 4096 numbers stay in 32 bits."""
    pytest.importorskip("bitsandbytes")
    matrix, table = torch.nn.Parameter(torch.ones(64, 128)), torch.nn.Parameter(torch.ones(64, 128))
    rest = {"lr": 1.0, "weight_decay": 0.0}
    groups = [{"params": [matrix], "table": False, **rest}, {"params": [table], "table": True, **rest}]
    made = optimizers.TABLE["adamw_8bit"].make(groups, SETTINGS)
    (matrix.square().sum() + table.square().sum()).backward()
    made.step()
    small, plain = (o.state[p] for o, p in zip(made.optimizers, (matrix, table), strict=True))
    assert small["state1"].dtype == small["state2"].dtype == torch.uint8 and plain["exp_avg"].dtype == torch.float32
    assert table.abs().max() < 1e-6 and matrix.abs().max() < 0.02  # a step of 1 for both


def test_muon_takes_matrices_and_leaves_embeddings_heads_and_vectors_to_adamw(model, translator):
    settings = SETTINGS | {"optim": "muon"}
    for trained, family, matrix, table in (
        (model, "ctc", FIRST, "lm_head.weight"),
        (load(translator), "marian", "model.encoder.layers.0.fc1.weight", "model.shared.weight"),
    ):
        muon, adamw = optimizers.build(trained, family_named(family), settings, []).optimizers
        names = {id(p): n for n, p in trained.named_parameters()}
        matrices, rest = ({names[id(p)] for g in o.param_groups for p in g["params"]} for o in (muon, adamw))
        assert matrix in matrices and {table, matrix.replace("weight", "bias")} <= rest
        assert not matrices & rest and matrices | rest == set(names.values())


def test_two_optimizers_in_one_share_their_rates_and_come_back_from_a_state():
    _, one = quadratic("muon", steps=3)
    one.param_groups[0]["lr"] = 0.125
    assert one.optimizers[0].param_groups[0]["lr"] == 0.125
    _, other = quadratic("muon", steps=1)
    other.load_state_dict(one.state_dict())
    assert [g["lr"] for g in other.param_groups] == [g["lr"] for g in one.param_groups]
    assert other.optimizers[0].param_groups[0] is other.param_groups[0]


@pytest.mark.parametrize(
    ("optim", "rate"), [("adafactor", 0.02), ("sgd", 0.05), ("lion", 2e-3), ("muon", 1e-2), ("adamw_8bit", 3e-3)]
)
def test_other_optimizers_learn_and_resume(tmp_path, recogniser, tones, job, optim, rate, monkeypatch, killed_at):
    if extra := optimizers.TABLE[optim].extra:
        pytest.importorskip(extra)
    monkeypatch.setattr("consomme.train.progress.SECONDS", 0.0)
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 10)
    options = {"optim": optim, "learning_rate": rate, "max_steps": 40, "lr_scheduler_type": "cosine"}
    whole, made = (job(tmp_path / name, recogniser, {"tones": tones}, **options) for name in ("whole", "killed"))
    run(whole)
    killed_at(23, made, monkeypatch)
    run(made)
    assert (whole.out / "model.safetensors").read_bytes() == (made.out / "model.safetensors").read_bytes()
    lines = [json.loads(line) for line in (made.out / "progress.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.95 * lines[0]["loss"]


def test_what_is_refused(model):
    family = family_named("ctc")
    with pytest.raises(ConsommeError, match=r"did you mean 'adafactor'"):
        optimizers.build(model, family, SETTINGS | {"optim": "adafaktor"}, [])


def test_without_its_package_an_optimizer_names_the_extra(model, monkeypatch):
    monkeypatch.setattr("consomme.common.extras.installed", lambda extra: False)
    with pytest.raises(ConsommeError, match=r"optim: adamw_8bit needs the package bitsandbytes.*\.\[bitsandbytes\]"):
        optimizers.build(model, family_named("ctc"), SETTINGS | {"optim": "adamw_8bit"}, [])


# -- adapters ----------------------------------------------------------------------------------------------------------
LORA = {"r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": None}


def test_adapters_sit_on_queries_and_values_and_change_nothing_at_first(model):
    inputs = {"input_features": torch.randn(1, 12, model.config.feature_projection_input_dim)}
    before = model(**inputs).logits
    adapters.attach(model, family_named("ctc"), LORA)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in n for n in trained)
    assert {n.split(".lora_")[0].rpartition(".")[2] for n in trained} == {"linear_q", "linear_v"}
    torch.testing.assert_close(model(**inputs).logits, before)
    with pytest.raises(ConsommeError, match="no linear module has a name like"):
        adapters.targets(model, family_named("ctc"), ["*.query_proj"])


def test_merged_adapters_are_a_plain_checkpoint_whose_updates_have_their_rank(tmp_path, recogniser, tones, job):
    made = job(tmp_path, recogniser, {"tones": tones}, lora=LORA, learning_rate=1e-2, max_steps=20)
    run(made)
    before, after = (dict(load(p).named_parameters()) for p in (recogniser, made.out))
    assert set(before) == set(after)
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert changed and all(n.endswith(("linear_q.weight", "linear_v.weight")) for n in changed)
    assert {int(torch.linalg.matrix_rank(after[n] - before[n], rtol=1e-3)) for n in changed} == {2}
