"""How much a configuration may ask for: runs, models, names, numbers."""

import pytest

from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError

TUNED = "experiments.e.models.tuned"


@pytest.mark.parametrize(
    ("sweep", "where"),
    [
        ({"grid": {"seed": list(range(1001))}}, "grid: this makes 1001 runs"),
        ({"grid": {key: list(range(1, 101)) for key in ("seed", "max_steps", "warmup_steps")}}, "grid: this makes 1000000 runs"),
        ({"points": [{"seed": n} for n in range(1001)]}, "points: this makes 1001 runs"),
        ({"random": {"n": 10**8, "seed": {"uniform": [1, 2]}}}, "random.n: this makes 100000000 runs"),
    ],
    ids=["grid", "product", "points", "random"],
)  # fmt: skip
def test_a_sweep_has_a_thousand_runs_at_most(change, sweep, where):
    with pytest.raises(ConfigurationError, match=rf"^{TUNED}.sweep.{where}, and 1000 are the most"):
        Plan(change({f"{TUNED}.sweep": sweep}))


def test_settings_to_choose_from_are_as_few(change):
    given = {"average": "tuned", "method": "ties", "choose": {"grid": {"density": [n / 2000 for n in range(1, 1500)]}}}
    with pytest.raises(ConfigurationError, match=r"mean.choose.grid: this makes 1499 runs"):
        Plan(change({"experiments.e.models.mean": given}))


def test_a_sweep_of_many_runs_is_planned(change):
    plan = Plan(change({f"{TUNED}.sweep": {"grid": {"seed": list(range(60))}}}))
    assert sum(m.node == "tuned" and m.stage == "train" for m in plan.models.values()) == 60


def test_runs_of_runs_are_counted_together(change):
    sweep = {"grid": {"seed": list(range(120))}}
    models = {f"{TUNED}.sweep": sweep, "experiments/e/models/more": {"train": "tuned", "max_steps": 2, "sweep": sweep}}
    raw = change({f"{TUNED}.sweep": sweep})
    raw["experiments"]["e"]["models"]["more"] = models["experiments/e/models/more"]
    with pytest.raises(
        ConfigurationError, match=r"^experiments.e.models.more: with it there are more than 10000 models"
    ):
        Plan(raw)


def test_replicates_are_a_hundred_at_most_and_their_seeds_are_not_negative(change):
    for seeds, wanted in ((list(range(101)), "at most 100 items"), ([-1], "greater than or equal to 0")):
        raw = change({})
        raw["experiments"]["e"]["repeat"] = seeds
        with pytest.raises(ConfigurationError, match=rf"experiments.e.repeat.*{wanted}"):
            Plan(raw)


@pytest.mark.parametrize("name", ["{s.__class__}", "{s!r}", "{s:>999999999}", "{s[0]}", "{0}", "{}", "{", "}", "{t}"])
def test_a_variable_is_a_name_and_nothing_else(change, name):
    raw = change({})
    raw["experiments"]["e"]["repeat"] = {1: {"s": "b-train"}}
    raw["experiments"]["e"]["data"]["train"] = "{s}"
    assert Plan(raw).models
    raw["experiments"]["e"]["data"]["train"] = name
    with pytest.raises(ConfigurationError, match=r"names a variable that replicate 1 doesn't have; it has: \{s\}"):
        Plan(raw)


def test_names_fit_into_the_names_of_files(change):
    long = "x" * 101
    for place in ("corpora", "experiments"):
        raw = change({})
        raw[place][long] = next(iter(raw[place].values()))
        with pytest.raises(ConfigurationError, match="at most 100 characters"):
            Plan(raw)
    raw = change({})
    raw["experiments"]["e"]["models"][long] = {"train": "base", "max_steps": 1}
    with pytest.raises(ConfigurationError, match="at most 100 characters"):
        Plan(raw)


def test_the_name_of_a_run_fits_into_the_name_of_a_link(change):
    mixtures = [{"a-train": 1.0, "b-train": weight} for weight in (1.0, 2.0)]
    assert Plan(change({f"{TUNED}.sweep": {"grid": {"data.train": mixtures}}})).models
    tensors = {"encoder." + "layer" * 50: 1e-5}
    with pytest.raises(ConfigurationError, match=rf"^{TUNED}: a run's name .* 200 are the most"):
        Plan(change({f"{TUNED}.sweep": {"points": [{"learning_rates": tensors}]}}))


@pytest.mark.parametrize("code", ["a/b", "..", "", "--help", "e n", "x" * 36, "en\n"])
def test_a_language_is_a_code(change, code):
    with pytest.raises(ConfigurationError, match=r"^experiments.e.languages"):
        Plan(change({"experiments.e.languages": [code]}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("experiments/e/claims/1/margin", 1e30),
        ("experiments.e.models.base.learning_rate", 1e30),
        (f"{TUNED}.weight_decay", 1e30),
        (f"{TUNED}.max_steps", 10**12),
        (f"{TUNED}.per_device_train_batch_size", 10**9),
        ("experiments.e.models.raw.from.scratch.hidden_size", 10**9),
        ("experiments.e.models.raw.from.scratch.hidden_size", -5),
        ("experiments.e.models.raw.from.scratch.attention_dropout", 1e308),
        ("experiments.e.models.raw.from.scratch.hidden_act", "/etc/passwd"),
        ("experiments.e.models.line.points", 10**6),
        ("experiments.e.decoding", {"num_beams": 10**9}),
        ("experiments.e.decoding", {"length_penalty": -5}),
        ("experiments.e.data.test", {"b": []}),
        ("corpora.a-train.size", 10**12),
        ("corpora.a-train.sampling_rate", 10**9),
        ("corpora.a-train.max_seconds", 1e30),
        ("corpora.a-train.where", {"x": [False]}),
        ("corpora.a-train.join", {"length": [1, 1e308]}),
        ("corpora.a-train.join", {"length": [-1, 2]}),
        ("corpora.a-train.join", {"length": [1, 2], "uses": 10**9}),
        ("corpora.a-train.join", {"length": [1, 2], "gap": [-1, 1e9]}),
    ],
    ids=str,
)
def test_a_number_has_the_size_of_what_it_counts(small, key, value):
    here, (*parents, last) = small, key.split("/") if "/" in key else key.split(".")
    for part in parents:
        here = here[int(part) if part.isdigit() else part]
    here[last] = value
    with pytest.raises(ConfigurationError, match="^" + key.replace("/", ".").partition(".models")[0]):
        Plan(small)


def test_a_path_can_be_one(change):
    for path in ("x" * 300, "a\0b", "a/" * 3000):
        with pytest.raises(ConfigurationError, match=r"^corpora.a-train.path: "):
            Plan(change({"corpora.a-train": {"source": "manifest", "path": path}}))
