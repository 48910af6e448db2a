"""Methods that choose: known answers with a judge that looks at one weight, then the whole stage on development data."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from consomme.average.methods import TABLE
from consomme.average.methods.base import Mix
from consomme.average.stage import run
from consomme.common.errors import ConsommeError
from consomme.common.files import write_json
from consomme.common.job import parse
from consomme.evaluate.choice import Limit
from consomme.families import load

from .conftest import DIAL  # isort: skip


class Dial:
    """Best at a dial of 1; `lose_at_most` is broken beyond `most`."""

    device = "cpu"

    def __init__(self, most=np.inf, of="base"):
        self.most, self.seen = most, []
        self.choice = SimpleNamespace(metric="loss", limits={"g": Limit(0.5, of, "loss")} if most < np.inf else {})

    def load(self, folder):
        from consomme.families import load

        return load(folder)

    def _dial(self, model):
        return float(model.state_dict()[DIAL][0])

    def objective(self, model, folder=None, metric=None):
        if metric == "far":  # an order of its own: the largest dial first
            return self._dial(model)
        self.seen.append({n: t.numpy().copy() for n, t in model.state_dict().items()})
        return -((self._dial(model) - 1) ** 2)

    def admissible(self, model, folder=None):
        able = self._dial(model) <= self.most
        details = {"bound": 9.0, "of": "base", "lose_at_most": 0.5, "admissible": able}
        return able, {"g": details} if self.choice.limits else {}

    def score(self, objective):
        return -objective

    def text(self, objective):
        return f"loss {-objective:.4f}"

    def rows(self, model, folder=None):
        return [{"set": "d", "metric": "loss", "value": self._dial(model), "ci_low": 0.0, "ci_high": None}]


def _make(method, parents, judge, tmp_path, **settings):
    out = tmp_path / "out"
    out.mkdir()
    settings = {"choose_on": {"metric": "loss"}, **settings}
    chosen = TABLE[method].build(Mix(parents, settings, lambda: judge, "cpu"), out)
    return chosen, load_file(out / "model.safetensors")


def _same(weights, seen):
    return all(np.array_equal(value, seen[name]) for name, value in weights.items())


def test_greedy_keeps_what_strictly_helps(tmp_path, parents, capsys):
    judge = Dial()
    chosen, weights = _make("greedy", parents(c=3.0, a=0.5, twin=0.5, b=1.7), judge, tmp_path)
    # ranked a, twin (an equal), b, c; the twin changes nothing and stays out, b brings the mean to 1.1, c to 1.73
    assert chosen["tried"] == ["a", "twin", "b", "c"]
    assert chosen["ingredients"] == ["a", "b"]
    assert [(t["candidate"], t["kept"]) for t in chosen["trace"]] == [
        ("a", True),
        ("twin", False),
        ("b", True),
        ("c", False),
    ]
    assert chosen["trace"][2]["score"] == pytest.approx(0.01, abs=1e-6)
    assert weights[DIAL][0] == np.float32((0.5 + np.float64(np.float32(1.7))) / 2)
    # what was judged is what was written, to the bit
    assert sum(_same(weights, seen) for seen in judge.seen) == 1
    assert len(judge.seen) <= 2 * 4 - 1
    told = capsys.readouterr().err.splitlines()
    assert sum("alone: " in line for line in told) == 4
    lines = [line for line in told if "step" in line]
    assert len(lines) == 4 and "step 2: with twin: loss 0.2500: not kept" in lines[1]


def test_greedy_with_replacement_takes_what_helps_most_and_takes_it_again(tmp_path, parents):
    # the best mean of 0 and 1.5 at a dial of 1 is (0 + 1.5 + 1.5) / 3
    judge = Dial()
    chosen, weights = _make("greedy", parents(a=0.0, b=1.5), judge, tmp_path, replacement=True)
    assert sorted(chosen["ingredients"]) == ["a", "b", "b"] and weights[DIAL][0] == 1
    assert any(_same(weights, seen) for seen in judge.seen)  # what was tried is what is written
    steps = [t["step"] for t in chosen["trace"]]
    assert steps == [1, 2, 2, 3, 3, 4, 4] and [t["kept"] for t in chosen["trace"][-2:]] == [False, False]


def test_greedy_stops_after_so_many(tmp_path, parents):
    chosen, _ = _make("greedy", parents(a=0.9, b=0.95, c=1.2, d=1.1), Dial(), tmp_path, at_most=2)
    assert len(chosen["ingredients"]) == 2 and len(chosen["trace"]) < 4


def test_greedy_ranked_by_another_metric(tmp_path, parents):
    chosen, _ = _make("greedy", parents(a=0.9, b=2.0, c=0.2), Dial(), tmp_path, rank_by="far")
    assert chosen["tried"] == ["b", "a", "c"]


def test_greedy_under_a_limit(tmp_path, parents):
    # the best parent breaks the limit, the next starts; the mean with the best one breaks it as well
    chosen, _ = _make("greedy", parents(best=1.1, low=0.4, lower=0.2), Dial(most=0.7), tmp_path)
    assert chosen["ingredients"] == ["low"] and chosen["tried"] == ["best", "low", "lower"]


def test_greedy_without_a_start(tmp_path, parents):
    with pytest.raises(ConsommeError, match="no model to start from"):
        _make("greedy", parents(a=1.0, b=2.0), Dial(most=0.0), tmp_path)


def test_best_takes_the_first_of_equals_and_its_files(tmp_path, parents):
    found = parents(a=0.0, b=0.5, twin=0.5)
    (found["b"] / "provenance.json").write_text("{}")
    chosen, weights = _make("best_run", found, Dial(), tmp_path)
    assert chosen["ingredients"] == ["b"] and chosen["scores"] == {"a": 1.0, "b": 0.25, "twin": 0.25}
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (found["b"] / "model.safetensors").read_bytes()
    assert not (tmp_path / "out" / "provenance.json").exists() and (tmp_path / "out" / "source.spm").exists()
    assert weights[DIAL][0] == 0.5


def test_best_tells_which_runs_go_on_after_a_rung(tmp_path, parents):
    found = parents(a=0.0, b=0.5, twin=0.5, worst=3.0)
    for name, path in found.items():
        (path / "provenance.json").write_text(json.dumps({"digest": f"of-{name}"}))
    chosen, _ = _make("best_run", found, Dial(), tmp_path, keep=2)
    assert [one["digest"] for one in chosen["ranked"]] == ["of-b", "of-twin", "of-a", "of-worst"]
    assert [one["score"] for one in chosen["ranked"]] == [0.25, 0.25, 1.0, 4.0]
    assert chosen["keep"] == 2 and chosen["ingredients"] == ["b"]


@pytest.mark.parametrize("method", ["best_run", "greedy", "smallest"])
def test_a_score_that_is_no_number_is_never_the_best(job, parents, tmp_path, method):
    from consomme.evaluate.judge import Judge

    found = parents(broken=0.0, sound=0.5)
    heavy = load_file(found["broken"] / "model.safetensors")
    save_file(
        {n: np.full_like(v, 3e38) for n, v in heavy.items()}, found["broken"] / "model.safetensors", {"format": "pt"}
    )
    limits = {
        "choose_on": {
            "metric": "loss",
            "sets": {"d": {"weight": 1.0, "lose_at_most": 9, "of": "sound", "metric": "loss"}},
        }
    }
    spec = parse(job(method, found, **(limits if method == "smallest" else {})), "")
    judge = Judge(spec, found)
    from consomme.families import load

    assert judge.objective(load(found["broken"], "cpu"), found["broken"]) == -np.inf
    run(spec)
    chosen = json.loads((tmp_path / "made" / "provenance.json").read_text())["chosen"]
    assert chosen["ingredients"] == ["sound"]


def test_the_model_of_a_limit_is_asked_with_its_own_tokenizer(job, parents):
    from consomme.evaluate.judge import Judge

    found = parents(a=0.5, base=0.5)
    (found["base"] / "vocab.json").write_text(json.dumps({"other": 0}))
    limits = {"d": {"weight": 1.0, "lose_at_most": 9, "of": "base", "metric": "loss"}}
    judge = Judge(parse(job("best_run", found, choose_on={"metric": "loss", "sets": limits}), ""), found)
    asked = []

    def evaluator(job, rows, folder):
        def statistics(model, name, metric):
            asked.append(folder.name)
            return np.ones((6, 2))

        return SimpleNamespace(sets={"d": SimpleNamespace(units=np.arange(6))}, statistics=statistics)

    judge._open = evaluator
    assert judge.admissible(load(found["a"]), found["a"])[0]
    assert asked == ["base", "a"]


def test_best_under_a_limit(tmp_path, parents):
    found = parents(a=1.0, b=0.2)
    assert _make("best_run", found, Dial(most=0.5), tmp_path)[0]["ingredients"] == ["b"]
    (tmp_path / "other").mkdir()
    with pytest.raises(ConsommeError, match="loses more than choose_on allows"):
        _make("best_run", found, Dial(most=-1.0), tmp_path / "other")


def test_interpolate_finds_the_point_and_keeps_the_curve(tmp_path, parents):
    judge = Dial()
    chosen, weights = _make("interpolate", parents(a=0.0, b=4.0), judge, tmp_path, alpha=None, points=5)
    assert chosen["alpha"] == 0.25 and weights[DIAL][0] == 1.0
    assert [row["alpha"] for row in chosen["curve"]] == [0, 0.25, 0.5, 0.75, 1]
    assert [row["value"] for row in chosen["curve"]] == [0, 1, 2, 3, 4]
    assert _same(weights, judge.seen[1])
    lines = (tmp_path / "out" / "curve.tsv").read_text().splitlines()
    assert lines[0].split("\t") == [
        "alpha",
        "set",
        "metric",
        "value",
        "ci_low",
        "ci_high",
        "objective",
        "admissible",
        "chosen",
    ]
    assert lines[2].split("\t") == ["0.25", "d", "loss", "1", "0", "", "0", "true", "true"]


def test_a_path_of_eleven_points_reads_its_models_once(tmp_path, parents, monkeypatch):
    from collections import Counter

    from consomme.weights.tensors import Weights

    reads, plain = Counter(), Weights.read

    def read(self, tensor, begin=0, end=None):
        if begin == 0 and end is None:  # whole tensors: those of the candidates
            reads[self.name, tensor] += 1
        return plain(self, tensor, begin, end)

    monkeypatch.setattr(Weights, "read", read)
    chosen, _ = _make("interpolate", parents(a=0.0, b=2.0), Dial(), tmp_path, points=11)
    assert len({row["alpha"] for row in chosen["curve"]}) == 11 and set(reads.values()) == {1}


def test_interpolate_within_a_limit(tmp_path, parents):
    chosen, _ = _make("interpolate", parents(a=0.0, b=4.0), Dial(most=0.5), tmp_path, alpha=None, points=9)
    assert chosen["alpha"] == 0.125
    assert [row["admissible"] for row in chosen["curve"]] == [True, True] + [False] * 7


def test_interpolate_where_no_point_keeps_the_limit(tmp_path, parents, capsys):
    found = parents(base=0.5, b=1.0)
    chosen, _ = _make("interpolate", found, Dial(most=0.0), tmp_path, alpha=None, points=3)
    assert chosen["alpha"] == 0 and "base itself is chosen" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    with pytest.raises(ConsommeError, match="no point between base and b"):
        _make("interpolate", found, Dial(most=0.0, of="another"), tmp_path / "other", alpha=None, points=3)


@pytest.fixture
def shapes(tmp_path, base):
    """shapes(a=(2, 0.5)): name -> a model with so many encoder layers whose dial shows that value."""

    def make(**values):
        found = {}
        for name, (depth, value) in values.items():
            found[name] = tmp_path / "shapes" / name
            shutil.copytree(base, found[name])
            weights, first = load_file(base / "model.safetensors"), "encoder.layers.0."
            for layer in range(1, depth):
                weights |= {n.replace(first, f"encoder.layers.{layer}."): t for n, t in weights.items() if first in n}
            weights[DIAL] = weights[DIAL].copy()
            weights[DIAL][0] = value
            save_file(weights, found[name] / "model.safetensors", metadata={"format": "pt"})
            config = json.loads((base / "config.json").read_text())
            write_json(found[name] / "config.json", {**config, "encoder_layers": depth})
        return found

    return make


def test_the_smallest_that_keeps_the_limits_is_taken(tmp_path, shapes, capsys):
    found = shapes(whole=(4, 0.0), tiny=(1, 3.0), half=(2, 0.4), third=(3, 0.3))
    chosen, _ = _make("smallest", found, Dial(most=0.5), tmp_path)
    assert chosen["ingredients"] == ["half"] and chosen["tried"] == list(found)
    assert chosen["admissible"] == {"whole": True, "tiny": False, "half": True, "third": True}
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (found["half"] / "model.safetensors").read_bytes()
    sizes = {name: sum(p.numel() for p in load(path).parameters()) for name, path in found.items()}
    assert {row["model"]: row["parameters"] for row in chosen["curve"]} == sizes
    header, *lines = [line.split("\t") for line in (tmp_path / "out" / "curve.tsv").read_text().splitlines()]
    assert header[:4] == ["model", "parameters", "set", "metric"] and header[-2:] == ["admissible", "chosen"]
    assert [(line[0], line[-1]) for line in lines] == [
        ("whole", "false"), ("tiny", "false"), ("half", "true"), ("third", "false"),
    ]  # fmt: skip
    assert "tiny: " in (said := capsys.readouterr().err) and "may be 9.00 worse than base (0.5 allowed)" in said


def test_of_equally_small_models_the_better_of_equals_the_first(tmp_path, shapes):
    found = shapes(whole=(2, 1.0), worse=(1, 0.2), better=(1, 0.7), twin=(1, 0.7))
    assert _make("smallest", found, Dial(most=2.0), tmp_path)[0]["ingredients"] == ["better"]


@pytest.mark.parametrize(
    ("speeds", "wanted"),
    [
        ({"whole": 1.0, "tiny": 9.0, "half": 2.0, "third": 3.0}, "third"),  # the fastest of all breaks the limit
        ({"whole": 2.9, "tiny": 9.0, "half": 2.9, "third": 3.0}, "half"),  # as fast but for noise, and better
        ({"whole": 3.0, "tiny": 3.0, "half": 3.0, "third": 3.0}, "half"),
    ],
)
def test_the_fastest_that_keeps_the_limits_is_taken(tmp_path, shapes, speeds, wanted):
    found = shapes(whole=(4, 0.0), tiny=(1, 3.0), half=(2, 0.4), third=(3, 0.3))
    judge = Dial(most=0.5)
    judge.speeds = lambda models: {
        name: {"speed": speeds[name], "speed_low": 0.5, "speed_high": 10.0, "speed_unit": "tokens/s"} for name in models
    }
    chosen, _ = _make("fastest", found, judge, tmp_path)
    assert chosen["ingredients"] == [wanted] and chosen["tried"] == list(found)
    assert {row["model"]: row["speed"] for row in chosen["curve"]} == speeds
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (found[wanted] / "model.safetensors").read_bytes()


def test_nothing_within_the_limits_says_how_far_off_each_is(tmp_path, shapes):
    with pytest.raises(
        ConsommeError, match=r"a: g may be 9.00 worse than base \(0.5 allowed\); b: g may be 9.00 .*lose_at_most"
    ):
        _make("smallest", shapes(a=(1, 1.0), b=(2, 1.0)), Dial(most=0.0), tmp_path)


def test_the_smallest_on_development_data(job, shapes, tmp_path, capsys):
    found = shapes(whole=(2, 0.0), small=(1, 0.0))
    for allowed, wanted in ((100, "small"), (0, "whole")):
        limits = {"d": {"weight": 1.0, "lose_at_most": allowed, "of": "of"}}
        choice, name = {"metric": "loss", "sets": limits}, f"made{allowed}"
        run(parse(job("smallest", found, choice, reference=found["whole"], name=name), ""))
        record = json.loads((tmp_path / name / "provenance.json").read_text())
        assert record["chosen"]["ingredients"] == [wanted]
        # its layers come from where those of the chosen model come from
        assert record["lineage"]["weights"] == record["parents"][wanted == "small"]["weights"]
        assert load(tmp_path / name).config.encoder_layers == (1 if wanted == "small" else 2)


# -- the whole stage ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["best_run", "greedy", "interpolate"])
def test_a_job_on_development_data(job, parents, tmp_path, capsys, method):
    found = parents(a=0.0, b=0.3)
    limits = {"d": {"weight": 1.0, "lose_at_most": 0.5, "of": "of"}}
    arguments = job(method, found, {"metric": "loss", "sets": limits}, reference=found["a"])
    run(parse(arguments, ""))
    provenance = json.loads((tmp_path / "made" / "provenance.json").read_text())
    assert provenance["chosen"]["metric"] == "loss" and provenance["references"][0]["name"] == "of"
    load(tmp_path / "made")
    if method == "interpolate":
        assert all(r["ci_low"] < r["value"] < r["ci_high"] for r in provenance["chosen"]["curve"])
    capsys.readouterr()
    run(parse(arguments, ""))
    assert "nothing to compute" in capsys.readouterr().err
    # killed before the end: what was evaluated is known, and the result is the same to the byte
    before = (tmp_path / "made" / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / ".state")
    shutil.rmtree(tmp_path / "made")
    run(parse(arguments, ""))
    assert "utterances" not in capsys.readouterr().err
    assert (tmp_path / "made" / "model.safetensors").read_bytes() == before


def test_without_choose_on_the_metric_counts_on_all_sets(job, parents, tmp_path):
    run(parse(job("best_run", parents(a=0.0, b=0.3)), ""))
    chosen = json.loads((tmp_path / "made" / "provenance.json").read_text())["chosen"]
    assert chosen["ingredients"] == [min(chosen["scores"], key=chosen["scores"].get)]


def test_jobs_that_can_not_be(job, parents, tmp_path):
    found = parents(a=0.0, b=0.3)
    with pytest.raises(ConsommeError, match="no development set 'e'"):
        run(parse(job("greedy", found, {"metric": "loss", "sets": {"e": {"weight": 1.0}}}), ""))
    with pytest.raises(ConsommeError, match="exactly 2 models, 1 given"):
        run(parse(job("interpolate", {"a": found["a"]}, alpha=0.5), ""))
    assert not (tmp_path / "made").exists()


def test_uniform_and_a_fixed_alpha_read_no_data(job, parents, tmp_path):
    found = parents(a=0.0, b=1.0)
    run(parse(job("uniform", found), ""))
    run(parse(job("interpolate", found, alpha=0.75, name="line"), ""))
    assert load_file(tmp_path / "made" / "model.safetensors")[DIAL][0] == 0.5
    assert load_file(tmp_path / "line" / "model.safetensors")[DIAL][0] == 0.75
    assert not (tmp_path / "cache").exists()


def test_a_choice_on_few_rows_is_called_chance():
    from consomme.evaluate.choice import Choice
    from consomme.evaluate.judge import few

    def choice(metric):
        return Choice.parse({"metric": metric, "sets": {"a": {"weight": 1.0}, "b": {"weight": 1.0}}})

    assert "200 rows (a)" in few(choice("wer"), {"a": 66, "b": 400})
    assert few(choice("wer"), {"a": 266, "b": 400}) is None and few(choice("loss"), {"a": 6, "b": 4}) is None


@pytest.mark.parametrize(
    ("settings", "dev", "said"),
    [
        ({"load_best_model_at_end": True}, {"d": ["x", "y"]}, True),
        ({"early_stopping_patience": 2}, {"d": ["x"]}, True),
        ({"load_best_model_at_end": True}, {"d": ["z"]}, False),
        ({"load_best_model_at_end": False, "early_stopping_patience": None}, {"d": ["x"]}, False),
    ],
)
def test_a_choice_on_rows_that_picked_the_runs_already_is_called_optimistic(tmp_path, settings, dev, said):
    from consomme.evaluate.choice import Choice
    from consomme.evaluate.judge import twice

    record = {"settings": {**settings, "choose_on": {"sets": {"d": {"weight": 1.0}}}}, "dev": dev}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    choice = Choice.parse({"metric": "loss", "sets": {"mine": {"weight": 1.0}}})
    found = twice(choice, {"mine": ["x"], "other": ["z"]}, {"run": tmp_path, "elsewhere": tmp_path / "none"})
    assert ("chosen on x, where its runs" in found) if said else found is None


def test_a_greedy_search_that_is_killed_goes_on_where_it_was(job, parents, tmp_path):
    """SIGKILL in the middle: no model in sight, and what was evaluated is not evaluated again."""
    models = parents(a=0.5, b=1.7, c=3.0, d=2.0)
    command = [sys.executable, "-u", "-m", "consomme.average", *job("greedy", models)]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    before = []
    for line in first.stderr:
        before.append(line)
        if "alone: b" in line:
            first.kill()
            break
    before += first.stderr.readlines()
    assert first.wait() == -9 and not (tmp_path / "made").exists()
    second = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    whole = subprocess.run(
        [sys.executable, "-m", "consomme.average", *job("greedy", models, name="again")[:-5], str(tmp_path / "other"), *job("greedy", models)[-4:]],
        stderr=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    count = {name: text.count("d: loss") for name, text in
             (("before", "".join(before)), ("after", second.stderr), ("whole", whole.stderr))}  # fmt: skip
    assert count["before"] >= 1 and count["before"] + count["after"] == count["whole"]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("made", "again"))
    assert all(np.array_equal(one[n], two[n]) for n in one)
