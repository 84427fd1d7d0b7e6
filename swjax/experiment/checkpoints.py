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


def save_place(path: Path, place: Place) -> None:
    """Write a checkpoint in one step."""
    leaves = [leaf for carry in place.carries for leaf in _plain_leaves(carry)]
    arrays: dict[str, Any] = {f"carry_{i}": leaf for i, leaf in enumerate(leaves)}
    arrays |= {f"record_{name}": values for name, values in place.records.items()}
    arrays |= {"num_chunks": place.num_chunks, "num_shares": len(place.carries)}

    def write(beside: Path) -> None:
        with open(beside, "wb") as handle:
            np.savez(handle, **arrays)

    write_atomically(path, write)


def load_place(path: Path, like: list[Carry]) -> Place:
    """Read a checkpoint, written with any number of devices, onto those of the given carries."""
    with np.load(path) as file:
        num_leaves, num_shares = len(jax.tree.leaves(like[0])), int(file["num_shares"])
        stored = [
            [file[f"carry_{share * num_leaves + i}"] for share in range(num_shares)]
            for i in range(num_leaves)
        ]
        prefix = "record_"
        records = {k.removeprefix(prefix): file[k] for k in file.files if k.startswith(prefix)}
        number = int(file["num_chunks"])
    whole = [parts[0] if parts[0].ndim == 0 else np.concatenate(parts) for parts in stored]
    carries = []
    for share, carry in enumerate(like):
        leaves, structure = jax.tree.flatten(carry)
        own = [_restored(x, leaf, share, len(like)) for x, leaf in zip(whole, leaves, strict=True)]
        carries.append(jax.tree.unflatten(structure, own))
    return Place(number, carries, records)


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
