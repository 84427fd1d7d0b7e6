"""Unit vectors: uniform in law, unbiased means, and smaller errors where promised."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.stats import qmc
from script_runs import run_and_see_figure

from swjax import directions
from swjax.directions import (
    equispaced_directions,
    fibonacci_directions,
    sample_directions,
    sample_equispaced_directions,
    sample_fibonacci_directions,
    sample_orthogonal_directions,
    sample_quasi_directions,
)
from swjax.directions._quasi import _generators, scrambled_sobol
from swjax.exact import sw2_sq_exact_2d, sw2_sq_two_points

ANY_DIM = {
    "independent": sample_directions,
    "orthogonal": sample_orthogonal_directions,
    "quasi": sample_quasi_directions,
}


def in_plane(key, num, dim):
    assert dim == 2
    return sample_equispaced_directions(key, num)


def in_space(key, num, dim):
    assert dim == 3
    return sample_fibonacci_directions(key, num)


CASES = [("independent", 3), ("orthogonal", 6), ("quasi", 2), ("quasi", 3), ("quasi", 6)]
CASES += [("plane", 2), ("space", 3)]
LINE = [(name, 1) for name in ANY_DIM]
SAMPLERS = {**ANY_DIM, "plane": in_plane, "space": in_space}


@functools.cache
def all_rows():
    """128 directions for each of 2000 keys, from every sampler, by one compiled function."""
    draw = lambda key: {case: SAMPLERS[case[0]](key, 128, case[1]) for case in CASES + LINE}
    rows = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(11), 2000))
    assert all(leaf.dtype == jnp.float32 for leaf in rows.values())
    return {case: np.asarray(leaf, np.float64) for case, leaf in rows.items()}


def many(name, dim):
    return all_rows()[name, dim]


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_rows_have_unit_length(name, dim):
    rows = many(name, dim)
    assert rows.shape == (2000, 128, dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=2), 1, rtol=2e-6)


def test_rows_are_double_when_doubles_are_on(x64):
    for name, dim in CASES:
        sample = lambda key, n=name, d=dim: SAMPLERS[n](key, 128, d)
        assert jax.eval_shape(sample, jax.random.key(0)).dtype == jnp.float64
    rows = sample_quasi_directions(jax.random.key(1), 128, 6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-14)
    assert equispaced_directions(3).dtype == jnp.float64
    assert fibonacci_directions(3).dtype == jnp.float64


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_every_row_is_uniform_on_the_sphere(name, dim):
    """A coordinate of a uniform direction is 2 B - 1 with B ~ Beta((d - 1) / 2, (d - 1) / 2)."""
    law = stats.beta((dim - 1) / 2, (dim - 1) / 2, loc=-1, scale=2)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(dim, dim)))[0]
    for row in (0, 1, 77, 127):
        values = many(name, dim)[:, row]
        for column in (values[:, 0], (values @ turn)[:, -1]):
            assert stats.kstest(column, law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", ANY_DIM)
def test_directions_on_the_line_are_signs(name):
    signs = many(name, 1)
    assert set(signs.ravel()) == {-1.0, 1.0}
    assert np.all(np.abs(signs.mean(axis=0)) < 5 / np.sqrt(2000))


def two_points(dim):
    rng = np.random.default_rng(dim)
    return rng.normal(size=(2, dim)), rng.normal(size=(2, dim)) * np.linspace(0.5, 2, dim)


def slice_costs(x, y, rows):
    """W_2^2 along each row, shape of `rows` without the last axis."""
    gaps = np.sort(rows @ x.T, axis=-1) - np.sort(rows @ y.T, axis=-1)
    return np.mean(gaps**2, axis=-1)


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_means_over_directions_are_unbiased(name, dim, x64):
    x, y = two_points(dim)
    means = slice_costs(x, y, many(name, dim)).mean(axis=1)
    error = means.std() / np.sqrt(len(means))
    assert abs(means.mean() - float(sw2_sq_two_points(x, y))) <= 5 * error + 1e-9


def test_structured_directions_err_less_than_independent_ones():
    """Measured ratios, with room: in the plane and in space the grids win by far."""
    rng = np.random.default_rng(0)
    for name, dim, gain in [
        ("orthogonal", 6, 1.5),
        ("quasi", 2, 15),
        ("quasi", 3, 4),
        ("quasi", 6, 1.5),
        ("plane", 2, 100),
        ("space", 3, 12),
    ]:
        x, y = two_points(dim)
        independent = rng.normal(size=(2000, 128, dim))
        independent /= np.linalg.norm(independent, axis=2, keepdims=True)
        error = slice_costs(x, y, independent).mean(axis=1).std()
        ratio = error / slice_costs(x, y, many(name, dim)).mean(axis=1).std()
        assert ratio > gain, (name, dim, ratio)


def test_orthogonal_blocks_are_orthonormal():
    few = np.asarray(sample_orthogonal_directions(jax.random.key(2), 3, 5), np.float64)
    for rows in (few, many("orthogonal", 6)[0]):
        for start in range(0, len(rows), rows.shape[1]):
            block = rows[start : start + rows.shape[1]]
            np.testing.assert_allclose(block @ block.T, np.eye(len(block)), atol=2e-6)


def test_orthogonal_blocks_have_the_law_of_haar():
    """Both signs of the determinant, and E tr(Q)^2 = 1, E tr(Q^2) = 1, E tr(Q)^4 = 3 on O(d)."""
    blocks = many("orthogonal", 6)[:, 6:12]
    assert abs(np.mean(np.linalg.det(blocks) > 0) - 0.5) < 5 * 0.5 / np.sqrt(2000)
    traces = np.trace(blocks, axis1=1, axis2=2)
    squares = np.trace(blocks @ blocks, axis1=1, axis2=2)
    for values, expected in ((traces, 0), (traces**2, 1), (squares, 1), (traces**4, 3)):
        assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(2000)


@pytest.mark.parametrize("dim", [1, 3, 40])
def test_the_sobol_generators_are_those_of_scipy(dim):
    points = qmc.Sobol(dim, scramble=False, bits=32).random(64)
    step = np.arange(64)
    gray, generators = step ^ (step >> 1), _generators(dim, 6)
    ours = np.zeros((64, dim), np.uint32)
    for k in range(6):
        ours ^= np.where(((gray >> k) & 1 == 1)[:, None], generators[k], np.uint32(0))
    np.testing.assert_array_equal(ours / 2.0**32, points)


def test_scrambling_keeps_the_balance_of_the_sequence():
    points = np.asarray(jax.jit(scrambled_sobol, static_argnums=(1, 2))(jax.random.key(5), 64, 30))
    # One point in each of 64 intervals of every coordinate ...
    for cells in (points >> 26).T:
        np.testing.assert_array_equal(np.sort(cells), np.arange(64))
    # ... and the first two are a (0, 6, 2)-net: one point in each box of area 1/64.
    wide = points.astype(np.uint64)
    for m in range(7):
        boxes = np.stack([wide[:, 0] >> (32 - m), wide[:, 1] >> (26 + m)], axis=1)
        assert len(np.unique(boxes, axis=0)) == 64


def test_quasi_directions_work_for_any_number_and_in_high_dimension():
    for num, dim in ((1, 2), (7, 784)):
        rows = np.asarray(sample_quasi_directions(jax.random.key(0), num, dim))
        assert rows.shape == (num, dim)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    with pytest.raises(ValueError, match="at most 21201"):
        sample_quasi_directions(jax.random.key(0), 2, 30_000)
    with pytest.raises(ValueError, match=r"at most 2\^31"):
        sample_quasi_directions(jax.random.key(0), 2**31 + 1, 2)


def test_quasi_directions_in_the_plane_meet_every_sector_once():
    rows = many("quasi", 2)[0]
    rows = rows * np.sign(rows[:, 1:])
    sectors = np.floor(np.arctan2(rows[:, 1], rows[:, 0]) * 128 / np.pi)
    assert len(np.unique(sectors)) == 128


def test_sampling_takes_both_kinds_of_key():
    for sample in (sample_directions, sample_quasi_directions):
        old = sample(jax.random.PRNGKey(0), 4, 1)
        np.testing.assert_array_equal(old, sample(jax.random.key(0), 4, 1))


def test_equispaced_directions_cover_the_half_circle_evenly():
    rows = np.asarray(equispaced_directions(8), np.float64)
    angles = np.arctan2(rows[:, 1], rows[:, 0])
    np.testing.assert_allclose(angles, (np.arange(8) + 0.5) * np.pi / 8, rtol=1e-6)
    turned = many("plane", 2)[0]
    angles = np.arctan2(turned[:, 1], turned[:, 0])
    np.testing.assert_allclose(np.diff(np.unwrap(angles)), np.pi / 128, atol=1e-6)


def test_equispaced_directions_integrate_low_degrees_exactly(x64):
    for num in (2, 3, 5):
        theta = np.asarray(equispaced_directions(num))
        angles = 2 * np.arctan2(theta[:, 1], theta[:, 0])
        for degree in range(1, num):
            assert abs(np.mean(np.exp(1j * degree * angles))) < 1e-14


def test_equispaced_directions_approach_the_planar_value_quadratically(x64):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 7, 2))
    truth = float(sw2_sq_exact_2d(x, y))
    for num in (64, 256, 1024):
        value = slice_costs(x, y, np.asarray(equispaced_directions(num))).mean()
        assert abs(value - truth) < 10 / num**2


def test_fibonacci_directions_are_spread_evenly():
    rows = np.asarray(fibonacci_directions(1000), np.float64)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(rows.T @ rows / 1000, np.eye(3) / 3, atol=1e-3)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=2e-3)
    cosines = rows @ rows.T - 2 * np.eye(1000)
    # On average 4 pi / 1000 of area each: neighbors at about 0.11, none closer than half of that.
    assert np.all(np.arccos(cosines.max(axis=1)) > 0.055)


@pytest.mark.parametrize("num", [0, -3])
def test_a_count_below_one_is_refused(num):
    key = jax.random.key(0)
    for sample in ANY_DIM.values():
        with pytest.raises(ValueError, match=f"num must be at least 1, got {num}"):
            sample(key, num, 2)
        with pytest.raises(ValueError, match="dim must be at least 1"):
            sample(key, 2, num)
    for make in (
        equispaced_directions,
        fibonacci_directions,
        lambda num: sample_equispaced_directions(key, num),
        lambda num: sample_fibonacci_directions(key, num),
    ):
        with pytest.raises(ValueError, match="num must be at least 1"):
            make(num)


def test_the_counts_must_be_static():
    from swjax._checks import as_count

    assert as_count("num", np.int64(3)) == 3
    with pytest.raises(TypeError, match="mark it as a static argument"):
        jax.jit(lambda num: as_count("num", num))(3)
    with pytest.raises(TypeError, match=r"num must be a Python integer.*got 2\.5"):
        as_count("num", 2.5)


def test_every_sampler_is_listed_in_the_module():
    for name in vars(directions):
        if name.endswith("_directions"):
            assert f"`{name}`" in directions.__doc__


@pytest.mark.slow
def test_the_script_of_the_claim_runs(tmp_path):
    options = "--most", "64", "--repetitions", "16"
    printed = run_and_see_figure("even_directions_err_less", tmp_path, *options)
    assert printed.count("of the value at 64") == 14  # 5 samplers, but no grid in d = 10
