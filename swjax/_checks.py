"""Checks that several modules need: what is known while JAX traces, and which types come in."""

import operator
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


def is_concrete(*arrays: Any) -> bool:
    """Whether all values are known now: no array is being traced by jit, grad, vmap or scan.

    Shapes and types are checked always, values (unit directions, weights) only when this is true.
    """
    return not any(isinstance(array, jax.core.Tracer) for array in arrays)


def as_real_array(name: str, value: ArrayLike) -> Array:
    """The value as a floating-point array; integers and complex numbers are refused.

    Integer clouds are refused rather than converted: their derivatives do not exist, and libraries
    that keep integer arithmetic return wrong distances without a word.
    """
    array = jnp.asarray(float(value) if type(value) is int else value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} has dtype {array.dtype}; a floating-point array is expected. "
            f"Convert it first, for example with {name}.astype(float)."
        )
    return array


def working_dtype(*arrays: Array | None) -> jnp.dtype:
    """The type all arrays are computed in: the common one, but never less than float32."""
    present = [array for array in arrays if array is not None]
    return jnp.promote_types(jnp.result_type(*present), jnp.float32)


def as_order(p: float | int) -> float:
    """The order p as a float; one for which W_p is not a distance, or no plain number, is refused.

    A number of NumPy would make float32 results double where that is enabled.
    """
    if not isinstance(p, Real) or isinstance(p, bool) or not 1 <= p < float("inf"):
        raise ValueError(f"p = {p!r}, but the order must be a Python number with 1 <= p < inf.")
    return float(p)


def check_weights(
    name: str, weights: ArrayLike | None, points: str, *shapes: tuple[int, ...]
) -> Array | None:
    """Weights of one of the shapes, of sum 1 over the first axis, or an error that says why not.

    Signs and sums are checked where the values are known.
    """
    if weights is None:
        return None
    weights = as_real_array(name, weights)
    if weights.shape not in shapes:
        raise ValueError(
            f"{name} has shape {weights.shape}; expected {' or '.join(map(str, shapes))}, one "
            f"weight for each point of {points}."
        )
    if is_concrete(weights):
        values = np.asarray(weights, np.float64)
        if not (values >= 0).all():
            worst = np.unravel_index(np.argmin(values), values.shape)
            raise ValueError(f"{name} has the entry {values[worst]:.6g}; weights must be >= 0.")
        sums = values.sum(axis=0)
        if not (np.abs(sums - 1) <= value_tolerance(weights)).all():
            wrong = sums.flat[np.argmax(np.abs(sums - 1))]
            raise ValueError(
                f"{name} sums to {wrong:.6g}; weights must sum to 1. Use {name} / {name}.sum()."
            )
    return weights


def check_unit_length(directions: Array) -> None:
    """Refuse rows that are not of length 1, where the values are known."""
    if not is_concrete(directions):
        return
    rows = np.asarray(directions, np.float64).reshape(-1, directions.shape[-1])
    lengths = np.linalg.norm(rows, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= value_tolerance(directions)))
    if wrong.size:
        place = ", ".join(str(i) for i in np.unravel_index(wrong[0], directions.shape[:-1]))
        raise ValueError(
            f"directions[{place}] has length {lengths[wrong[0]]:.6g}; rows must have length 1. "
            "Use directions / jnp.linalg.norm(directions, axis=-1, keepdims=True)."
        )


def checked_directions(directions: ArrayLike, dim: int) -> Array:
    """One or more unit vectors of that dimension as rows, or an error that says what is wrong.

    They come in the default type, and where their values are known, of length 1 to its rounding.
    """
    rows = jnp.asarray(directions, dtype=float)
    if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] != dim:
        raise ValueError(
            f"directions must be (L, {dim}) with L >= 1, one unit vector of the space of the data "
            f"per row; got shape {rows.shape}."
        )
    check_unit_length(rows)
    if is_concrete(rows):
        exact = np.asarray(rows, np.float64)
        lengths = np.linalg.norm(exact, axis=1, keepdims=True)
        rows = jnp.asarray(exact / lengths, dtype=rows.dtype)
    return rows


def check_chunk_size(chunk_size: int | None) -> None:
    """Refuse what cannot be the number of directions to hold at a time."""
    whole = isinstance(chunk_size, int) and not isinstance(chunk_size, bool)
    if chunk_size is not None and (not whole or chunk_size < 1):
        raise ValueError(f"chunk_size = {chunk_size!r}; expected a Python int >= 1, or None.")


def value_tolerance(array: Array) -> float:
    """How far a sum or a length in this type may be from 1 by rounding, generously."""
    return max(1e-4, 4 * float(jnp.finfo(array.dtype).eps))


def as_count(name: str, value: Any) -> int:
    """The value as an int of at least 1, or the reason why it cannot decide a shape."""
    try:
        if isinstance(value, bool):
            raise TypeError("True and False are no counts")
        count = operator.index(value)
    except (TypeError, jax.errors.TracerIntegerConversionError) as error:
        raise TypeError(
            f"{name} must be a Python integer, since it decides a shape; got {value!r}. "
            "Inside jit, mark it as a static argument."
        ) from error
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}.")
    return count


def checked_covariance(name: str, value: ArrayLike, dim: int) -> Array:
    """A scalar variance or a covariance matrix, or an error that says why it is neither."""
    covariance = as_real_array(name, value)
    if covariance.shape not in ((), (dim, dim)):
        raise ValueError(
            f"{name} must be a number or a matrix of shape ({dim}, {dim}), got {covariance.shape}."
        )
    if is_concrete(covariance):
        values = np.atleast_2d(np.asarray(covariance, np.float64))
        if not np.abs(values - values.T).max() <= 1e-5 * np.abs(values).max():
            raise ValueError(f"{name} must be symmetric and finite.")
        least = np.linalg.eigvalsh(values)[0]
        if not least >= -1e-5 * np.abs(values).max():
            raise ValueError(
                f"{name} must be positive semidefinite; its smallest eigenvalue is {least:.6g}."
            )
    return covariance
