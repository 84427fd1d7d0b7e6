"""Is a nonsmooth equation regular at a solution? The hypothesis of implicit differentiation.

The nonsmooth implicit function theorem (Bolte, Le, Pauwels and Silveti-Falls, 2021) asks that
*every* matrix B of the convex set of generalized Jacobians in y of F(x, y) = 0 is invertible. It is
not enough that the one which automatic differentiation returns is, nor all the extreme ones: the
average of 1 and -1 is 0. Here the extreme ones are collected from Jacobians at points around the
solution, close enough that they differ only where F has a kink, and their convex hull is examined.
"""

import functools
import itertools
import math
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

_NUM_SAMPLES = 32  # Jacobians around the solution: meets all sides of up to three or four ties
_MOST_PRODUCTS = 4096  # combinations of row variants enumerated by the determinant certificate
_NUM_COMBINATIONS = 256  # random convex combinations tried when no certificate applies


class Regularity(NamedTuple):
    """What is known about the invertibility of the generalized Jacobians in y at a solution.

    Attributes:
        verdict: `"regular"` if every convex combination of the Jacobians found is proved
            invertible; `"singular"` if one was found that is not; `"undecided"` if neither.
        smallest_singular_value: of all matrices examined, relative to the largest singular value.
        num_jacobians: how many different Jacobians were found; 1 away from kinks.
        weights: convex weights of the singular combination, `(num_jacobians,)`; None unless the
            verdict is `"singular"`.
        jacobians: the Jacobians found, `(num_jacobians, m, m)`; the first is the one that
            automatic differentiation returns at the solution.
        reason: how the verdict was reached.
    """

    verdict: str
    smallest_singular_value: float
    num_jacobians: int
    weights: np.ndarray | None
    jacobians: np.ndarray
    reason: str

    def __str__(self) -> str:
        """The verdict in words."""
        return (
            f"{self.verdict}: {self.reason} ({self.num_jacobians} Jacobian"
            f"{'s' if self.num_jacobians > 1 else ''} around the solution, smallest relative "
            f"singular value {self.smallest_singular_value:.2g})"
        )


def check_regularity(
    residual: Callable[..., PyTree],
    solution: PyTree,
    *args: PyTree,
    radius: float | None = None,
    tolerance: float | None = None,
) -> Regularity:
    """Examine the convex hull of the generalized Jacobians in y of residual(y, *args) at y.

    A host-level function for concrete, small systems. Jacobians are taken at the solution and at 32
    fixed perturbations of y and of the arguments; ties nearer than `radius` count as ties. The hull
    is proved regular if all products of row variants have determinants of one sign (the determinant
    is affine in each row, so its extremes over the hull are met there), or if B_1^-1 B_i has a
    positive definite symmetric part for all i. It is proved singular by a segment between two
    Jacobians, B_1 + t (B_2 - B_1), on which B_1^-1 B_2 has a negative real eigenvalue.

    Args:
        residual: F(y, *args), of the structure and shapes of y.
        solution: y, a pytree of m numbers in all.
        *args: what the solution depends on: pytrees of arrays.
        radius: size of the perturbations, relative to 1 + max |entry|; default: the square root of
            the machine precision.
        tolerance: matrices whose smallest singular value is below `tolerance` times the largest
            count as singular; default: m times 8 machine precisions.

    Returns:
        A `Regularity`; `print` it for a sentence. The proof is about the Jacobians found: with more
        than a few simultaneous ties, some may have been missed.

    Raises:
        ValueError: if the residual has not as many numbers as y.

    Reference:
        Bolte, Le, Pauwels and Silveti-Falls, "Nonsmooth implicit differentiation for machine
        learning and optimization", NeurIPS 2021 (the invertibility condition).

    Example:
        The equation y + 2 |y| = x has slope 3 or -1 in y at 0: both invertible, their hull is not.

        >>> import jax.numpy as jnp
        >>> verdict = check_regularity(lambda y, x: y + 2 * jnp.abs(y) - x, 0.0, 0.0)
        >>> verdict.verdict, [round(float(w), 3) for w in sorted(verdict.weights)]
        ('singular', [0.25, 0.75])
    """
    solution = jax.tree.map(as_known_array, solution)
    eps = float(jnp.finfo(jnp.result_type(*jax.tree.leaves(solution))).eps)
    jacobians = _sample_jacobians(residual, solution, args, radius or math.sqrt(eps))
    if tolerance is None:
        tolerance = 8 * eps * jacobians.shape[1]
    if not np.isfinite(jacobians).all():
        distinct = jacobians[:1]
        return Regularity("singular", 0.0, 1, np.ones(1), distinct, "a Jacobian is not finite")
    return _judge(_distinct(jacobians, 100 * math.sqrt(eps)), tolerance)


def as_known_array(value: Any) -> Any:
    """A number or known array as an array that stays known while a derivative is being traced."""
    dtype = jnp.result_type(value)
    if not jnp.issubdtype(dtype, jnp.floating):
        return value
    return jax.device_put(np.asarray(value, dtype))


def _sample_jacobians(residual, solution, args, radius) -> np.ndarray:
    """Jacobians in y at the solution (first) and around it, `(1 + samples, m, m)`."""
    generator = np.random.default_rng(0)

    def around(value):
        if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            return jnp.broadcast_to(value, (1 + _NUM_SAMPLES, *jnp.shape(value)))
        shift = generator.uniform(-1, 1, (1 + _NUM_SAMPLES, *jnp.shape(value)))
        shift[0] = 0
        center = np.asarray(value, np.float64)
        scale = radius * (1 + np.abs(center).max(initial=0))
        return (center[None] + scale * shift).astype(jnp.result_type(value))

    if not isinstance(residual, Hashable):
        residual = functools.partial(residual)
    points = jax.tree.map(around, (solution, args))
    found = np.asarray(_jacobians_in_y(residual, *points)).astype(np.float64)
    if found.shape[1] != found.shape[2]:
        raise ValueError(
            f"the residual must have as many numbers as the solution: {found.shape[1]} equations "
            f"for {found.shape[2]} unknowns"
        )
    return found


@functools.partial(jax.jit, static_argnums=0)
def _jacobians_in_y(residual, solutions, args):
    """The dense Jacobian in y at each of several points, `(points, equations, unknowns)`."""

    def jacobian(solution, args):
        flat, unravel = ravel_pytree(solution)
        return jax.jacfwd(lambda y: ravel_pytree(residual(unravel(y), *args))[0])(flat)

    return jax.vmap(jacobian)(solutions, args)


def _distinct(jacobians: np.ndarray, tolerance: float) -> np.ndarray:
    """The Jacobians that differ by more than smooth variation over the radius."""
    return jacobians[_first_of_each(_in_row_units(jacobians), tolerance)]


def _in_row_units(jacobians: np.ndarray) -> np.ndarray:
    """Each row divided by its largest entry over all Jacobians.

    An equation times a number has the same kinks: a row is compared with itself, not with others.
    """
    return _scaled(jacobians, (0, 2))


def _scaled(jacobians: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    """Divided by the largest absolute entries over the axes."""
    largest = np.abs(jacobians).max(axes, keepdims=True)
    return jacobians / np.where(largest > 0, largest, 1)


def _first_of_each(candidates: np.ndarray, tolerance: float) -> list[int]:
    """Indices of the candidates that differ from all kept before them by more than `tolerance`."""
    flat = candidates.reshape(len(candidates), -1)
    kept = [0]
    for i in range(1, len(flat)):
        if np.abs(flat[kept] - flat[i][None]).max(1).min() > tolerance:
            kept.append(i)
    return kept


def _relative_smallest(matrix: np.ndarray) -> float:
    values = np.linalg.svd(matrix, compute_uv=False)
    return float(values[-1] / values[0]) if values[0] > 0 else 0.0


def _judge(jacobians: np.ndarray, tolerance: float) -> Regularity:
    count = len(jacobians)
    smallest = [_relative_smallest(j) for j in jacobians]
    worst = int(np.argmin(smallest))
    known = lambda verdict, weights, reason, value=smallest[worst]: Regularity(
        verdict, value, count, weights, jacobians, reason
    )
    if smallest[worst] <= tolerance:
        which = "the Jacobian at the solution" if worst == 0 else "a Jacobian beside the solution"
        return known("singular", np.eye(count)[worst], f"{which} is singular")
    if count == 1:
        return known("regular", None, "the only Jacobian is invertible")
    if _row_products_agree(jacobians, tolerance):
        return known("regular", None, "all products of row variants have determinants of one sign")
    if _has_positive_certificate(jacobians):
        return known("regular", None, "the Jacobians share a positive definite certificate")
    for i, j in itertools.combinations(range(count), 2):
        weight = _singular_weight(jacobians[i], jacobians[j])
        if weight is not None:
            weights = np.zeros(count)
            weights[[i, j]] = 1 - weight, weight
            value = _relative_smallest(np.tensordot(weights, jacobians, 1))
            return known("singular", weights, "a convex combination is singular", value)
    # No certificate either way: look for small singular values inside the hull.
    weights = np.random.default_rng(0).dirichlet(np.ones(count), _NUM_COMBINATIONS)
    inside = [_relative_smallest(np.tensordot(w, jacobians, 1)) for w in weights]
    return known(
        "undecided",
        None,
        f"none of {_NUM_COMBINATIONS} random convex combinations is singular, but no proof applies",
        min(*inside, *smallest),
    )


def _row_products_agree(jacobians: np.ndarray, tolerance: float) -> bool:
    """Whether all matrices made of one variant of each row have determinants of one sign."""
    units = _in_row_units(jacobians)
    rows = [jacobians[_first_of_each(units[:, i], 1e-6), i] for i in range(units.shape[1])]
    if math.prod(len(v) for v in rows) > _MOST_PRODUCTS:
        return False
    matrices = np.array([np.stack(choice) for choice in itertools.product(*rows)])
    signs = np.linalg.slogdet(matrices)[0]
    well = min(_relative_smallest(m) for m in matrices) > tolerance
    return bool(well and (signs == signs[0]).all())


def _has_positive_certificate(jacobians: np.ndarray) -> bool:
    """Whether some M gives every M B_i a positive definite symmetric part."""
    # Each unknown in its own unit: multiplying columns by numbers changes no invertibility.
    jacobians = _scaled(jacobians, (0, 1))
    middle = jacobians.mean(0)
    for candidate in (*jacobians, middle):
        if _relative_smallest(candidate) < 1e-12:
            continue
        products = np.linalg.solve(candidate[None], jacobians)
        if np.linalg.eigvalsh(products + products.transpose(0, 2, 1)).min() > 1e-9:
            return True
    return False


def _singular_weight(first: np.ndarray, second: np.ndarray) -> float | None:
    """A weight t in (0, 1) with (1 - t) first + t second singular, if there is one."""
    # (1 - t) I + t first^-1 second is singular iff first^-1 second has the eigenvalue -(1 - t) / t.
    values = np.linalg.eigvals(np.linalg.solve(first, second))
    real = values[np.abs(values.imag) <= 1e-9 * (1 + np.abs(values))].real
    negative = real[real < 0]
    return float(1 / (1 - negative[0])) if len(negative) else None
