"""Samplers of minibatches as pytrees, so that runs with equal ones are compiled once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any

from jax.tree_util import Partial, all_leaves

from swjax._trees import as_pytree
from swjax._types import AnyKey
from swjax.flows.particles.problem import ParticleProblem


@as_pytree("owner")
@dataclass(frozen=True, eq=False)
class _MethodSampler:
    """A method of a pytree, with numbers that decide shapes, as a function of the key."""

    owner: Any
    method: Callable[..., ParticleProblem]
    numbers: tuple[tuple[str, int], ...]

    def __call__(self, key: AnyKey) -> ParticleProblem:
        return self.method(self.owner, key, **dict(self.numbers))


def as_sampler(sample: Callable[[AnyKey], ParticleProblem]) -> Callable[[AnyKey], ParticleProblem]:
    """The function as a pytree that `jit` takes for equal to others like it.

    JAX compares functions by identity, and every `functools.partial` is another. Of a method of a
    pytree, such as `functools.partial(network.sample, batch_size=100)`, the arrays become leaves,
    and the whole numbers are compared by value.
    """
    call = sample if isinstance(sample, partial) else partial(sample)
    method, numbers = call.func, tuple(sorted(call.keywords.items()))
    are_whole = not call.args and all(type(number) is int for _, number in numbers)
    if not isinstance(method, MethodType) or not are_whole or all_leaves([method.__self__]):
        return Partial(sample)
    return _MethodSampler(method.__self__, method.__func__, numbers)
