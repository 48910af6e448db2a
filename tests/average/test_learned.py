"""Methods that learn from development data: mixing weights by gradient, Fisher's information, RegMean's inputs."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from consomme.average.stage import run
from consomme.common.job import parse
from consomme.families import family_named, load

from .conftest import PAIRS  # isort: skip


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """The base after some steps on the development rows."""
    import torch

    family, model = family_named("marian"), load(base).train()
    processor = family.processor(base)
    sources, targets = zip(*PAIRS, strict=True)
    labels = [family.labels(processor, t, ["en", "fr"]) for t in targets]
    batch = family.collate(processor, [family.features(processor, s) for s in sources], labels)
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        model(**batch).loss.backward()
        optimiser.step()
    folder = tmp_path_factory.mktemp("trained") / "fit"
    shutil.copytree(base, folder)
    model.save_pretrained(folder)
    return folder


def test_learned_weights_go_to_the_model_that_fits_the_data(job, parents, tmp_path, trained):
    """One ingredient was trained on the development rows themselves, the others are noise: it gets the weight."""
    found = {**parents(a=0.0, b=0.0), "fit": trained}
    settings = {"steps": 40, "learning_rate": 0.2}
    for groups in ("model", "layer"):
        run(parse(job("learned", found, name=groups, groups=groups, **settings), ""))
        chosen = json.loads((tmp_path / groups / "provenance.json").read_text())["chosen"]
        assert chosen["taken"] == "learned" and chosen["scores"]["learned"] < chosen["scores"]["uniform"]
        for weights in chosen["weights"].values():
            assert sum(weights.values()) == pytest.approx(1)
    assert set(chosen["weights"]) == {"encoder.1", "decoder.1", "rest"}
    assert chosen["weights"]["rest"]["fit"] > 0.8


def test_where_learned_takes_the_plain_mean_its_weights_are_those(job, parents, tmp_path):
    run(parse(job("learned", parents(a=0.0, b=0.0), steps=1, learning_rate=1e-12), ""))  # nothing is gained
    chosen = json.loads((tmp_path / "made" / "provenance.json").read_text())["chosen"]
    assert chosen["taken"] == "uniform" and chosen["weights"] == {"model": {"a": 0.5, "b": 0.5}}


def test_what_learned_writes_is_the_mix_that_it_reports(job, parents, tmp_path, trained):
    found = {**parents(a=0.0), "fit": trained}
    run(parse(job("learned", found, groups="layer", steps=5), ""))
    chosen = json.loads((tmp_path / "made" / "provenance.json").read_text())["chosen"]
    one, two, made = (load_file(p / "model.safetensors") for p in (*found.values(), tmp_path / "made"))
    for tensor, value in made.items():
        group = {"model.encoder.layers": "encoder.1", "model.decoder.layers": "decoder.1"}.get(tensor[:20], "rest")
        first, second = chosen["weights"][group].values()
        np.testing.assert_allclose(value, first * one[tensor] + second * two[tensor], rtol=1e-6, atol=1e-7)


def test_the_slope_of_a_mixing_weight_is_that_of_the_loss(job, parents, tmp_path, trained):
    """Central differences in the mixing weights, against the inner products with the gradient that `learned` uses."""
    import torch

    from consomme.evaluate import gradients
    from consomme.evaluate.judge import Judge
    from consomme.weights.candidates import Candidates

    found = {**parents(a=0.0), "fit": trained}
    judge = Judge(parse(job("learned", found), ""), found)
    places = [("d", i) for i in range(len(PAIRS))]
    with Candidates(found, "cpu") as candidates:

        def loss(weights):
            return gradients.loss(judge, candidates.mixed(lambda tensor: weights), places)

        at = [0.6, 0.4]
        value = loss(at)
        value.backward()
        own = gradients.gradients(candidates.vessel)
        slopes = sum(candidates.alignment(t, g.numpy().ravel()) for t, g in own.items() if t in candidates.layout)
        with torch.no_grad():
            for i in range(2):
                step = np.eye(2)[i] * 1e-3
                numeric = (loss(list(at + step)) - loss(list(at - step))).item() / 2e-3
                assert slopes[i] == pytest.approx(numeric, rel=0.02)


def test_fisher_is_the_mean_square_of_single_gradients(job, parents, tmp_path, trained):
    """Against gradients taken here, row by row, with the stock model's own loss; then against the weighted mean."""
    import torch

    found = {**parents(a=0.0), "fit": trained}
    run(parse(job("fisher", found, examples=len(PAIRS)), ""))
    made = load_file(tmp_path / "made" / "model.safetensors")
    family, weights, information = family_named("marian"), [], []
    for path in found.values():
        model, processor = load(path).double(), family.processor(path)
        total = {}
        for source, target in PAIRS:
            labels = [family.labels(processor, target, ["en", "fr"])]
            batch = family.collate(processor, [family.features(processor, source)], labels)
            model.zero_grad()
            (model(**batch).loss * len(labels[0])).backward()
            for name, parameter in model.named_parameters():
                if parameter.grad is None:  # positions are not trained
                    continue
                total[name] = total.get(name, 0) + parameter.grad.square() / len(PAIRS)
        information.append(total)
        weights.append({name: p.detach() for name, p in model.named_parameters()})
    for name, value in made.items():
        if name not in information[0]:
            continue
        f, w = (torch.stack([one[name] for one in many]) for many in (information, weights))
        among = f.sum(0)
        expected = torch.where(among > 1e-12, (f * w).sum(0) / among.clamp_min(1e-30), torch.nan)
        known = ~torch.isnan(expected)
        got = torch.from_numpy(value)[known].double()
        torch.testing.assert_close(got, expected[known], rtol=1e-3, atol=1e-5)
        assert known.any() or name.endswith("k_proj.bias")  # a key's bias changes no attention


def test_regmean_is_the_closed_form_on_the_inputs_of_each_layer(job, parents, tmp_path, trained):
    """Inputs gathered from the stock models here; the normal equations solved in float64, layer by layer."""
    import torch

    found = {**parents(a=0.0), "fit": trained}
    run(parse(job("regmean", found, examples=len(PAIRS)), ""))
    made = load_file(tmp_path / "made" / "model.safetensors")
    family, inputs, weights = family_named("marian"), [], []
    for path in found.values():
        model, processor, seen = load(path), family.processor(path), {}
        linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"}
        for name, module in linear.items():
            module.register_forward_hook(
                lambda m, x, y, n=name, s=seen: s.setdefault(n, []).append(x[0].flatten(0, -2))
            )
        for source, target in PAIRS:
            labels = [family.labels(processor, target, ["en", "fr"])]
            with torch.no_grad():
                model(**family.collate(processor, [family.features(processor, source)], labels))
        inputs.append({name: torch.cat(rows).double() for name, rows in seen.items()})
        weights.append({name: module.weight.detach().double() for name, module in linear.items()})
    for name in weights[0]:
        left, right = 0, 0
        for x, w in zip(inputs, weights, strict=True):
            gram = x[name].T @ x[name] / len(x[name])
            gram = 0.9 * gram + 0.1 * torch.diag(torch.diag(gram))
            left, right = left + gram, right + gram @ w[name].T
        expected = torch.linalg.solve(left, right).T
        got = torch.from_numpy(made[f"{name}.weight"]).double()
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
    plain = [load_file(p / "model.safetensors")["model.shared.weight"].astype(np.float64) for p in found.values()]
    np.testing.assert_array_equal(made["model.shared.weight"], (sum(plain) / 2).astype(np.float32))


def test_regmean_of_equal_models_is_that_model(job, parents, tmp_path, base):
    found = parents(a=0.5)
    shutil.copytree(found["a"], tmp_path / "twin")
    run(parse(job("regmean", {**found, "b": tmp_path / "twin"}, examples=2), ""))
    one, made = (load_file(p / "model.safetensors") for p in (found["a"], tmp_path / "made"))
    for name, value in made.items():
        np.testing.assert_allclose(value, one[name], rtol=1e-5, atol=1e-6)
