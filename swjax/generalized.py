"""Generalized slices: compare clouds through any features, not only linear projections.

A feature map sends a cloud (n, d) to (n, L); each of the L columns is one slice, a measure on the
line. With ``features = lambda x: x @ directions.T`` this is the sliced-Wasserstein loss. It is a
distance if the map determines the measure; Kolouri, Nadjahi, Simsekli, Badeau and Rohde 2019,
"Generalized sliced Wasserstein distances", show it for circular slices and for homogeneous
polynomials of odd degree, both here. Any other map, for example a trained network, works too.
"""

import math
from collections.abc import Callable
from itertools import combinations_with_replacement

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from swjax._checks import as_count, as_real_array, check_unit_length, working_dtype
from swjax.wasserstein1d import wp_pow_1d

Features = Callable[[Array], Array]


def generalized_sw_pow(
    x: ArrayLike,
    y: ArrayLike,
    features: Features,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    p: float | int,
) -> Float[Array, ""]:
    """The mean of W_p^p over the slices that a feature map makes.

    With h for the map and h_l for its l-th column::

        (1/L) sum_l W_p^p(h_l(x), h_l(y)).

    Args:
        x: First cloud, shape (n, ...), in whatever form the map takes.
        y: Second cloud, shape (m, ...).
        features: A function of a cloud that returns a floating-point array (n, L) and is
            differentiable by JAX, for example `circular_slices(...)`, `polynomial_slices(...)`, or
            a network with its parameters. It is called once for each cloud.
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        p: The order, at least 1.

    Returns:
        A scalar, float64 if the features are, else float32; differentiable in the clouds, the
        weights, and whatever the map closes over.

    Raises:
        TypeError: If an input or the features are not floating-point arrays.
        ValueError: If the features of the clouds are not of shapes (n, L) and (m, L), p < 1, or
            the weights are wrong.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> y = x + jnp.array([[3.0, 4.0]])
        >>> float(generalized_sw_pow(x, y, lambda cloud: cloud @ jnp.eye(2), p=2))
        12.5
    """
    x, y = as_real_array("x", x), as_real_array("y", y)
    x_slices = _slices("x", x, features)
    y_slices = _slices("y", y, features)
    if x_slices.shape[1] != y_slices.shape[1]:
        raise ValueError(
            f"features(x) is {x_slices.shape} but features(y) {y_slices.shape}; both need one "
            "column for each slice."
        )
    return jnp.mean(wp_pow_1d(x_slices, y_slices, a, b, p=p))


def circular_slices(directions: ArrayLike, radius: ArrayLike) -> Features:
    """The distances from points on a circle or sphere: ``|x - radius * theta_l|``.

    Args:
        directions: Unit vectors as rows, shape (L, d).
        radius: How far the centers are from the origin; a scalar, or shape (L,).

    Returns:
        A feature map, (n, d) to (n, L), float64 if an input is, else float32; it raises a
        ValueError for clouds of another dimension. Its derivative is zero at a center.

    Raises:
        TypeError: If an input is not a floating-point array.
        ValueError: If the shapes are others, or a direction is not of unit length (checked where
            the values are known: not inside `jit`).

    Example:
        >>> features = circular_slices(jnp.eye(2), radius=1.0)
        >>> features(jnp.array([[1.0, 0.0], [4.0, 4.0]])).round(3).tolist()
        [[0.0, 1.4140000343322754], [5.0, 5.0]]
    """
    directions, radius = as_real_array("directions", directions), as_real_array("radius", radius)
    if directions.ndim != 2 or radius.shape not in ((), directions.shape[:1]):
        raise ValueError(
            f"Expected directions (L, d) and a radius () or (L,), found {directions.shape} and "
            f"{radius.shape}."
        )
    check_unit_length(directions)
    num, dim = directions.shape

    def features(cloud: Array) -> Array:
        if cloud.ndim != 2 or cloud.shape[1] != dim:
            raise ValueError(f"The directions are of dimension {dim}, the cloud is {cloud.shape}.")
        dtype = working_dtype(cloud, directions, radius)
        centers = jnp.broadcast_to(radius, num)[:, None].astype(dtype) * directions.astype(dtype)
        cloud = cloud.astype(dtype)
        square = jnp.sum(jnp.square(cloud[:, None] - centers[None]), axis=-1)
        apart = square > 0
        return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)

    return features


def polynomial_slices(coefficients: ArrayLike, degree: int) -> Features:
    """Homogeneous polynomials: ``sum_alpha c_l,alpha x^alpha`` over |alpha| = degree.

    Degree 1 gives the linear slices. Coefficients are unit vectors in the paper: for example
    ``sample_directions(key, L, num_monomials(d, degree))``.

    Args:
        coefficients: One polynomial in each row, shape (L, num_monomials(d, degree)). Monomials
            are in lexicographic order of their factors: for d = 2 and degree 3, the columns belong
            to x1^3, x1^2 x2, x1 x2^2 and x2^3.
        degree: The degree, at least 1; odd for a distance.

    Returns:
        A feature map, (n, d) to (n, L), float64 if an input is, else float32; it raises a
        ValueError for clouds of a dimension that the coefficients do not fit.

    Raises:
        TypeError: If the coefficients are not a floating-point array, or the degree no integer.
        ValueError: If the coefficients are not a matrix, or the degree is below 1.

    Example:
        >>> features = polynomial_slices(jnp.eye(4), degree=3)
        >>> features(jnp.array([[2.0, 3.0]])).tolist()
        [[8.0, 12.0, 18.0, 27.0]]
    """
    coefficients = as_real_array("coefficients", coefficients)
    degree = as_count("degree", degree)
    if coefficients.ndim != 2:
        raise ValueError(f"Expected coefficients (L, monomials), found {coefficients.shape}.")

    def features(cloud: Array) -> Array:
        expected = num_monomials(cloud.shape[-1], degree)
        if coefficients.shape[1] != expected:
            raise ValueError(
                f"coefficients has {coefficients.shape[1]} columns; in dimension "
                f"{cloud.shape[-1]} there are {expected} monomials of degree {degree}."
            )
        factors = combinations_with_replacement(range(cloud.shape[-1]), degree)
        dtype = working_dtype(cloud, coefficients)
        monomials = jnp.prod(cloud.astype(dtype)[:, np.array(list(factors))], axis=-1)
        scale = coefficients.astype(dtype).T
        return jnp.matmul(monomials, scale, precision=lax.Precision.HIGHEST)

    return features


def num_monomials(dim: int, degree: int) -> int:
    """The number of monomials of exactly this degree in `dim` variables.

    Args:
        dim: The number of variables, at least 1.
        degree: The degree, at least 1.

    Returns:
        The binomial coefficient of dim + degree - 1 over degree, an int (a scalar).

    Raises:
        TypeError: If one of them is not a Python integer.
        ValueError: If one of them is below 1.

    Example:
        >>> num_monomials(2, 3)
        4
    """
    dim, degree = as_count("dim", dim), as_count("degree", degree)
    return math.comb(dim + degree - 1, degree)


def _slices(name: str, cloud: Array, features: Features) -> Float[Array, "n L"]:
    slices = as_real_array(f"features({name})", features(cloud))
    if slices.ndim != 2 or slices.shape[:1] != cloud.shape[:1] or 0 in slices.shape:
        raise ValueError(
            f"features({name}) has shape {slices.shape} for {name} {cloud.shape}; expected "
            f"({cloud.shape[0] if cloud.ndim else 'n'}, L), one column for each slice."
        )
    return slices
