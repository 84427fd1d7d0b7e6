"""Trajectories of an iterative scheme as curves in time, and distances between such curves.

A *path* is an array, or any tree of arrays such as the parameters of a network, whose leaves share
a leading axis: entry `t` along it is the iterate number `t`. A scheme of constant step size `alpha`
visits its iterate `u^t` at the time `t * alpha`; `interpolate` joins these points by segments,
which gives the curve that is compared with a gradient flow as `alpha` goes to zero
(Tanguy, "Convergence of SGD for training neural networks with sliced Wasserstein losses",
TMLR 2023; Bianchi, Hachem and Schechtman, Set-Valued and Variational Analysis 30, 2022).
"""

import math
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from swjax._checks import is_concrete
from swjax._trees import check_floating_leaves

# After this many unit intervals the weight 2^-k is below the spacing of doubles.
_NUM_INTERVALS = 53
# By how many roundings of a time and of the step size their quotient may miss a whole number.
_ROUNDINGS = 4


def _as_path(name: str, path: PyTree) -> tuple[PyTree, int]:
    """The tree with array leaves, and the common length of their leading axis."""
    leaves = jax.tree_util.tree_leaves_with_path(path)
    if not leaves:
        raise ValueError(f"{name} has no arrays in it; pass an array or a tree of arrays.")
    check_floating_leaves(name, path)
    lengths = {}
    for where, leaf in leaves:
        label = name + jax.tree_util.keystr(where)
        leaf = jnp.asarray(leaf)
        if leaf.ndim == 0:
            raise ValueError(f"{label} is a scalar; every leaf needs a leading axis of iterates.")
        lengths[label] = leaf.shape[0]
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"The leaves of {name} differ in the length of the leading axis: {lengths}."
        )
    (length,) = set(lengths.values())
    if length == 0:
        raise ValueError(f"{name} has no iterates: its leading axis has length 0.")
    return jax.tree.map(jnp.asarray, path), length


def interpolate(path: PyTree, step_size: ArrayLike, times: ArrayLike) -> PyTree:
    """Evaluate the piecewise affine curve through the iterates of a path.

    With iterates `u^0, ..., u^K` and step size `alpha`, this is

        u_alpha(s) = u^t + (s / alpha - t) (u^{t+1} - u^t)    for s in [t alpha, (t + 1) alpha].

    At a time `t * alpha` that is a knot, up to four roundings of its type, only `u^t` counts, so a
    path that becomes infinite later does not spoil it.

    Args:
        path: array or tree of arrays; leading axis of length `K + 1`, the iterates.
        step_size: positive scalar, the time between two entries of the path. Where only every
            m-th iterate was kept, that is `m` times the step size of the scheme.
        times: times at which to evaluate, of any shape, within `[0, K * step_size]`.

    Returns:
        The same tree; each leaf `(K + 1, ...)` has become `(*times.shape, ...)`.

    Raises:
        ValueError: if the leading axes differ or are empty, if `step_size` is not positive or not
            a scalar, or if a time lies outside the path by more than rounding. Values can be
            checked only outside `jit`; inside it, times beyond the path give its end points.
        TypeError: if a leaf is not of floating point type.

    >>> import jax.numpy as jnp
    >>> path = jnp.array([[0.0, 1.0], [2.0, 1.0], [2.0, 5.0]])
    >>> print(interpolate(path, 0.5, jnp.array([0.25, 0.5, 0.75])))
    [[1. 1.]
     [2. 1.]
     [2. 3.]]
    """
    path, length = _as_path("path", path)
    if np.ndim(step_size) != 0:
        raise ValueError(f"step_size must be a scalar, got shape {np.shape(step_size)}.")
    if is_concrete(step_size) and not 0 < float(np.asarray(step_size)) < math.inf:
        raise ValueError(f"step_size must be a positive number, got {step_size}.")
    if is_concrete(step_size, times):
        # In double precision on the host: s / alpha - t loses digits when t is large.
        spacing = float(np.asarray(step_size))
        position = np.asarray(times, np.float64) / spacing
        slack = 16 * float(jnp.finfo(jnp.result_type(float)).eps) * max(length, 1)
        if not np.all((position >= -slack) & (position <= length - 1 + slack)):
            raise ValueError(
                f"times must lie in [0, {(length - 1) * spacing:.6g}], the span of a path of "
                f"{length} iterates at step size {spacing:.6g}; got values from "
                f"{np.min(times)} to {np.max(times)}. Run more steps, or cut the times."
            )
        xp = np
    else:
        position = jnp.asarray(times) / step_size
        xp = jnp
    eps = _coarsest_eps(times, step_size, position)
    start, fraction = _segments(position, eps, length, xp)
    start, fraction = jnp.asarray(start, int), jnp.asarray(fraction)
    stop = jnp.minimum(start + 1, length - 1)

    def along(leaf: Array) -> Array:
        weight = fraction.astype(leaf.dtype).reshape(fraction.shape + (1,) * (leaf.ndim - 1))
        before, after = leaf[start], leaf[stop]
        between = (1 - weight) * before + weight * after
        return jnp.where(weight == 0, before, jnp.where(weight == 1, after, between))

    return jax.tree.map(along, path)


def _segments(position: Any, eps: float, length: int, xp: ModuleType) -> tuple[Any, Any]:
    """The iterate at which the segment of each position begins, and the share of it that is gone.

    A position within rounding of a whole number is that number.
    """
    nearest = xp.round(position)
    slack = _ROUNDINGS * eps * xp.maximum(1, nearest)
    position = xp.where(xp.abs(position - nearest) <= slack, nearest, position)
    position = xp.clip(position, 0, length - 1)
    start = xp.clip(xp.floor(position), 0, max(length - 2, 0))
    return start, position - start


def _coarsest_eps(*values: ArrayLike) -> float:
    """The largest machine epsilon among the floating types; Python's numbers are doubles."""
    dtypes = [getattr(value, "dtype", np.dtype(float)) for value in values]
    return max(float(jnp.finfo(t).eps) for t in dtypes if jnp.issubdtype(t, jnp.floating))


def _difference(path_a: PyTree, path_b: PyTree) -> tuple[PyTree, int]:
    """The tree of differences, at least in float32, and its number of iterates."""
    path_a, length_a = _as_path("path_a", path_a)
    path_b, _ = _as_path("path_b", path_b)
    structure_a, structure_b = jax.tree.structure(path_a), jax.tree.structure(path_b)
    if structure_a != structure_b:
        raise ValueError(f"The paths are different trees: {structure_a} and {structure_b}.")
    shapes_a = [leaf.shape for leaf in jax.tree.leaves(path_a)]
    shapes_b = [leaf.shape for leaf in jax.tree.leaves(path_b)]
    if shapes_a != shapes_b:
        raise ValueError(
            f"The paths have leaves of different shapes: {shapes_a} and {shapes_b}. "
            "Interpolate both at the same times first."
        )

    def subtract(a: Array, b: Array) -> Array:
        dtype = jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), jnp.float32)
        return a.astype(dtype) - b.astype(dtype)

    return jax.tree.map(subtract, path_a, path_b), length_a


def _row_norms(tree: PyTree) -> Float[Array, " num"]:
    """Euclidean norm of the whole tree at each entry of the leading axis; gradient 0 at 0."""
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(tree)]
    total = sum(jnp.sum(leaf * leaf, axis=1) for leaf in leaves)
    return jnp.where(total == 0, 0, jnp.sqrt(jnp.where(total == 0, 1, total)))


def sup_distance(path_a: PyTree, path_b: PyTree) -> Float[Array, ""]:
    """The largest distance between two paths, over the entries of their leading axis.

        max_k | a_k - b_k |

    with the Euclidean norm of the whole tree (all parameters as one vector). For two curves that
    are affine between the same knots, the maximum over the knots is the maximum over all times.

    Args:
        path_a: array or tree of arrays with a common leading axis.
        path_b: the same structure and shapes.

    Returns:
        Scalar; NaN if an entry is NaN.

    Raises:
        ValueError: if the trees or shapes differ, or are empty.
        TypeError: if a leaf is not of floating point type.

    >>> import jax.numpy as jnp
    >>> path = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    >>> float(sup_distance(path, jnp.zeros((2, 2))))
    5.0
    """
    difference, _ = _difference(path_a, path_b)
    return jnp.max(_row_norms(difference))


def compact_distance(times: ArrayLike, path_a: PyTree, path_b: PyTree) -> Float[Array, ""]:
    """The metric of uniform convergence on compact intervals, for paths known up to a horizon.

    For curves `u, v` on `[0, inf)` it is

        d_c(u, v) = sum_{k >= 1} 2^-k min(1, max_{s in [0, k]} |u(s) - v(s)|)

    (the metric in which interpolated SGD approaches the solutions of the gradient inclusion in
    Tanguy 2023, Theorem 1). The paths are known on `[0, T]` only, `T` the last time, and taken as
    affine between the times. The value returned is `d_c` of the curves *stopped at T*: for `k > T`
    the maximum runs over `[0, T]`. With `M` the maximum of the distance over `[0, T]`, it bounds
    the metric between any two continuations of the curves:

        value <= d_c(u, v) <= value + 2^-floor(T) (1 - min(1, M)).

    Args:
        times: shape `(m,)`, increasing from 0.
        path_a: array or tree of arrays with leading axis `m`, the values at `times`.
        path_b: the same structure and shapes.

    Returns:
        Scalar in `[0, 1]`; NaN if a value is NaN.

    Raises:
        ValueError: if trees or shapes differ, or if the times are not as many as the entries of the
            paths, do not start at 0 or do not increase (checked outside `jit` only).
        TypeError: if a leaf is not of floating point type.

    >>> import jax.numpy as jnp
    >>> times = jnp.array([0.0, 1.0, 2.0])
    >>> float(compact_distance(times, jnp.array([0.0, 0.5, 3.0]), jnp.zeros(3)))
    0.75
    """
    difference, length = _difference(path_a, path_b)
    if np.shape(times) != (length,):
        raise ValueError(
            f"times must have shape ({length},), one for each entry of the paths; "
            f"got {np.shape(times)}."
        )
    if is_concrete(times):
        values = np.asarray(times)
        if values[0] != 0 or not np.all(np.diff(values) > 0) or not np.all(np.isfinite(values)):
            raise ValueError(f"times must increase from 0 and be finite, got {values}.")
    gaps = _row_norms(difference)
    times = jnp.asarray(times, gaps.dtype)
    so_far = jax.lax.cummax(gaps)
    ends = jnp.arange(1, _NUM_INTERVALS + 1, dtype=gaps.dtype)
    last = jnp.searchsorted(times, ends, side="right") - 1
    # At an end k strictly between two times, the distance there counts as well.
    after = jnp.minimum(last + 1, length - 1)
    width = times[after] - times[last]
    weight = jnp.where(width > 0, (ends - times[last]) / jnp.where(width > 0, width, 1), 0)

    def at_ends(leaf: Array) -> Array:
        blend = weight.astype(leaf.dtype).reshape((-1,) + (1,) * (leaf.ndim - 1))
        return jnp.where(blend == 0, leaf[last], (1 - blend) * leaf[last] + blend * leaf[after])

    maxima = jnp.maximum(so_far[last], _row_norms(jax.tree.map(at_ends, difference)))
    weights = 0.5**ends
    tail = 0.5**_NUM_INTERVALS * jnp.minimum(1, so_far[-1])
    return jnp.sum(weights * jnp.minimum(1, maxima)) + tail
