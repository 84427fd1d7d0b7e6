"""Parameters as vectors and their place in the ball: what measures of stationarity share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from swjax._checks import is_concrete
from swjax._trees import as_vector, check_floating_leaves

# A projection onto the ball leaves a norm of radius (1 +- 4 eps); this much counts as the sphere.
_SPHERE_WIDTH = 16


def flatten(name: str, tree: PyTree) -> tuple[Array, Any]:
    """The tree as one vector of at least float32, and the function that restores it."""
    vector, restore = as_vector(name, tree)
    if vector.size == 0:
        raise ValueError(f"{name} has no entries; pass an array or a tree of arrays.")
    return vector, restore


def flatten_rows(name: str, tree: PyTree, like: PyTree) -> Array:
    """A tree of stacked vectors as rows `(m, d)`, checked against the tree of one vector."""
    check_floating_leaves(name, tree)
    given, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, tree))
    expected, other = jax.tree.flatten(jax.tree.map(jnp.asarray, like))
    shapes = [leaf.shape[1:] if leaf.ndim else None for leaf in given]
    counts = {leaf.shape[0] for leaf in given if leaf.ndim}
    if structure != other or shapes != [leaf.shape for leaf in expected] or len(counts) > 1:
        raise ValueError(
            f"{name} must be the tree of params with one leading axis more on every leaf; params "
            f"has the shapes {[leaf.shape for leaf in expected]}, {name} "
            f"{[leaf.shape for leaf in given]}."
        )
    rows = [leaf.reshape(leaf.shape[0], -1) for leaf in given]
    dtype = jnp.promote_types(jnp.result_type(*rows), jnp.float32)
    return jnp.concatenate([leaf.astype(dtype) for leaf in rows], axis=1)


def place_in_ball(params: PyTree, u: Array, radius: Array) -> tuple[Array, Array]:
    """Whether the vector lies outside the ball, and whether on its sphere, up to rounding."""
    types = [jnp.finfo(jnp.result_type(leaf)) for leaf in jax.tree.leaves(params)]
    width = _SPHERE_WIDTH * max(float(info.eps) for info in types)
    length = euclidean_norm(u)
    outside, on_sphere = length > radius * (1 + width), length >= radius * (1 - width)
    if is_concrete(outside) and bool(outside):
        raise ValueError(
            f"The parameters have norm {float(length):.8g} and lie outside the ball of radius "
            f"{float(radius):.8g}. Project them first (swjax.optim.project_onto_ball), or pass the "
            "radius they were trained with."
        )
    return outside, on_sphere


def check_radius(radius: ArrayLike) -> Array:
    """The radius as a scalar array, refused unless it is one positive number."""
    if jnp.ndim(radius) != 0:
        raise ValueError(f"radius must be one number, got shape {jnp.shape(radius)}.")
    if is_concrete(radius) and not np.asarray(radius) > 0:
        raise ValueError(f"radius must be positive, got {radius}; pass None for no ball.")
    return jnp.asarray(radius)


def euclidean_norm(vector: Array) -> Array:
    """The Euclidean norm of one vector, without overflow or underflow of the squares."""
    largest = jnp.max(jnp.abs(vector))
    scale = jnp.where(largest < jnp.inf, safe(largest), 1)
    return scale * jnp.sqrt(jnp.sum((vector / scale) ** 2))


def safe(length: Array) -> Array:
    """The length, to divide by: 1 where it is zero."""
    return jnp.where(length > 0, length, 1)
