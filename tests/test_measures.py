"""Measures: support, moments, laws, sampling under transformations, refusals."""

import functools
import gzip
import io
import struct
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from swjax import measures
from swjax.measures import Discrete, TruncatedMixture

NUM = 16_000
KEYS = jax.random.split(jax.random.key(7), 4)
WEIGHTED = Discrete(
    jnp.array([[0.0, 0.0], [9.0, 9.0], [1.0, 2.0], [-3.0, 1.0]]), jnp.array([0.5, 0.0, 0.2, 0.3])
)
LAWS = {
    "ball": measures.ball(3, 2.0),
    "ball1": measures.ball(1),
    "ring": measures.ring(2, 0.5, 1.5),
    "sphere": measures.ring(4, 1.0, 1.0),
    "cube": measures.cube(3, 0.5),
    "moons": measures.moons(0.2),
    "clean_moons": measures.moons(0.0),
    "swiss_roll": measures.swiss_roll(0.1),
    "clean_roll": measures.swiss_roll(0.0),
    "checkerboard": measures.checkerboard(4),
    "odd_board": measures.checkerboard(3),
    "mixture": measures.gaussian_mixture(2, 5, std=0.2, truncation=2.0),
    "mixture1": measures.gaussian_mixture(1, 2, std=0.3),
    "gaussian": measures.gaussian(3, 0.5),
    "skewed": measures.gaussian(2, covariance=np.array([[2.0, 0.6], [0.6, 0.5]])),
    "uniform_atoms": Discrete(jnp.array([[0.0, 1.0], [2.0, -1.0], [2.0, -1.0]])),
    "weighted_atoms": WEIGHTED,
    "indices": measures.indices(7),
    "moved_moons": measures.translate(measures.moons(0.2), jnp.array([1.0, -2.0])),
    "moved_atoms": measures.translate(WEIGHTED, jnp.array([0.5, 0.25])),
}
named = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


@functools.cache
def all_draws():
    """16000 points of every law: four keys at once, by one compiled function of the measures."""
    draws = jax.jit(
        lambda laws: {
            name: jax.vmap(lambda key, m=m: m.sample(key, NUM // 4))(KEYS)
            for name, m in laws.items()
        }
    )(LAWS)
    assert all(leaf.dtype == jnp.float32 for leaf in draws.values())
    return {name: np.asarray(leaf, np.float64).reshape(NUM, -1) for name, leaf in draws.items()}


def draw(law):
    (name,) = (name for name, known in LAWS.items() if known is law)
    return all_draws()[name]


@named
def test_samples_have_the_shape_the_type_and_the_support_announced(law):
    assert draw(law).shape == (NUM, law.dim)
    assert isinstance(law.radius, float)
    norms = np.linalg.norm(draw(law), axis=1)
    assert norms.max() <= law.radius * (1 + 1e-6)


@named
def test_sample_moments_are_the_exact_ones_within_five_standard_errors(law):
    points = draw(law)
    mean, covariance = np.asarray(law.mean, float), np.asarray(law.covariance, float)
    assert mean.shape == (law.dim,)
    assert covariance.shape == (law.dim, law.dim)
    error = points.std(axis=0) / np.sqrt(NUM)
    assert np.all(np.abs(points.mean(axis=0) - mean) <= 5 * error + 1e-6)
    centered = points - mean
    products = centered[:, :, None] * centered[:, None, :]
    error = products.std(axis=0) / np.sqrt(NUM)
    assert np.all(np.abs(products.mean(axis=0) - covariance) <= 5 * error + 1e-5)


@named
def test_the_reach_is_the_largest_distance_from_any_center(law):
    """The farthest of many samples comes close to the reach, and none lies beyond it."""
    for center in (np.zeros(law.dim), np.full(law.dim, 0.7), np.full(law.dim, -2.0)):
        farthest = np.linalg.norm(draw(law) - center, axis=1).max()
        assert farthest <= law.reach(center) + 1e-5
        if np.isfinite(law.radius):
            assert farthest >= 0.9 * law.reach(center)


@named
def test_measures_are_pytrees_that_hash_by_identity(law):
    leaves, structure = jax.tree.flatten(law)
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is type(law)
    assert again.dim == law.dim
    assert structure == jax.tree.structure(again)
    assert jax.tree.structure(jax.tree.map(lambda _: object(), law)) == structure
    assert hash(law) == hash(law) != hash(again)


def test_samples_are_the_same_compiled_or_not():
    for name in ("cube", "weighted_atoms"):
        eager = LAWS[name].sample(KEYS[1], NUM // 4)
        np.testing.assert_allclose(all_draws()[name][NUM // 4 : NUM // 2], eager, rtol=1e-6)


def test_only_finite_sums_of_atoms_are_discrete():
    discrete = {name for name, law in LAWS.items() if law.is_discrete}
    assert discrete == {"uniform_atoms", "weighted_atoms", "indices", "moved_atoms"}
    unbounded = {name for name, law in LAWS.items() if np.isinf(law.radius)}
    assert unbounded == {"gaussian", "skewed"}


@pytest.mark.parametrize(
    ("law", "value", "cdf"),
    [
        (LAWS["ball"], lambda x: np.linalg.norm(x, axis=1), lambda r: (r / 2) ** 3),
        (LAWS["ring"], lambda x: np.linalg.norm(x, axis=1), lambda r: (r**2 - 0.25) / 2),
        (
            LAWS["ring"],
            lambda x: np.arctan2(x[:, 1], x[:, 0]),
            stats.uniform(-np.pi, 2 * np.pi).cdf,
        ),
        (LAWS["cube"], lambda x: x[:, 1], stats.uniform(-0.5, 1).cdf),
        (LAWS["mixture1"], lambda x: np.abs(np.abs(x[:, 0]) - 1), None),
        (LAWS["gaussian"], lambda x: x[:, 2], stats.norm(scale=0.5).cdf),
        (LAWS["checkerboard"], lambda x: x[:, 0], stats.uniform(-1, 2).cdf),
        (LAWS["clean_roll"], lambda x: np.linalg.norm(x, axis=1), stats.uniform(1 / 3, 2 / 3).cdf),
    ],
)
def test_one_dimensional_marginals_follow_their_closed_form(law, value, cdf):
    if cdf is None:  # the half normal cut at three standard deviations
        whole = stats.norm.cdf(3) - 0.5
        cdf = lambda t: np.clip((stats.norm.cdf(t / 0.3) - 0.5) / whole, 0, 1)
    assert stats.kstest(value(draw(law)), cdf).pvalue > 1e-3


def test_the_dark_squares_and_only_these_are_hit():
    points = draw(LAWS["checkerboard"])
    cells = np.floor((points + 1) * 2).astype(int)
    assert np.all(cells.sum(axis=1) % 2 == 0)
    counts = np.unique(cells, axis=0, return_counts=True)[1]
    assert stats.chisquare(counts).pvalue > 1e-3
    assert len(counts) == 8


def test_moons_without_noise_lie_on_the_two_arcs():
    points = draw(LAWS["clean_moons"])
    upper = np.linalg.norm(points, axis=1)
    lower = np.linalg.norm(points - [1.0, 0.5], axis=1)
    assert np.all(np.minimum(np.abs(upper - 1), np.abs(lower - 1)) < 1e-6)


def test_the_moments_of_the_swiss_roll_are_its_integrals(x64):
    start, end = 1.5 * np.pi, 4.5 * np.pi
    curve = lambda t: t * np.array([np.cos(t), np.sin(t)]) / end
    average = lambda f: integrate.quad(f, start, end)[0] / (end - start)
    first = np.array([average(lambda t, i=i: curve(t)[i]) for i in range(2)])
    second = [
        [average(lambda t, i=i, j=j: curve(t)[i] * curve(t)[j]) for j in range(2)] for i in range(2)
    ]
    law = measures.swiss_roll(0.0)
    np.testing.assert_allclose(law.mean, first, atol=1e-12)
    np.testing.assert_allclose(law.covariance, second - np.outer(first, first), atol=1e-12)


@pytest.mark.parametrize("name", ["uniform_atoms", "weighted_atoms"])
def test_atoms_are_drawn_in_proportion_to_their_weights(name):
    law = LAWS[name]
    atoms, inverse = np.unique(np.asarray(law.points), axis=0, return_inverse=True)
    expected = np.bincount(inverse.ravel(), weights=np.asarray(law.weights))
    points = draw(law)
    counts = np.array([np.sum(np.all(points == atom, axis=1)) for atom in atoms])
    assert counts.sum() == NUM
    positive = expected > 0
    assert np.all(counts[~positive] == 0)
    expected = NUM * expected[positive] / expected.sum()
    assert stats.chisquare(counts[positive], expected).pvalue > 1e-3


def test_atoms_of_weight_zero_are_never_drawn_even_at_the_ends():
    law = Discrete(jnp.arange(4.0)[:, None], jnp.array([0.0, 0.5, 0.5, 0.0]))
    assert law.reach(np.zeros(1)) == 2.0
    points = jax.jit(lambda m, key: m.sample(key, 200_000))(law, jax.random.key(1))
    assert set(np.unique(points)) == {1.0, 2.0}


def test_equal_weights_given_are_recognized():
    points = jnp.arange(4.0)[:, None]
    given, implied = Discrete(points, jnp.full(4, 0.25)), Discrete(points)
    np.testing.assert_array_equal(
        given.sample(jax.random.key(0), 9), implied.sample(jax.random.key(0), 9)
    )
    np.testing.assert_array_equal(implied.weights, jnp.full(4, 0.25))
    assert given.cumulative is None


def test_weights_may_be_traced_and_batched():
    points = jnp.arange(2.0)[:, None]
    weights = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    sample = lambda w: Discrete(points, w).sample(jax.random.key(0), 20)
    batch = jax.jit(jax.vmap(sample))(weights)
    assert np.all(np.asarray(batch[0]) == 0)
    assert np.all(np.asarray(batch[1]) == 1)


@pytest.mark.parametrize("truncation", [1e-8, 1e-4, 1e-2, 1.0, 3.0])
def test_the_variance_of_a_truncated_gaussian_keeps_its_digits(x64, truncation):
    law = TruncatedMixture(Discrete(jnp.zeros((1, 1))), std=2.0, truncation=truncation)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    density = weights * np.exp(-((truncation * nodes) ** 2) / 2)
    expected = 4 * truncation**2 * (nodes**2 @ density) / density.sum()
    np.testing.assert_allclose(law.covariance, [[expected]], rtol=1e-12)


@pytest.mark.parametrize("setting", [{"std": -1.0}, {"truncation": 0.0}])
def test_a_mixture_needs_positive_numbers(setting):
    centers = measures.Discrete(jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match=next(iter(setting))):
        measures.TruncatedMixture(centers, **({"std": 1.0, "truncation": 3.0} | setting))


def test_draws_are_differentiable_in_the_atoms():
    law = Discrete(jnp.array([[1.0], [2.0]]))
    total = lambda points: jnp.sum(Discrete(points).sample(jax.random.key(0), 100))
    gradient = np.asarray(jax.grad(total)(law.points)).ravel()
    drawn = np.asarray(law.sample(jax.random.key(0), 100)).ravel()
    np.testing.assert_array_equal(gradient, [np.sum(drawn == 1), np.sum(drawn == 2)])


def test_translation_moves_every_draw_and_adds_up():
    shift = jnp.array([1.0, -2.0])
    np.testing.assert_allclose(
        draw(LAWS["moved_moons"]), draw(LAWS["moons"]) + np.asarray(shift), atol=1e-6
    )
    twice = measures.translate(LAWS["moved_moons"], shift)
    assert isinstance(twice.base, measures.Moons)
    np.testing.assert_array_equal(twice.shift, 2 * shift)
    assert measures.translate(LAWS["uniform_atoms"], shift).cumulative is None


def test_discretizing_draws_atoms_from_the_measure():
    law = measures.discretize(LAWS["cube"], KEYS[0], NUM // 4)
    np.testing.assert_allclose(law.points, draw(LAWS["cube"])[: NUM // 4], rtol=1e-6)
    assert law.is_discrete
    assert law.radius <= LAWS["cube"].radius


def test_digits_are_the_real_ones_between_minus_one_and_one():
    law = measures.digits()
    points = np.asarray(law.points)
    assert points.shape == (1797, 64)
    assert (points.min(), points.max()) == (-1, 1)
    assert law.is_discrete
    # The first digit is a zero: its top row in scikit-learn's gray levels.
    np.testing.assert_array_equal((points[0, :8] + 1) * 8, [0, 0, 5, 13, 9, 1, 0, 0])


def test_digits_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        measures.digits()


def test_doubles_stay_doubles(x64):
    laws = [make(2) for make in (measures.ball, measures.cube, measures.gaussian, measures.ring)]
    samples = jax.eval_shape(lambda key: [law.sample(key, 3) for law in laws], jax.random.key(0))
    assert all(sample.dtype == jnp.float64 for sample in samples)
    assert measures.digits().points.dtype == jnp.float64


def idx_bytes(values, code):
    header = struct.pack(">BBBB", 0, 0, code, values.ndim) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) * 10


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", ["npy", "npz", "idx"])
def test_images_are_read_and_scaled_from_every_format(tmp_path, kind, compress):
    plain = tmp_path / f"images.{kind}"
    if kind == "npy":
        np.save(plain, IMAGES)
    elif kind == "npz":
        np.savez(plain, train=IMAGES)
    else:
        plain.write_bytes(idx_bytes(IMAGES, 8))
    path = plain
    if compress:
        path = tmp_path / f"images.{kind}.gz"
        path.write_bytes(gzip.compress(plain.read_bytes()))
    law = measures.from_file(path)
    np.testing.assert_allclose(law.points, IMAGES.reshape(2, 12) / 127.5 - 1, rtol=1e-6)


def test_numbers_other_than_bytes_are_kept(tmp_path):
    values = np.array([[1.5, -2.0], [300.0, 0.0]])
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(measures.from_file(str(tmp_path / "a.npy")).points, values)
    (tmp_path / "b").write_bytes(idx_bytes(values.astype(np.float32), 13))
    np.testing.assert_array_equal(measures.from_file(tmp_path / "b").points, values)
    np.save(tmp_path / "c.npy", values.astype(np.int64))
    np.testing.assert_array_equal(
        measures.from_file(tmp_path / "c.npy").points, [[1, -2], [300, 0]]
    )


def test_an_archive_may_name_its_points_and_weights(tmp_path):
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.savez(tmp_path / "a.npz", points=values, weights=[0.25, 0.75], other=values + 1)
    law = measures.from_file(tmp_path / "a.npz")
    np.testing.assert_array_equal(law.points, values)
    np.testing.assert_array_equal(law.weights, [0.25, 0.75])
    np.testing.assert_array_equal(
        measures.from_file(tmp_path / "a.npz", array="other").points, values + 1
    )
    with pytest.raises(ValueError, match="one of these instead of 'nothing'"):
        measures.from_file(tmp_path / "a.npz", array="nothing")
    np.savez(tmp_path / "b.npz", train=values, test=values)
    with pytest.raises(ValueError, match=r"holds the arrays \['test', 'train'\]; say which"):
        measures.from_file(tmp_path / "b.npz")


def test_files_that_hold_no_points_are_refused(tmp_path):
    def refused(content, match, name="file", **kwargs):
        path = tmp_path / name
        if isinstance(content, np.ndarray):
            path = tmp_path / f"{name}.npy"
            np.save(path, content)
        else:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=match):
            measures.from_file(path, **kwargs)

    refused(b"hello, world", "not a file this function knows")
    refused(b"", "not a file this function knows")
    refused(np.arange(5.0), "Labels have one axis")
    refused(np.zeros((0, 3)), r"shape \(0, 3\)")
    refused(np.array([["a"]]), "real numbers")
    refused(np.array([[1.0, np.nan]]), "must be finite")
    refused(np.zeros((2, 2)), "not an .npz archive", array="a")
    refused(idx_bytes(IMAGES, 8)[:-1], "damaged or incomplete")
    refused(idx_bytes(IMAGES, 7), "header is not valid")
    refused(gzip.compress(idx_bytes(IMAGES, 8))[:-12], "damaged or incomplete")
    with pytest.raises(FileNotFoundError):
        measures.from_file(tmp_path / "nowhere.npy")


def archive(**members):
    """The bytes of a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def stored(write, *arrays, **named):
    """The bytes that `np.save` or `np.savez` writes."""
    buffer = io.BytesIO()
    write(buffer, *arrays, **named)
    return buffer.getvalue()


NPY = stored(np.save, np.ones((30, 4)))
BAD_FILES = {
    "an archive without arrays": (archive(points="hello"), r"\['points'\] is no array of NumPy"),
    "a torn header": (NPY[:20] + b"\xff" * 60 + NPY[80:], "damaged or incomplete"),
    "a short header": (NPY[:20], "damaged or incomplete"),
    "too few numbers": (NPY[:-50], "damaged or incomplete"),
    "an unknown version": (NPY[:6] + b"\x09\x00" + NPY[8:], "damaged or incomplete"),
    "objects": (
        stored(np.save, np.array([[None]], dtype=object)),
        "Python objects.*Save an array of numbers",
    ),
    "objects in an archive": (
        stored(np.savez, points=np.ones((1, 1)), weights=np.array([None], dtype=object)),
        "Python objects.*Save an array of numbers",
    ),
    "complex weights": (
        stored(np.savez, points=np.ones((2, 1)), weights=np.array([0.5 + 1j, 0.5])),
        "weights of type complex128; real numbers are expected",
    ),
    "words as weights": (
        stored(np.savez, points=np.ones((2, 1)), weights=np.array(["a", "b"])),
        "weights of type <U1; real numbers are expected",
    ),
    "numbers beyond single precision": (
        stored(np.save, np.full((3, 2), 1e300)),
        "up to 1e\\+300.*float32.*jax_enable_x64",
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_files_are_refused_by_name_with_the_fix(tmp_path, what):
    content, match = BAD_FILES[what]
    path = tmp_path / "some.file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s)some.file.*{match}"):
        measures.from_file(path)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: measures.ball(0), "dim must be at least 1"),
        (lambda: measures.ball(2, -1.0), "radius must be a positive number, got -1"),
        (lambda: measures.ball(2, float("nan")), "radius must be a positive number"),
        (lambda: measures.cube(2, 0.0), "half_width must be a positive number"),
        (lambda: measures.ring(2, 2.0, 1.0), "inner must be at most outer"),
        (lambda: measures.ring(2, -0.1, 1.0), "inner must be a number that is not negative"),
        (lambda: measures.moons(-0.1), "noise must be a number that is not negative"),
        (lambda: measures.checkerboard(1), "cells must be at least 2"),
        (lambda: measures.gaussian_mixture(2, 0), "components must be at least 1"),
        (lambda: measures.gaussian_mixture(2, truncation=0.0), "truncation must be a positive"),
        (lambda: measures.gaussian(2, 0.0), "std must be a positive number"),
        (lambda: measures.gaussian(2, covariance=np.eye(3)), r"shape \(2, 2\)"),
        (lambda: measures.gaussian(2, covariance=np.array([[1.0, 2.0], [0, 1]])), "symmetric"),
        (lambda: measures.gaussian(2, covariance=-np.eye(2)), "positive semidefinite"),
        (lambda: measures.gaussian(2, 2.0, covariance=np.eye(2)), "either std or covariance"),
        (lambda: measures.indices(0), "num must be at least 1"),
        (lambda: measures.ball(2).sample(jax.random.key(0), 0), "n must be at least 1"),
        (lambda: Discrete(jnp.zeros(3)), r"line need shape \(N, 1\)"),
        (lambda: Discrete(jnp.zeros((0, 2))), "both at least 1"),
        (lambda: Discrete(jnp.array([[jnp.inf]])), "must be finite"),
        (lambda: Discrete(jnp.zeros((2, 1)), jnp.ones(3) / 3), r"shape \(2,\)"),
        (lambda: Discrete(jnp.zeros((2, 1)), jnp.ones(2)), "sum to 1, got 2; divide"),
        (lambda: Discrete(jnp.zeros((2, 1)), jnp.array([-0.5, 1.5])), "must not be negative"),
        (lambda: Discrete(jnp.zeros((2, 1)), jnp.array([jnp.nan, 1.0])), "must not be negative"),
        (lambda: measures.translate(measures.ball(2), jnp.zeros(3)), r"shape \(2,\)"),
        (lambda: measures.translate(measures.ball(1), jnp.array([jnp.nan])), "finite"),
        (lambda: measures.discretize(measures.ball(2), jax.random.key(0), 0), "num_atoms"),
    ],
)
def test_a_measure_that_makes_no_sense_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_integer_points_are_refused():
    with pytest.raises(TypeError, match="int32"):
        Discrete(jnp.zeros((2, 2), int))
    with pytest.raises(TypeError, match="int32"):
        measures.translate(measures.ball(2), jnp.zeros(2, int))
