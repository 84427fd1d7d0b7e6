"""Every row of the tables for people who come from POT or OTT, executed on both sides.

The rows are read from the docstrings, so that one that is added without a check fails here.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest

import swjax
from swjax import plans, sliced

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
N, M, DIM, NUM = 12, 9, 3, 7
X, Y = RNG.normal(size=(N, DIM)), 0.5 * RNG.normal(size=(M, DIM)) + 0.4
A, B = (w / w.sum() for w in (RNG.uniform(0.2, 1, N), RNG.uniform(0.2, 1, M)))
THETA = RNG.normal(size=(NUM, DIM))
THETA /= np.linalg.norm(THETA, axis=1, keepdims=True)
W = RNG.uniform(size=NUM)
U, V = X[:, 0], Y[:, 0]
SQ_GAPS = np.sum((X[:, None] - Y[None]) ** 2, axis=2)
KEY = jax.random.key(0)


def rows_of(text):
    """The first cells of the rows of all tables in a docstring, each as one line."""
    found, rule, width = [], 0, 0
    for line in text.splitlines():
        if line.startswith("==="):
            rule, width = rule + 1, line.index(" ")
        elif rule % 3 == 2 and line.strip():  # after the rule below the heading
            found += [line[:width].strip()] if line[:width].strip() else []
    return found


# --- the sides ------------------------------------------------------------------------------------


def pot(*weights, p=2, **options):
    return ot.sliced_wasserstein_distance(X, Y, *weights, p=p, projections=THETA.T, **options)


def ott(**options):
    from ott.tools import sliced as sliced_by_ott

    options = {"proj_fn": lambda points: points @ THETA.T, **options}
    return sliced_by_ott.sliced_wasserstein(*map(jnp.asarray, (X, Y, A, B)), **options)


def cost(p):
    from ott.geometry.costs import PNormP

    return PNormP(p)


same = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-13)


def same_up_to_constant(ours, theirs):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    same(ours - ours[..., :1], theirs - theirs[..., :1])


def features(cloud):
    return jnp.tanh(cloud @ THETA.T)


# --- which SW do you mean -------------------------------------------------------------------------


def mean_of_squares():
    same(swjax.sw2_sq(X, Y, THETA, A, B), ott()[0])


def mean_of_powers():
    for p in (1.0, 1.5, 3.0):
        same(swjax.sw_pow(X, Y, THETA, A, B, p=p) / p, ott(cost_fn=cost(p))[0])


def root_of_mean():
    for p in (1, 2, 3):
        same(swjax.sw_distance(X, Y, THETA, A, B, p=p), pot(A, B, p=p))


def root_of_sum():
    """The same up to the factor n^(1/p), for clouds of n points and a sum in place of the mean."""
    x, y = np.sort(X @ THETA.T, axis=0), np.sort(X**2 @ THETA.T, axis=0)
    summed = np.mean(np.sum(np.abs(x - y) ** 3, axis=0)) ** (1 / 3)
    same((N * swjax.sw_pow(X, X**2, THETA, p=3)) ** (1 / 3), summed)


# --- POT ------------------------------------------------------------------------------------------


def random_directions():
    """Both estimate the same number, each from 4000 directions of its own."""
    theirs = ot.sliced_wasserstein_distance(X, Y, n_projections=4000, seed=1)
    value, error = swjax.sw_distance_estimate(X, Y, swjax.sample_directions(KEY, 4000, DIM))
    assert abs(theirs - value) < 4 * 2**0.5 * error


def costs_of_directions():
    costs = swjax.sw_pow_per_direction(X, Y, THETA, A, B, p=3)
    same(costs, pot(A, B, p=3, log=True)[1]["projected_emds"])


def largest_direction():
    theirs = ot.max_sliced_wasserstein_distance(X, Y, n_projections=500, seed=1)
    assert swjax.max_sw2_sq(X, Y, KEY).value >= theirs**2


def on_the_line():
    for p in (1, 2, 3):
        same(swjax.wp_pow_1d(U, V, A, B, p=p), ot.wasserstein_1d(U, V, A, B, p=p))


def duals_on_the_line():
    f, g, value = ot.emd_1d_dual_backprop(*map(jnp.asarray, (U, V, A, B)), p=2)
    slopes = jax.grad(swjax.wp_pow_1d, argnums=(2, 3))(U, V, jnp.asarray(A), jnp.asarray(B))
    ours = swjax.sliced_potentials(U[:, None], V[:, None], np.ones((1, 1)), A, B)
    same(swjax.wp_pow_1d(U, V, A, B), value)
    for ours_of, slope, theirs in zip(ours, slopes, (f, g), strict=True):
        same_up_to_constant(ours_of[0], theirs)
        same_up_to_constant(slope, theirs)


# --- OTT ------------------------------------------------------------------------------------------


def costs_by_ott():
    same(swjax.sw2_sq_per_direction(X, Y, THETA, A, B), ott()[1].ot_costs)


def weighted_mean():
    costs = swjax.sw2_sq_per_direction(X, Y, THETA, A, B)
    same(jnp.average(costs, weights=W), ott(weights=jnp.asarray(W))[0])


def any_features():
    same(swjax.generalized_sw_pow(X, Y, features, A, B, p=2), ott(proj_fn=features)[0])


def transports():
    theirs = ott(return_transport=True)[1].transport_matrices.todense()
    same(swjax.sliced_plans(X, Y, THETA, A, B).to_bcoo().todense(), theirs)


def duals():
    theirs = ott(return_dual_variables=True)[1]
    f, g = swjax.sliced_potentials(X, Y, THETA, A, B)
    same_up_to_constant(f, theirs.dual_a)
    same_up_to_constant(g, theirs.dual_b)


# --- plans ----------------------------------------------------------------------------------------


def dense(plan):
    matrix = np.zeros((N, M))
    np.add.at(matrix, (np.asarray(plan.rows), np.asarray(plan.cols)), np.asarray(plan.data))
    return matrix


def plans_of_directions():
    """For weights and unequal sizes the costs that POT 0.9.7 returns are not those of its plans."""
    theirs, costs = ot.sliced.sliced_plans(
        X, Y, A, B, metric="sqeuclidean", projections=THETA.T, p=2
    )
    ours = swjax.sliced_plans(X, Y, THETA, A, B)
    theirs = np.stack([dense(plan) for plan in theirs])
    same(ours.dense(), theirs)
    same(ours.costs(X, Y), np.sum(theirs * SQ_GAPS, axis=(1, 2)))
    assert np.all(np.abs(ours.costs(X, Y) - costs) > 0.01)


def best_plan():
    theirs, least = ot.min_sliced_transport_plan(X[:M], Y, projections=THETA.T)
    ours = swjax.sliced_plans(X[:M], Y, THETA)
    costs = ours.costs(X[:M], Y)
    same(ours.dense()[costs.argmin()], theirs)
    same(costs.min(), least)


def expected_plan():
    theirs, _ = ot.expected_sliced_plan(X, Y, A, B, projections=THETA.T)
    same(swjax.expected_sliced_plan(X, Y, THETA, A, B), theirs)


def expected_plan_at_a_temperature():
    theirs, _ = ot.expected_sliced_plan(X[:M], Y, projections=THETA.T, beta=2.0)
    ours = swjax.sliced_plans(X[:M], Y, THETA)
    same(ours.mean(jax.nn.softmax(-2.0 * ours.costs(X[:M], Y))), theirs)


# The first cell of every row, in the order of the tables.
CHECKS = {
    "mean of W_2^2(l)": mean_of_squares,
    "mean of W_p^p(l)": mean_of_powers,
    "p-th root of that mean": root_of_mean,
    "root of n times the mean": root_of_sum,
    "``(x, y, n_projections=L, seed=s)``": random_directions,
    "``(x, y, a, b, p=p, projections=theta.T)`` (columns)": root_of_mean,
    '``(..., log=True)[1]["projected_emds"]``': costs_of_directions,
    "``ot.max_sliced_wasserstein_distance(...)``": largest_direction,
    "``ot.wasserstein_1d(u, v, a, b, p=p)``": on_the_line,
    "``ot.emd_1d_dual_backprop(u, v, a, b, p=p)``": duals_on_the_line,
    "``ot.sliced.sliced_plans(...)`` and the like": plans_of_directions,
    "``(x, y, a, b, proj_fn=lambda x: x @ theta.T)[0]``": mean_of_squares,
    "``(..., cost_fn=PNormP(p))[0]``": mean_of_powers,
    "``(...)[1].ot_costs``": costs_by_ott,
    "``(..., weights=w)[0]``": weighted_mean,
    "``(..., proj_fn=features)[0]``, any features": any_features,
    "``(..., return_transport=True)``": transports,
    "``(..., return_dual_variables=True)``": duals,
    "``ot.sliced.sliced_plans(x, y, a, b, ...)``": plans_of_directions,
    "``ot.min_sliced_transport_plan(...)``": best_plan,
    "``ot.expected_sliced_plan(...)[0]``": expected_plan,
    "the same with ``beta=beta``": expected_plan_at_a_temperature,
    "OTT: ``return_transport=True``": transports,
    "OTT: ``return_dual_variables=True``": duals,
}


def test_every_row_of_the_tables_has_a_check():
    assert rows_of(sliced.__doc__) + rows_of(plans.__doc__) == list(CHECKS)


@pytest.mark.parametrize("row", CHECKS)
def test_both_sides_of_the_row_agree(row, x64):
    CHECKS[row]()
