"""A critical set: its points, what is measured against it, and what theory predicts of that."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Array, PyTree

# How near the sphere of its ball a critical point counts as lying on it.
ON_SPHERE = 1e-5


class Prediction(NamedTuple):
    """What theory says about a distance in the long run: the mean of some function of it.

    Attributes:
        name: what is known: ``mean square``, ``mean``, or a combination of moments in words.
        quantity: (distances, step size) -> the function whose mean is known, entry by entry.
        value: step size -> that mean.
        is_exact: at every step size; else it is the first term in the step size.
        formula: in words.
        error: relative standard error of the value itself, where it comes from draws.
    """

    name: str
    quantity: Callable[[np.ndarray, float], np.ndarray]
    value: Callable[[float], float]
    is_exact: bool
    formula: str
    error: float = 0.0


def square(distances: np.ndarray, _: float) -> np.ndarray:
    """The quantity of a mean square."""
    return distances**2


def itself(distances: np.ndarray, _: float) -> np.ndarray:
    """The quantity of a mean."""
    return distances


@dataclass(frozen=True)
class CriticalSet:
    """The critical set of one arm.

    Attributes:
        observe: params -> numbers by name, to be compiled; see `parts`.
        parts: the names: ``distance``, and ``tangential`` and ``radial`` where the set lies on the
            sphere of the ball; or ``residual``.
        points: the set, (m, P), or None where it is not known.
        predictions: by part.
        conclude: (params, key) -> numbers by name about a last iterate, or None; see `results`.
    """

    observe: Callable[[PyTree], dict[str, Array]]
    parts: tuple[str, ...]
    points: np.ndarray | None = None
    predictions: dict[str, Prediction] = field(default_factory=dict)
    conclude: Callable[[PyTree, Array], dict[str, Array]] | None = None


def known_set(
    points: np.ndarray, radius: float | None, predictions: dict[str, Prediction] | None = None
) -> CriticalSet:
    """The set of known points, with the parts along and across the sphere where it lies on it."""
    norms = np.linalg.norm(points, axis=1)
    on_sphere = radius is not None and bool((norms >= radius * (1 - ON_SPHERE)).all())
    parts = ("distance",)
    if on_sphere:
        parts += ("tangential", "radial") if points.shape[1] > 1 else ("radial",)
    rows = jnp.asarray(points, jnp.result_type(float))
    observe = Partial(_distances, rows, jnp.asarray(radius, rows.dtype) if on_sphere else None)
    return CriticalSet(observe, parts, points, predictions or {})


def _distances(points: Array, radius: Array | None, params: PyTree) -> dict[str, Array]:
    """Distance to the nearest point and, on a sphere, its parts along and below it."""
    vector = ravel_pytree(params)[0]
    offsets = vector[None] - points
    nearest = jnp.argmin(jnp.sum(offsets**2, axis=1))
    offset = offsets[nearest]
    found: dict[str, Array] = {"critical_distance": jnp.linalg.norm(offset)}
    if radius is not None:
        axis = points[nearest] / jnp.linalg.norm(points[nearest])
        if vector.size > 1:
            found["tangential"] = jnp.linalg.norm(offset - jnp.vdot(offset, axis) * axis)
        found["radial"] = jnp.maximum(radius - jnp.linalg.norm(vector), 0)
    return found
