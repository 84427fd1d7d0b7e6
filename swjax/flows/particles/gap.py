"""How far particles are from the global minimum at most: a certificate by duality."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from swjax._checks import is_concrete
from swjax.flows.particles.cloud import Particles
from swjax.flows.particles.peaks import Peak
from swjax.flows.particles.problem import ParticleProblem
from swjax.flows.particles.products import vdot


class Gap(NamedTuple):
    """A bound on the distance to the global minimum over all measures.

    Attributes:
        objective: `F(mu)` of the particles.
        lower_bound: no measure has a smaller objective; `-inf` if nothing is certified.
        gap: `objective - lower_bound`.
        peak: the enclosure of the maximum of `|<R'(f), phi>|` it rests on; `None` without penalty
            or where no rigorous bound is known. Of features on a box it is the maximum over the
            box, which certifies nothing about particles outside.
    """

    objective: Float[Array, ""]
    lower_bound: Float[Array, ""]
    gap: Float[Array, ""]
    peak: Peak | None


def duality_gap(problem: ParticleProblem, particles: Particles) -> Gap:
    """Bound `F(mu) - min F` from above.

    With `g = R'(f)` and an upper bound `M` of the maximum of `|<g, phi(theta)>|` over *all*
    positions, `q = s g` with `0 <= s <= lambda / M` is feasible for the dual problem

        max { -R*(q) : |<q, phi(theta)>| <= lambda for all theta },

    whose value is the minimum of `J`. For least squares, `R(f) = |f - y|^2 / 2`, the best such `s`
    is taken in `-R*(s g) = -s <f - y, y> - s^2 |f - y|^2 / 2`. For other losses, of which only a
    lower bound `R_min` is known, convexity of `R` gives

        J(nu) - J(nu') <= <g, f> + lambda |nu| + (M - lambda)_+ |nu'|,
        |nu'| <= (J(nu) - R_min) / lambda    for a minimizer nu'.

    `M` comes from the features: an enclosure of the maximum, not the maximum over a grid. Without
    penalty the bound is `R(f) - R_min`. In finite precision the bound holds up to the rounding of
    `F`, of the order of `eps |y|^2`; use double precision for gaps below 1e-6.

    Args:
        problem: a `ParticleProblem` whose features know an upper bound of their maximum
            (`FourierFeatures`; `PointwiseFeatures` with a curvature and a box; ReLU neurons in the
            plane), or one without penalty.
        particles: `m` particles in dimension `d`, `(m,)` and `(m, d)`.

    Returns:
        `Gap(objective, lower_bound, gap, peak)`, scalars.

    Raises:
        ValueError: if the problem offers no rigorous bound, there are no particles, or some with
            mass are outside the box of the features.

    >>> import jax.numpy as jnp
    >>> from swjax.particles import LeastSquares, PointwiseFeatures, as_particles
    >>> wave = lambda theta: jnp.array([jnp.cos(theta[0]), jnp.sin(theta[0])])
    >>> features = PointwiseFeatures(wave, curvature=1.0, lower=jnp.zeros(1), upper=jnp.ones(1) * 7)
    >>> problem = ParticleProblem(features, LeastSquares(jnp.array([2.0, 0.0])), penalty=0.5)
    >>> gap = duality_gap(problem, as_particles(jnp.array([1.5]), jnp.array([0.0])))
    >>> round(float(gap.objective), 3), bool(0 <= gap.gap < 1e-5)
    (0.875, True)
    """
    problem.check(particles)
    gap = gap_or_infinity(problem, particles)
    if gap.peak is None and problem.penalty is not None:
        raise ValueError(
            "No rigorous upper bound of |<R'(f), phi>| over all positions is known for these "
            "features, so no gap can be certified. Use FourierFeatures, PointwiseFeatures with "
            "curvature=, lower= and upper=, or ReLU neurons in the plane; "
            "problem.optimality(particles, grid) gives the values on a grid, which prove nothing."
        )
    if problem.loss.minimum is None and problem.loss.dual(problem.element(particles), 0.0) is None:
        raise ValueError(
            "The loss has neither a conjugate nor a known lower bound. "
            "Pass ConvexLoss(function, minimum=...)."
        )
    check_inside(problem, particles)
    return gap


def check_inside(problem: ParticleProblem, particles: Particles) -> None:
    """Refuse particles outside the box on which their features are bounded, where this is known."""
    outside = _are_outside(problem, particles)
    if is_concrete(outside) and (num := int(outside.sum())):
        raise ValueError(
            f"{num} of {len(outside)} particles are outside the box from lower to upper, beyond "
            "which the features have no bound, so no gap can be certified. Take a larger box "
            "(lower=, upper=), or move these particles into it."
        )


def _are_outside(problem: ParticleProblem, particles: Particles) -> Array:
    """Which particles have mass where the certificate does not reach."""
    has_mass = particles.masses != 0
    if problem.penalty is None or not hasattr(problem.features, "is_outside"):
        return jnp.zeros_like(has_mass)
    return has_mass & problem.features.is_outside(particles.positions)


@jax.jit
def gap_or_infinity(problem: ParticleProblem, particles: Particles) -> Gap:
    """As `duality_gap`, with a gap of infinity where nothing is certified."""
    objective = problem.objective(particles)
    element = problem.element(particles)
    minimum, lower = problem.loss.minimum, jnp.asarray(-jnp.inf, objective.dtype)
    if minimum is not None:
        lower = jnp.maximum(lower, minimum)
    if problem.penalty is None:
        return Gap(objective, lower, objective - lower, None)
    slope = problem.loss.gradient(element)
    peak = problem.features.peak(slope)
    if peak is None:
        lower = jnp.full_like(objective, -jnp.inf)
        return Gap(objective, lower, objective - lower, None)
    largest = problem.penalty / jnp.maximum(peak.bound, jnp.finfo(objective.dtype).tiny)
    dual = problem.loss.dual(element, largest)
    if dual is not None:
        lower = jnp.maximum(lower, dual)
    if minimum is not None:
        pairing = problem.features.pair(slope, particles.positions)
        excess = vdot(particles.masses, pairing) + (objective - problem.loss(element))
        most = (objective - minimum) / problem.penalty
        surplus = jnp.maximum(peak.bound - problem.penalty, 0) * most
        lower = jnp.maximum(lower, objective - excess - surplus)
    lower = jnp.where(jnp.any(_are_outside(problem, particles)), -jnp.inf, lower)
    return Gap(objective, lower, objective - lower, peak)
