"""Curves in parameter space and the integral of an oracle along them.

A path is a polygon (a pytree shaped like the parameters with a leading axis of vertices) or a
function from [0, 1] to parameters. Both become segments: the edges of the polygon, or equal pieces
of the function. On each segment the speed h(s) = v(g(s)) . g'(s) is sampled at its ends and at N
midpoints. The midpoint rule errs by at most TV(h) / (2 N) for h of bounded variation.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from swjax._trees import check_floating_leaves

Curve = Callable[[Array], PyTree]


def sample_polygon(
    key: PRNGKeyArray, center: PyTree, num_vertices: int, *, radius: float = 1.0
) -> PyTree:
    """A random polygon: vertices independent and uniform in a ball around given parameters.

    Args:
        key: random key.
        center: parameters, a pytree of floating-point arrays.
        num_vertices: number of vertices, at least 2; the polygon has one segment less.
        radius: radius of the ball, in the Euclidean norm of the whole tree.

    Returns:
        A pytree like `center` with a leading axis of length `num_vertices`.

    Raises:
        ValueError: if there are fewer than two vertices.
        TypeError: if the parameters are not of floating point type.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> sample_polygon(jax.random.key(0), {"w": jnp.zeros((2, 3))}, 5)["w"].shape
        (5, 2, 3)
    """
    if num_vertices < 2:
        raise ValueError(
            f"a polygon needs at least two vertices, found num_vertices={num_vertices}"
        )
    check_floating_leaves("center", center)
    return _sample_polygon(key, center, radius, num_vertices)


@functools.partial(jax.jit, static_argnums=3)
def _sample_polygon(key, center, radius, num_vertices):
    flat, unravel = ravel_pytree(center)
    direction_key, length_key = jax.random.split(key)
    normal = jax.random.normal(direction_key, (num_vertices, flat.size), flat.dtype)
    uniform = jax.random.uniform(length_key, (num_vertices, 1), flat.dtype)
    length = radius * uniform ** (1 / flat.size) / jnp.linalg.norm(normal, axis=1, keepdims=True)
    return jax.vmap(unravel)(flat[None] + length * normal)


def midpoints(num_nodes: int) -> np.ndarray:
    """Midpoints of `num_nodes` equal cells of [0, 1]."""
    if num_nodes < 1:
        raise ValueError(f"num_nodes must be at least 1, found {num_nodes}")
    return (np.arange(num_nodes) + 0.5) / num_nodes


def polygon(path: PyTree) -> PyTree:
    """The path as arrays, checked to be a polygon."""
    check_floating_leaves("path", path)
    path = jax.tree.map(jnp.asarray, path)
    leaves = jax.tree.leaves(path)
    if not leaves:
        raise TypeError("path has no arrays in it; pass a tree of arrays, or a function.")
    lengths = {v.shape[0] if v.ndim else 0 for v in leaves}
    if len(lengths) != 1 or min(lengths) < 2:
        raise ValueError(
            "a polygon needs a leading axis of at least two vertices, the same in every leaf; "
            f"found shapes {[v.shape for v in leaves]}"
        )
    return path


def as_curve(path: PyTree | Curve, num_segments: int):
    """(segment index, position in [0, 1]) -> parameters; the segments' ends; their number."""
    if callable(path):
        if num_segments < 1:
            raise ValueError(f"num_segments must be at least 1, found {num_segments}")
        curve = lambda j, s: path((j + s) / num_segments)
    else:
        vertices = polygon(path)
        num_segments = jax.tree.leaves(vertices)[0].shape[0] - 1
        # a + s (b - a): coordinates that agree at both vertices agree exactly in between, so that a
        # polygon between points of {u_1 = u_2} or {u_1 = 0} stays in it.
        curve = lambda j, s: jax.tree.map(
            lambda v: v[j] + s.astype(v.dtype) * (v[j + 1] - v[j]), vertices
        )
    index = np.minimum(np.arange(num_segments + 1), num_segments - 1)
    position = (np.arange(num_segments + 1) == num_segments).astype(float)
    return curve, (jnp.asarray(index), jnp.asarray(position)), num_segments


def check_closed(loop: Curve) -> None:
    """Raise if a loop given as a function has different ends (when they are concrete)."""
    start, end = loop(jnp.zeros(())), loop(jnp.ones(()))
    for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(end), strict=True):
        if isinstance(a, jax.core.Tracer) or isinstance(b, jax.core.Tracer):
            return
        gap, size = np.abs(np.asarray(a) - np.asarray(b)).max(), np.abs(np.asarray(a)).max()
        if not gap <= 1e3 * float(jnp.finfo(a.dtype).eps) * (1 + size):
            raise ValueError(f"the loop does not close: loop(0) and loop(1) differ by {gap:.3g}")


def speeds_along(
    oracle: Callable,
    curve: Callable,
    num_segments: int,
    nodes: np.ndarray,
    chunk_size: int | None,
) -> Float[Array, "segments nodes_and_ends"]:
    """v(g(s)) . g'(s) at both ends of every segment and at the nodes between."""
    positions = np.concatenate([[0.0], nodes, [1.0]])

    def speed(node):
        j, s = node
        point, velocity = jax.jvp(lambda t: curve(j, t), (s,), (jnp.ones_like(s),))
        value = oracle(point)
        _check_like(value, point)
        products = jax.tree.map(lambda v, w: jnp.vdot(v, w), value, velocity)
        return sum(jax.tree.leaves(products))

    index = jnp.asarray(np.repeat(np.arange(num_segments), len(positions)))
    flat = map_nodes(speed, (index, jnp.asarray(np.tile(positions, num_segments))), chunk_size)
    return flat.reshape(num_segments, len(positions))


def map_nodes(
    fun: Callable, nodes: tuple[Int[Array, " n"], Float[Array, " n"]], chunk_size: int | None
):
    """`fun` at every node (segment, position), `chunk_size` of them at a time."""
    num = nodes[0].shape[0]
    if chunk_size is None or num <= chunk_size:
        return jax.vmap(fun)(nodes)
    # The last chunk is filled up with copies of the last node, so that all have one shape.
    fill = lambda v: jnp.pad(v, (0, -num % chunk_size), mode="edge").reshape(-1, chunk_size)
    return jax.lax.map(jax.vmap(fun), jax.tree.map(fill, nodes)).reshape(-1)[:num]


def integrate(speeds):
    """Midpoint integral, error bound TV / (2 N), and mean absolute speed, by segment."""
    inner = speeds[:, 1:-1]
    variation = abs(speeds[:, 1:] - speeds[:, :-1]).sum(1)
    return inner.mean(1), variation / (2 * inner.shape[1]), abs(inner).mean(1)


def scalar(value: Array) -> Array:
    """The value of a loss, checked to be a scalar."""
    value = jnp.asarray(value)
    if value.shape != ():
        raise ValueError(f"f must return a scalar, found shape {value.shape}")
    return value


def _check_like(value: PyTree, point: PyTree) -> None:
    found, expected = jax.tree.structure(value), jax.tree.structure(point)
    if found != expected:
        raise ValueError(
            f"the oracle must return a pytree like the parameters: {found}, {expected}"
        )
    for v, w in zip(jax.tree.leaves(value), jax.tree.leaves(point), strict=True):
        if jnp.shape(v) != jnp.shape(w):
            raise ValueError(
                "the oracle must return arrays of the parameters' shapes: found "
                f"{jnp.shape(v)}, expected {jnp.shape(w)}"
            )
