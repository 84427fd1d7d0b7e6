"""The expected loss of a minibatch in the plane, integrated exactly over the angle.

The order of projected points changes only at the angles orthogonal to the difference of two of
them. On an arc `[l, h]` between such angles the expected order statistics are linear in the
direction, `E[t_(k:n)] = theta . V_k` and `E[y_(k:n)] = theta . U_k` with vectors `V_k` and `U_k` of
the plane, so that the integral of their product over the arc is `V_k^T M U_k` with
`M = int_l^h theta theta^T dphi`.

The target never changes: its arcs, the `U_k`, and the integrals of `theta theta^T U_k` from 0 to
each of its angles are computed once. An evaluation then runs over the arcs of the outputs alone.
"""

from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from swjax.plane import arcs, crossing_angles, integrate_over_arcs, middle_directions
from swjax.population.order_statistics import bernstein, expected_order_statistics, order_weights
from swjax.rows import put_rows
from swjax.slicing import project
from swjax.sorting import argsort

# Numbers kept at a time: in the tables of the target, and in one chunk of arcs.
_TABLE_LIMIT = 2**26
_CHUNK_SIZE = 2**18


class Plane(NamedTuple):
    """The target in the plane, and how its arcs act on the sorted outputs.

    Attributes:
        weights: weights of the outputs, `(N,)`.
        target_sq: `sum_s b_s |y_s|^2`, scalar.
        breaks: angles `0 = phi_0 <= ... <= phi_E = pi` that bound the target's arcs, `(E + 1,)`.
        features: on each arc, the vectors to be combined, `(E, K, 2)`.
        integrals: `int_0^{phi_e} theta theta^T features`, `(E + 1, K, 2)`.
        mix: `(N, K)` matrix from features to the sorted outputs, where the weights are equal;
            `None` where they differ: the features are then partial sums over k of `U_k / n`.
    """

    weights: Float[Array, "N"]
    target_sq: Float[Array, ""]
    breaks: Float[Array, "arcs_plus_1"]
    features: Float[Array, "arcs K 2"]
    integrals: Float[Array, "arcs_plus_1 K 2"]
    mix: Float[Array, "N K"] | None


def prepare_plane(
    source_weights: np.ndarray, target_points: np.ndarray, target_weights: np.ndarray, n: int
) -> Plane:
    """Compute in float64 what depends on the target only; store it in the default float type."""
    num = target_points.shape[0]
    num_features = n + 1 if np.ptp(source_weights) else min(n, source_weights.shape[0])
    size = 2 * num_features * num * (num - 1)
    if size > _TABLE_LIMIT:
        raise ValueError(
            f"The exact integral over the angle with {num} target points and batch_size {n} needs "
            f"{size} stored numbers, more than {_TABLE_LIMIT}. Pass directions="
            "equispaced_directions(num) to integrate numerically, or use fewer target points."
        )
    low, high = arcs(_crossing_angles_of_pairs(target_points, np), np)
    keys = middle_directions(low, high, np) @ target_points.T
    features = expected_order_statistics(keys, target_points, target_weights, n) / n
    mix = None
    if np.ptp(source_weights):
        features = np.cumsum(np.pad(features, ((0, 0), (1, 0), (0, 0))), axis=1)
    else:
        mix = order_weights(source_weights, n).T
        if mix.shape[0] < n:
            features, mix = mix @ features, np.eye(mix.shape[0])
    pieces = integrate_over_arcs(low[:, None], high[:, None], features, np)
    integrals = np.cumsum(np.pad(pieces, ((1, 0), (0, 0), (0, 0))), axis=0)
    return Plane(
        weights=jnp.asarray(source_weights, float),
        target_sq=jnp.asarray(target_weights @ np.sum(target_points**2, axis=1), float),
        breaks=jnp.asarray(np.append(low, np.pi), float),
        features=jnp.asarray(features, float),
        integrals=jnp.asarray(integrals, float),
        mix=None if mix is None else jnp.asarray(mix, float),
    )


@jax.custom_jvp
def plane_loss(plane: Plane, outputs: Float[Array, "N 2"]) -> Float[Array, ""]:
    """The expected loss, averaged over all directions of the plane; differentiable in the outputs.

    The first derivative is the almost-everywhere gradient. Second derivatives are those of the
    integral: they know that the angles at which the order changes move with the outputs.
    """
    return _loss_and_gradient(plane, outputs)[0]


@plane_loss.defjvp
def _plane_loss_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    plane, outputs = primals
    value, gradient = _loss_and_gradient(plane, outputs)
    return value, jnp.vdot(gradient, tangents[1])


def _loss_and_gradient(plane: Plane, outputs: Array) -> tuple[Array, Array]:
    """`(sum a |t|^2 + sum b |y|^2) / 2 - (2/pi) sum_i t_i . c_i` with `c_i` the paired target."""
    paired = _paired_target(plane, outputs) * (2 / jnp.pi)
    weighted = plane.weights[:, None] * outputs
    value = (jnp.vdot(weighted, outputs) + plane.target_sq) / 2 - jnp.vdot(paired, outputs)
    return value, weighted - paired


def _paired_target(plane: Plane, outputs: Array) -> Array:
    """`int_0^pi theta theta^T beta_{rank of i at phi}(phi) dphi` for every output i, `(N, 2)`."""
    low, high = arcs(_crossing_angles_of_pairs(outputs, jnp))
    size = max(1, min(_CHUNK_SIZE // max(2 * outputs.size, plane.features[0].size), low.size))
    padding = (0, -low.size % size)
    low, high = (jnp.pad(ends, padding, constant_values=np.pi) for ends in (low, high))

    def add_chunk(total: Array, arcs: tuple[Array, Array]) -> tuple[Array, None]:
        low, high = arcs
        directions = middle_directions(lax.stop_gradient(low), lax.stop_gradient(high))
        order = argsort(project(lax.stop_gradient(outputs), directions))
        mass = _sorted_mass(plane, _features_over(plane, low, high), order)
        return total + _sum_over_arcs(order, mass), None

    chunks = (low.reshape(-1, size), high.reshape(-1, size))
    return lax.scan(add_chunk, jnp.zeros_like(outputs), chunks)[0]


def _features_over(plane: Plane, low: Array, high: Array) -> Array:
    """`int_low^high theta theta^T features(phi) dphi` on arcs of the outputs, `(arcs, K, 2)`."""
    last = plane.features.shape[0] - 1
    first_arc = jnp.clip(jnp.searchsorted(plane.breaks, low, side="right") - 1, 0, last)
    last_arc = jnp.clip(jnp.searchsorted(plane.breaks, high, side="right") - 1, 0, last)
    one_arc = first_arc == last_arc
    first_end = jnp.where(one_arc, high, plane.breaks[first_arc + 1])
    last_start = jnp.where(one_arc, high, plane.breaks[last_arc])
    between = plane.integrals[last_arc] - plane.integrals[first_arc + 1]
    over = lambda low, high, features: integrate_over_arcs(low[:, None], high[:, None], features)
    return (
        over(low, first_end, plane.features[first_arc])
        + jnp.where(one_arc[:, None, None], 0, between)
        + over(last_start, high, plane.features[last_arc])
    )


def _sorted_mass(plane: Plane, features: Array, order: Array) -> Array:
    """What each arc pairs with the r-th smallest output, `(N, arcs, 2)`."""
    if plane.mix is not None:
        return jnp.einsum("rk,eki->rei", plane.mix, features, precision=lax.Precision.HIGHEST)
    levels = jnp.cumsum(plane.weights[order], axis=0)
    levels = jnp.clip(levels / levels[-1:], 0, 1)[..., None]
    return jnp.diff(bernstein(jnp.moveaxis(features, 1, 0)[:, None], levels), axis=0, prepend=0)


def _sum_over_arcs(order: Array, mass: Array) -> Array:
    """Give the mass of each rank to the output that holds it, and add over the arcs: `(N, 2)`."""
    own = [put_rows(order, mass[..., axis]).sum(axis=1) for axis in (0, 1)]
    return jnp.stack(own, axis=1)


def _crossing_angles_of_pairs(points: Any, xp: ModuleType) -> Any:
    """The angles at which two of the points have the same projection, pair by pair."""
    i, j = np.triu_indices(points.shape[0], 1)
    return crossing_angles(points[j] - points[i], xp)
