"""Each merging method without data against an independent reference: numpy in float64, written from the paper's formula."""

import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from safetensors.numpy import load_file

from consomme.average.methods import TABLE, method_named
from consomme.average.methods.base import Mix
from consomme.average.stage import entry
from consomme.common.errors import ConsommeError
from consomme.common.settings import checked
from consomme.weights.compatibility import COMPARED, copies
from consomme.weights.tensors import Weights


def merge(tmp_path, folders, method, **settings):
    """What the method makes of the folders (the base first): the tensors in float32, and what it returned."""
    out = tmp_path / f"{method} {len(list(tmp_path.iterdir()))}"
    out.mkdir()
    if method_named(method).has_base:
        settings["base"] = True
    mix = Mix({f.name: f for f in folders}, {"method": method, **settings}, lambda: pytest.fail("no data is needed"))
    chosen = method_named(method).build(mix, out)
    json.dumps(chosen)
    return load_file(out / "model.safetensors"), chosen


@pytest.fixture
def models(checkpoint, some):
    """A base and three models near it: their folders, and their tensors in float64 by name."""
    base = some(0)
    folders, values = [], []
    for i in range(4):
        moved = {
            name: np.asarray(value + (0.1 * i * some(i)[name] if value.dtype.kind == "f" else 0), value.dtype)
            for name, value in base.items()
        }
        folders.append(checkpoint(f"m{i}", moved))
        values.append({name: value.astype(np.float64) for name, value in moved.items()})
    return folders, values


def same(got, expected):
    """Equal after one rounding to float32 at most: half a unit in the last place, or the neighbour for sums in another
    order."""
    for name, value in expected.items():
        if name != "steps":
            np.testing.assert_allclose(got[name], value, rtol=2**-22, atol=1e-9, err_msg=name)


def test_weighted(tmp_path, models):
    folders, values = models
    got, chosen = merge(tmp_path, folders, "weighted", weights=[1, 2, 0, 5])
    same(got, {n: (values[0][n] + 2 * values[1][n] + 5 * values[3][n]) / 8 for n in values[0]})
    assert chosen["weights"] == [1, 2, 0, 5]


def test_weighted_means_of_half_precision_are_correctly_rounded(tmp_path, checkpoint):
    """Against exact fractions; shares of the sum would be rounded themselves before they count."""
    random = np.random.default_rng(5)
    values = random.normal(size=(2, 3000)).astype(np.float16)
    folders = [checkpoint(f"w{i}", {"w": v}) for i, v in enumerate(values)]
    got, _ = merge(tmp_path, folders, "weighted", weights=[3, 7])
    exact = [(3 * Fraction(float(a)) + 7 * Fraction(float(b))) / 10 for a, b in values.T]
    for found, value in zip(got["w"], exact, strict=True):
        neighbours = [np.nextafter(found, np.float16(end)) for end in (-np.inf, np.inf)]
        assert all(abs(Fraction(float(found)) - value) <= abs(Fraction(float(n)) - value) for n in neighbours)


def test_weights_by_name(tmp_path, models):
    folders, values = models
    got, _ = merge(tmp_path, folders[:2], "weighted", weights={"*.bias": [0, 1], "layer.*": [3, 1]})
    first, second = values[:2]
    assert np.array_equal(got["layer.bias"], second["layer.bias"].astype(np.float32))
    same(got, {"layer.weight": 0.75 * first["layer.weight"] + 0.25 * second["layer.weight"]})
    same(got, {"scale": (first["scale"] + second["scale"]) / 2})  # named by no pattern: the plain mean
    with pytest.raises(ConsommeError, match="no tensor has a name like 'head"):
        merge(tmp_path, folders[:2], "weighted", weights={"head.*": [1, 1]})


def test_weights_by_side(tmp_path):
    from consomme.families import family_named

    settings = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "encoder_layers": 1, "decoder_layers": 1}
    folders = [tmp_path / "one", tmp_path / "two"]
    for seed, folder in enumerate(folders):
        family_named("marian").create(
            folder, settings, {"vocab_size": 40}, lambda: iter(["a b c d e f g", "h i j k l m n"]), ["en", "fr"], seed
        )
    got, _ = merge(tmp_path, folders, "weighted", weights={"encoder": [1, 0], "decoder": [0, 1]})
    first, second = (load_file(f / "model.safetensors") for f in folders)
    for name, value in got.items():
        mean = ((first[name].astype(np.float64) + second[name]) / 2).astype(np.float32)
        ours = {"model.encoder": first[name], "model.decoder": second[name]}
        np.testing.assert_array_equal(value, ours.get(".".join(name.split(".")[:2]), mean))
    assert any(n.startswith("model.decoder.layers") for n in got) and "model.shared.weight" in got


def test_weights_that_make_no_mean(tmp_path, models):
    folders, _ = models
    with pytest.raises(ConsommeError, match="2 given for 4 models"):
        merge(tmp_path, folders, "weighted", weights=[1, 2])
    with pytest.raises(ConsommeError, match="their sum is 0"):
        merge(tmp_path, folders[:2], "weighted", weights=[1, -1])


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_slerp(tmp_path, models, alpha):
    folders, values = models
    first, second = values[0], values[3]
    expected = {}
    for name in first:
        a, b = first[name].ravel(), second[name].ravel()
        if a.size == 0:
            continue
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        angle = np.arccos(np.clip(cosine, -1, 1))
        shares = (1 - alpha, alpha)
        if abs(cosine) <= 0.9995:
            shares = np.sin((1 - alpha) * angle) / np.sin(angle), np.sin(alpha * angle) / np.sin(angle)
        expected[name] = shares[0] * first[name] + shares[1] * second[name]
    got, _ = merge(tmp_path, [folders[0], folders[3]], "slerp", alpha=alpha)
    same(got, expected)


def test_slerp_keeps_the_length_on_a_quarter_circle(tmp_path, checkpoint):
    folders = [
        checkpoint("x", {"w": np.array([3.0, 0], np.float32)}),
        checkpoint("y", {"w": np.array([0, 3.0], np.float32)}),
    ]
    got, _ = merge(tmp_path, folders, "slerp", alpha=0.5)
    np.testing.assert_allclose(got["w"], [3 / np.sqrt(2)] * 2, rtol=1e-7)


def test_task_arithmetic(tmp_path, models):
    folders, values = models
    base, *tuned = values
    got, _ = merge(tmp_path, folders, "task_arithmetic", scale=0.4)
    same(got, {n: base[n] + 0.4 * sum(t[n] - base[n] for t in tuned) for n in base})
    got, _ = merge(tmp_path, folders, "task_arithmetic", weights=[1, 0, -2])
    same(got, {n: base[n] + (tuned[0][n] - base[n]) - 2 * (tuned[2][n] - base[n]) for n in base})


def test_task_arithmetic_with_a_mean_of_vectors_is_the_mean(tmp_path, models):
    folders, values = models
    got, _ = merge(tmp_path, folders, "task_arithmetic", scale=1 / 3)
    same(got, {n: sum(v[n] for v in values[1:]) / 3 for n in values[0]})


def ties(base, tuned, density, weights, scale=1.0):
    """Trim, elect, merge disjointly: Yadav et al. 2023, algorithm 1, tensor by tensor."""
    merged = {}
    for name in base:
        vectors = []
        for model in tuned:
            vector = (model[name] - base[name]).ravel()
            keep = round(density * vector.size)
            kept = np.zeros(vector.size, bool)
            kept[np.argsort(-np.abs(vector), kind="stable")[:keep]] = True
            vectors.append(np.where(kept, vector, 0))
        elected = [
            np.sign(sum(w * v[p] for w, v in zip(weights, vectors, strict=True))) for p in range(vectors[0].size)
        ]
        result = np.zeros(vectors[0].size)
        for p, sign in enumerate(elected):
            agree = [(w, v[p]) for w, v in zip(weights, vectors, strict=True) if v[p] * w * sign > 0]
            if agree:
                result[p] = sum(w * v for w, v in agree) / sum(w for w, _ in agree)
        merged[name] = base[name] + scale * result.reshape(base[name].shape)
    return merged


@pytest.mark.parametrize("density", [0.01, 0.2, 0.5, 1.0])
def test_ties(tmp_path, checkpoint, density):
    random = np.random.default_rng(3)
    made = [
        {"w": random.normal(size=(40, 50)).astype(np.float32), "b": random.normal(size=9).astype(np.float32)}
        for _ in range(4)
    ]
    folders = [checkpoint(f"t{i}", m) for i, m in enumerate(made)]
    base, *tuned = [{n: v.astype(np.float64) for n, v in m.items()} for m in made]
    got, _ = merge(tmp_path, folders, "ties", density=density, scale=0.7)
    same(got, ties(base, tuned, density, [1, 1, 1], 0.7))
    got, _ = merge(tmp_path, folders, "ties", density=density, weights=[2, 1, 0.5])
    same(got, ties(base, tuned, density, [2, 1, 0.5]))


def test_the_limit_of_trimming_is_exact_in_tensors_of_many_pieces(models):
    from consomme.average.thinning import _limits
    from consomme.weights.mean import Mixture
    from consomme.weights.tensors import Weights

    folders, values = models
    mixture = Mixture([Weights(f) for f in folders])
    vectors = [np.sort(np.abs(v["layer.weight"] - values[0]["layer.weight"]).ravel()) for v in values[1:]]
    for keep in (1, 2, 777, 105_000, 210_000):
        assert list(_limits(mixture, "layer.weight", keep)) == [v[-keep] for v in vectors]


def test_dare_keeps_the_expected_task_vector(tmp_path, checkpoint):
    """Elements stay with the given probability, and the mean over many of them is what it was."""
    size = 200_000
    folders = [checkpoint("b", {"w": np.zeros(size, np.float32)}), checkpoint("t", {"w": np.ones(size, np.float32)})]
    for method in ("dare_linear", "dare_ties"):
        got, _ = merge(tmp_path, folders, method, density=0.3, seed=1)
        stayed = got["w"] != 0
        np.testing.assert_allclose(got["w"][stayed], 1 / 0.3, rtol=1e-6)
        assert abs(stayed.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / size)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "della"])
def test_tied_weights_that_all_models_store_twice_stay_tied(tmp_path, checkpoint, method):
    config = {"model_type": "some", "architectures": ["SomeModel"], "tie_word_embeddings": True, "vocab_size": 50}
    folders = []
    for i in range(3):
        table = np.random.default_rng(i).normal(size=(50, 8)).astype(np.float32)
        others = {"proj": np.random.default_rng(9).normal(size=(50, 8)).astype(np.float32) * (i + 1)}
        folders.append(checkpoint(f"t{i}", {"shared": table, "lm_head": table, **others}, config=config))
    epsilon = {"epsilon": 0.2} if method == "della" else {}
    got, _ = merge(tmp_path, folders, method, density=0.5, seed=1, **epsilon)
    assert np.array_equal(got["shared"], got["lm_head"]) and not np.array_equal(got["shared"], got["proj"])


def test_tables_that_differ_are_told_apart_by_their_first_piece(checkpoint, monkeypatch):
    """An embedding and a head of its own may be larger than memory: neither is read as a whole."""
    config = {"model_type": "some", "architectures": ["SomeModel"], "text": {"vocab_size": 3000}}
    random = np.random.default_rng(0)
    tables = {name: random.normal(size=(3000, 64)).astype(np.float32) for name in ("embed", "head")}
    same = {"embed": tables["embed"], "head": tables["embed"]}
    apart, tied = checkpoint("apart", tables, config=config), checkpoint("tied", same, config=config)
    sizes, plain = [], Weights.read

    def read(self, tensor, begin=0, end=None):
        values = plain(self, tensor, begin, end)
        sizes.append(len(values))
        return values

    monkeypatch.setattr(Weights, "read", read)
    with Weights(apart) as one, Weights(tied) as two:
        assert copies([one, one]) == {} and sizes == [COMPARED] * 2
        assert copies([two, two]) == {"head": "embed"} and max(sizes) == COMPARED
        assert copies([two, one]) == {}  # tied in one of them is not tied


def test_dare_depends_on_the_seed_alone(tmp_path, models):
    folders, _ = models
    once, again, other = (merge(tmp_path, folders, "dare_linear", density=0.5, seed=s)[0] for s in (1, 1, 2))
    assert all(np.array_equal(once[n], again[n]) for n in once)
    assert not np.array_equal(once["layer.weight"], other["layer.weight"])
    # one more model does not change what stays of the others
    fewer, more = (merge(tmp_path, f, "dare_linear", density=0.5, seed=1, weights=w)[0]
                   for f, w in ((folders[:3], [1, 1]), (folders, [1, 1, 0])))  # fmt: skip
    assert all(np.array_equal(fewer[n], more[n]) for n in fewer)


@pytest.mark.parametrize("method", ["ties", "dare_linear", "dare_ties"])
def test_with_nothing_dropped_and_one_model_it_is_that_model(tmp_path, models, method):
    folders, values = models
    got, _ = merge(tmp_path, folders[:2], method, density=1.0)
    same(got, values[1])


@pytest.mark.parametrize("density, gamma", [(0.2, 0.05), (0.5, 0.0), (0.9, 0.1), (0.001, 0.3)])
def test_breadcrumbs(tmp_path, models, density, gamma):
    """By sorting: the first elements go, the next ones stay, the others go."""
    folders, values = models
    base, *tuned = values
    expected = {}
    for name in base:
        merged = np.zeros(base[name].size)
        for model in tuned:
            vector = (model[name] - base[name]).ravel()
            falling = np.argsort(-np.abs(vector), kind="stable")
            first = round(gamma * vector.size)
            stays = falling[first : first + round(density * vector.size)]
            merged[stays] += vector[stays]
        expected[name] = base[name] + 0.7 * merged.reshape(base[name].shape)
    got, chosen = merge(tmp_path, folders, "breadcrumbs", density=density, gamma=gamma, scale=0.7)
    same(got, expected)
    assert (chosen["density"], chosen["gamma"]) == (density, gamma)


def test_breadcrumbs_of_equal_steps_keep_them_all(tmp_path, checkpoint):
    """After one step of Adam every element has moved as far: none is an outlier, none is noise."""
    signs = np.where(np.arange(100) % 3 == 0, -1, 1).astype(np.float32)
    folders = [checkpoint("b", {"w": np.zeros(100, np.float32)}), checkpoint("t", {"w": signs})]
    got, _ = merge(tmp_path, folders, "breadcrumbs", density=0.2, gamma=0.1)
    assert np.array_equal(got["w"], signs)


def test_della_keeps_elements_by_their_rank_in_the_row(tmp_path, checkpoint):
    """Over many rows, the share of each rank that stays is its probability, and what stays is divided by it."""
    rows, row, density, epsilon = 60_000, 5, 0.4, 0.6
    sizes = np.random.default_rng(0).permuted(np.tile(np.arange(1.0, row + 1), (rows, 1)), axis=1).astype(np.float32)
    folders = [checkpoint("b", {"w": np.zeros((rows, row), np.float32)}), checkpoint("t", {"w": sizes})]
    got, _ = merge(tmp_path, folders, "della", density=density, epsilon=epsilon, seed=3)
    for size in range(1, row + 1):
        rank = row - size  # 0 is the largest
        dropped = (1 - density) - epsilon / 2 + epsilon * rank / row
        found = got["w"][sizes == size]
        stayed = found != 0
        np.testing.assert_allclose(found[stayed], size / (1 - dropped), rtol=1e-6)
        assert abs(stayed.mean() - (1 - dropped)) < 5 * np.sqrt(0.25 / rows)


def test_della_elects_signs(tmp_path, checkpoint):
    """With nothing dropped it is TIES with everything kept."""
    random = np.random.default_rng(4)
    made = [{"w": random.normal(size=(30, 20)).astype(np.float32)} for _ in range(4)]
    folders = [checkpoint(f"d{i}", m) for i, m in enumerate(made)]
    base, *tuned = [{n: v.astype(np.float64) for n, v in m.items()} for m in made]
    got, _ = merge(tmp_path, folders, "della", density=1.0, epsilon=0.0, weights=[2, 1, 0.5], scale=0.5)
    same(got, ties(base, tuned, 1.0, [2, 1, 0.5], 0.5))


def test_karcher(tmp_path, models):
    """Against a walk on the sphere itself, tensor by tensor."""
    folders, values = models
    expected = {}
    for name, first in values[0].items():
        vectors = [v[name].ravel() for v in values]
        lengths = [np.linalg.norm(v) for v in vectors]
        if not all(lengths) or name == "steps":
            continue
        units = [v / n for v, n in zip(vectors, lengths, strict=True)]
        mean = units[0]
        for _ in range(20):
            tangent = np.zeros_like(mean)
            for unit in units:
                part = unit - (unit @ mean) * mean
                if np.linalg.norm(part) > 1e-14:
                    tangent += np.arctan2(np.linalg.norm(part), unit @ mean) * part / np.linalg.norm(part) / len(units)
            mean = mean + tangent
            mean /= np.linalg.norm(mean)
        expected[name] = np.mean(lengths) * mean.reshape(first.shape)
    got, _ = merge(tmp_path, folders, "karcher")
    assert len(expected) >= 3
    same(got, expected)


def test_karcher_means_that_are_known(tmp_path, checkpoint):
    def mean(*vectors):
        name = f"k{len(list(tmp_path.iterdir()))}"
        folders = [checkpoint(f"{name} {i}", {"w": np.array(v, np.float32)}) for i, v in enumerate(vectors)]
        return merge(tmp_path, folders, "karcher")[0]["w"]

    np.testing.assert_allclose(mean([3, 0, 0], [0, 3, 0], [0, 0, 3]), [np.sqrt(3)] * 3, rtol=1e-6)
    np.testing.assert_allclose(
        mean([2, 0], [0, 4]), [3 / np.sqrt(2)] * 2, rtol=1e-6
    )  # lengths don't pull the direction
    np.testing.assert_allclose(mean([1, 2], [3, 6], [0, 0]), np.array([4, 8]) / 3, rtol=1e-6)
    # on a circle the mean of angles: 0, 0 and 90 degrees; the mean of the vectors would be at 26.6
    np.testing.assert_allclose(mean([1, 0], [1, 0], [0, 1]), [np.cos(np.pi / 6), 0.5], rtol=1e-6)
    assert np.array_equal(mean([0, 0], [0, 0]), [0, 0])
    assert np.isfinite(mean([1, 0], [-1, 0])).all()


@pytest.fixture
def layers(checkpoint):
    """A base and three models tuned from it, with matrices of three shapes, a bias, a convolution and a table of tokens:
    their folders, and their tensors in float64 by name."""
    random = np.random.default_rng(7)
    config = {"model_type": "some", "architectures": ["SomeModel"], "vocab_size": 11}
    shapes = {"wide": (12, 30), "tall": (40, 9), "square": (16, 16), "bias": (16,), "conv": (4, 3, 3), "table": (11, 6)}
    base = {name: random.normal(size=shape) for name, shape in shapes.items()}
    folders, values = [], []
    for i in range(4):
        made = {n: (v + 0.1 * bool(i) * random.normal(size=v.shape)).astype(np.float32) for n, v in base.items()}
        folders.append(checkpoint(f"l{i}", made, config=config))
        values.append({name: value.astype(np.float64) for name, value in made.items()})
    return folders, values


MATRICES = ("wide", "tall", "square")


def means_of_the_rest(values, scale):
    base, *tuned = values
    return {n: base[n] + scale * (sum(t[n] for t in tuned) / 3 - base[n]) for n in base if n not in MATRICES}


@pytest.mark.parametrize("rank, boost", [(None, None), (0.25, None), (1.0, None), (None, 0.2), (0.5, 0.4)])
def test_tsv(tmp_path, layers, rank, boost):
    """Gargiulo et al. 2024, algorithm 1, singular vector by singular vector. The nearest orthonormal matrix is found by
    Newton's iteration, X ← (X + X⁻ᵀ) / 2, on the R of X = QR."""

    def nearest(matrix):
        if matrix.shape[1] > matrix.shape[0]:
            return nearest(matrix.T).T
        q, x = np.linalg.qr(matrix)
        for _ in range(60):
            x = (x + np.linalg.inv(x).T) / 2
        return q @ x

    folders, values = layers
    base, *tuned = values
    expected = means_of_the_rest(values, 0.8)
    for name in MATRICES:
        least = min(base[name].shape)
        keep = least // 3 if rank is None else int(rank * least)
        lefts, sizes, rights = [], [], []
        for model in tuned:
            difference = model[name] - base[name]
            squares, vectors = np.linalg.eigh(difference.T @ difference)
            found = np.sqrt(squares[::-1][:least])
            total, floor = 0.0, 0.0
            for value in found if boost else ():
                total += value
                if total >= boost * found.sum():
                    floor = value
                    break
            for i in range(keep):
                right = vectors[:, -1 - i]
                lefts.append(difference @ right / found[i])
                rights.append(right)
                sizes.append(max(found[i], floor))
        left, right = nearest(np.array(lefts).T), nearest(np.array(rights).T)
        merged = sum(size * np.outer(u, v) for size, u, v in zip(sizes, left.T, right.T, strict=True))
        expected[name] = base[name] + 0.8 * merged
    got, chosen = merge(tmp_path, folders, "tsv", rank=rank, boost=boost, scale=0.8)
    same(got, expected)
    assert chosen["rank"] == (rank or 1 / 3) and chosen.get("boost") == boost


def test_tsv_of_tasks_that_do_not_meet_is_their_sum(tmp_path, checkpoint):
    """Task matrices of low rank with orthogonal rows and columns lose nothing, whatever their sizes."""
    made = [np.zeros((6, 6), np.float32) for _ in range(4)]
    for i in range(3):
        made[i + 1][2 * i, 2 * i : 2 * i + 2] = [3, 4 * i]
    folders = [checkpoint(f"o{i}", {"w": m}) for i, m in enumerate(made)]
    got, _ = merge(tmp_path, folders, "tsv")
    np.testing.assert_allclose(got["w"], sum(made), atol=1e-6)


def test_tsv_of_one_model_twice_is_its_leading_part(tmp_path, checkpoint):
    """The columns of both depend on each other; nothing arbitrary is added, and matrices that didn't change stay."""
    random = np.random.default_rng(1)
    base = {"w": random.normal(size=(8, 5)).astype(np.float32), "frozen": np.eye(4, dtype=np.float32)}
    tuned = {**base, "w": random.normal(size=(8, 5)).astype(np.float32)}
    folders = [checkpoint(name, tensors) for name, tensors in (("b", base), ("t", tuned), ("again", tuned))]
    u, s, vt = np.linalg.svd(tuned["w"].astype(np.float64) - base["w"], full_matrices=False)
    for method in ("tsv", "iso_c"):
        got, _ = merge(tmp_path, folders, method)
        assert np.array_equal(got["frozen"], base["frozen"])
        expected = (u[:, :2] * s[:2]) @ vt[:2] if method == "tsv" else 2 * s.mean() * u @ vt
        np.testing.assert_allclose(got["w"], base["w"] + expected, rtol=1e-5, atol=1e-6)


def test_iso_c(tmp_path, layers):
    """Marczak et al. 2025, equation 6, with the singular vectors from eigenvectors of the sum's squares."""
    folders, values = layers
    base, *tuned = values
    expected = means_of_the_rest(values, 1.3)
    for name in MATRICES:
        total = sum(model[name] - base[name] for model in tuned)
        squares, vectors = np.linalg.eigh(total @ total.T if total.shape[0] < total.shape[1] else total.T @ total)
        sizes = np.sqrt(squares)
        root = vectors @ np.diag(1 / sizes) @ vectors.T  # of the squares' inverse
        direction = root @ total if total.shape[0] < total.shape[1] else total @ root
        expected[name] = base[name] + 1.3 * sizes.mean() * direction
        spectrum = np.linalg.svd(direction, compute_uv=False)
        np.testing.assert_allclose(spectrum, 1)
    got, _ = merge(tmp_path, folders, "iso_c", scale=1.3)
    same(got, expected)


def test_model_stock(tmp_path, models):
    folders, values = models
    base, *tuned = values
    expected = {}
    for name in base:
        if base[name].size == 0 or name == "steps":
            continue
        vectors = [(t[name] - base[name]).ravel() for t in tuned]
        norms = [np.linalg.norm(v) for v in vectors]
        cosine = np.mean(
            [vectors[i] @ vectors[j] / norms[i] / norms[j] for i, j in itertools.combinations(range(3), 2)]
        )
        share = 3 * max(cosine, 0) / (1 + 2 * max(cosine, 0))
        expected[name] = share * sum(t[name] for t in tuned) / 3 + (1 - share) * base[name]
    got, chosen = merge(tmp_path, folders, "model_stock")
    same(got, expected)
    assert 0 <= chosen["share"]["least"] <= chosen["share"]["most"] <= 1


def test_model_stock_of_models_that_agree_is_their_mean(tmp_path, checkpoint):
    folders = [checkpoint(f"s{i}", {"w": np.full(8, float(i > 0), np.float32)}) for i in range(3)]
    got, _ = merge(tmp_path, folders, "model_stock")
    np.testing.assert_allclose(got["w"], 1)


@pytest.mark.parametrize(
    "method",
    [
        m
        for m in TABLE
        if not TABLE[m].chooses({"alpha": 0.5}) and TABLE[m].most is None and m not in ("ensemble", "adapters")
    ],
)
def test_a_model_that_is_not_finite_is_named(tmp_path, checkpoint, some, method):
    spoilt = some(2)
    spoilt["layer.bias"][1] = np.nan
    folders = [checkpoint("m0", some(0)), checkpoint("m1", some(1)), checkpoint("spoilt", spoilt)]
    count = len(folders) - TABLE[method].has_base
    given = {"weights": [1] * count, "density": 0.5}
    given = {k: v for k, v in given.items() if k in TABLE[method].keys}
    settings = checked(TABLE[method].settings, given).model_dump(exclude_none=True)
    with pytest.raises(ConsommeError, match=r"spoilt: layer\.bias \(1 of 7\)"):
        merge(tmp_path, folders, method, **settings)


def test_memory_does_not_grow_with_the_tensors(tmp_path, checkpoint):
    import tracemalloc

    random = np.random.default_rng(0)
    folders = [
        checkpoint(f"m{i}", {"w": random.normal(size=2_000_000).astype(np.float32)}) for i in range(4)
    ]  # 8 MB each
    for method, settings in (
        ("ties", {"density": 0.2}),
        ("dare_ties", {"density": 0.5}),
        ("breadcrumbs", {"density": 0.2, "gamma": 0.1}),
        ("model_stock", {}),
        ("karcher", {}),
    ):
        tracemalloc.start()
        merge(tmp_path, folders, method, **settings)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10e6, method  # three counts of 65,536 bins and pieces, no tensor


def test_models_that_lost_heads_are_refused(tmp_path, checkpoint, some):
    config = {"model_type": "some", "architectures": ["SomeModel"], "pruned_heads": {"encoder.self": {"0": [1]}}}
    folders = [checkpoint(f"m{i}", some(i), config=config) for i in range(2)]
    with pytest.raises(ConsommeError, match=r"m0 lost attention heads.*prune the result"):
        merge(tmp_path, folders, "slerp", alpha=0.5)
    merge(tmp_path, folders, "weighted", weights=[1, 3])


def test_by_hand(tmp_path, models, capsys):
    folders, _ = models
    names = [str(f) for f in folders]
    out = tmp_path / "merged"
    entry(["--method", "ties", "--density", "0.5", "--base", names[0], "--out", str(out), *names[1:]])
    expected, _ = merge(tmp_path, folders, "ties", density=0.5)
    got = load_file(out / "model.safetensors")
    assert all(np.array_equal(got[n], expected[n]) for n in expected)
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["chosen"]["base"] == names[0]
    assert provenance["chosen"]["ingredients"] == names[1:]
    for arguments, message in [
        (["--method", "ties", "--base", names[0]], "needs --density"),
        (["--method", "ties", "--density", "0.5"], "needs --base"),
        (["--method", "ties", "--density", "0", "--base", names[0]], "--density: Input should be greater than 0"),
        (["--method", "uniform", "--density", "0.5"], "it belongs to ties, dare_linear, dare_ties, della, breadcrumbs"),
        (["--method", "della", "--density", "0.95", "--base", names[0]], "epsilon is at most 0.1"),
        (["--method", "breadcrumbs", "--density", "1", "--base", names[0]], "1.01 together; at most 1"),
        (["--method", "tsv", "--rank", "0", "--base", names[0]], "--rank: Input should be greater than 0"),
        (["--method", "uniform", "--base", names[0]], "it belongs to task_arithmetic"),
        (["--method", "weighted"], "needs --weights"),
        (["--method", "ties", "--density", "1", "--base", names[1]], "given twice"),
    ]:  # fmt: skip
        with pytest.raises(SystemExit):
            entry([names[1], names[2], "--out", str(tmp_path / "no"), *arguments])
        assert message in capsys.readouterr().err
        assert not (tmp_path / "no").exists()
