"""Checkpoints inside long cells: the states after some chunks, on any number of devices."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from swjax.experiment.cell import Carry
from swjax.experiment.store import write_atomically


class Place(NamedTuple):
    """How far a cell has come: chunks done, the states after them, and what they recorded.

    Attributes:
        num_chunks: chunks done.
        carries: one per share of the repetitions, in their order.
        records: arrays by name, (chunks x C, R, ...).
    """

    num_chunks: int
    carries: list[Carry]
    records: dict[str, np.ndarray]


class UnusableCheckpoint(Exception):
    """A checkpoint that is damaged, or of another study, cell or program."""


def save_place(path: Path, place: Place, owner: str) -> None:
    """Write a checkpoint in one step; `owner` says which cell of which study it is of."""
    leaves = [leaf for carry in place.carries for leaf in _plain_leaves(carry)]
    arrays: dict[str, Any] = {f"carry_{i}": leaf for i, leaf in enumerate(leaves)}
    arrays |= {f"record_{name}": values for name, values in place.records.items()}
    arrays |= {"num_chunks": place.num_chunks, "num_shares": len(place.carries), "owner": owner}

    def write(beside: Path) -> None:
        with open(beside, "wb") as handle:
            np.savez(handle, **arrays)

    write_atomically(path, write)


def load_place(path: Path, like: list[Carry], owner: str) -> Place:
    """Read a checkpoint, written with any number of devices, onto those of the given carries.

    Raises:
        UnusableCheckpoint: it cannot be read, has another owner, or holds other arrays than `like`.
    """
    try:
        number, whole, records = _read(path, like, owner)
    except Exception as error:  # a damaged archive raises anything
        raise UnusableCheckpoint(f"{type(error).__name__}: {error}") from None
    carries = []
    for share, carry in enumerate(like):
        leaves, structure = jax.tree.flatten(carry)
        own = [_restored(x, leaf, share, len(like)) for x, leaf in zip(whole, leaves, strict=True)]
        carries.append(jax.tree.unflatten(structure, own))
    return Place(number, carries, records)


def _read(
    path: Path, like: list[Carry], owner: str
) -> tuple[int, list[np.ndarray], dict[str, np.ndarray]]:
    """Chunks done, the leaves of all shares together, and the records."""
    expected = _whole([_plain_leaves(carry) for carry in like])
    with np.load(path) as file:
        if str(file["owner"]) != owner:
            raise ValueError("it is of another study")
        leaves = [file[f"carry_{i}"] for i in range(len(expected) * int(file["num_shares"]))]
        prefix = "record_"
        records = {k.removeprefix(prefix): file[k] for k in file.files if k.startswith(prefix)}
        number = int(file["num_chunks"])
    shares = [leaves[i : i + len(expected)] for i in range(0, len(leaves), len(expected))]
    whole = _whole(shares)
    if [(x.shape, x.dtype) for x in whole] != [(x.shape, x.dtype) for x in expected]:
        raise ValueError("its arrays are not those of this cell")
    return number, whole, records


def _whole(shares: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Leaf by leaf, the repetitions of all shares; a scalar is the same in every share."""
    return [
        parts[0] if parts[0].ndim == 0 else np.concatenate(parts)
        for parts in zip(*shares, strict=True)
    ]


def _restored(stored: np.ndarray, like: jax.Array, share: int, num_shares: int) -> jax.Array:
    if stored.ndim:
        stored = np.split(stored, num_shares)[share]
    value = jax.random.wrap_key_data(jnp.asarray(stored)) if _is_key(like) else stored
    return jax.device_put(value, like.sharding)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain_leaves(tree: PyTree) -> list[np.ndarray]:
    return [
        np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for leaf in jax.tree.leaves(tree)
    ]
