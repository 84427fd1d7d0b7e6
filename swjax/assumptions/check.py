"""Which assumptions of the convergence theorems hold for a generator and two laws."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from swjax._trees import dtype_of, is_kind
from swjax.assumptions.bounds import Kind, Value
from swjax.assumptions.comparisons import Comparison, compare
from swjax.assumptions.evidence import Evidence, sample_evidence, sample_jump
from swjax.assumptions.inspection import read, read_at, vanishes
from swjax.assumptions.program import Program, is_real, trace
from swjax.assumptions.report import Report
from swjax.assumptions.verdicts import Behavior, Facts, all_assumptions, both_theorems

# Where the caller names no ball, numbers are given for this many times the norm of the parameters.
_PROBE = 2.0
_VERY_FAR = 1e12
# Above these, differences are no rounding error. That of batches is a power of the precision.
_BATCH_POWER = 0.5
_DERIVATIVE_TOLERANCE = 0.01
_QUOTIENT_TOLERANCE = 0.1


def check(
    model: Any,
    params: PyTree,
    source: Any,
    target: Any,
    *,
    radius: float | int | None = None,
    p: float | int = 2,
    key: Array | None = None,
    num_samples: int = 32,
) -> Report:
    """Find out which of the assumptions A1 to A7 hold, and which theorem applies.

    The two theorems of Tanguy ("Convergence of SGD for training neural networks with sliced
    Wasserstein losses", TMLR 2023): interpolated paths of constant-step SGD approach the gradient
    flow (Theorem 1: A1 to A5), and noised SGD projected on a ball approaches the critical points
    (Theorem 2: A1, A2, A4 to A7).

    The program of the generator is traced for one latent point and read operation by operation:
    how each array depends on the parameters and on the point, and bounds of values, Lipschitz
    constants and second derivatives. An operation without a rule leads to "unknown", never to a
    guess. Activations that choose between branches are examined numerically, as functions of one
    variable, up to 1000 in size; if they switch or have poles beyond, the answer is "unknown".

    What the program for one point cannot show is tried at a few fixed parameters and points:
    whether points of a batch influence each other (then there is no T, and the assumptions about
    it fail), and whether derivative rules of the program's own, `stop_gradient` among them, agree
    with its operations (if not, SGD does not follow the gradient, and no theorem is about it). With
    a `key`, the generator is also evaluated at random: lower bounds of the constants, and whether
    the derivative is that of difference quotients. Every verdict says what it rests on.

    "holds on the ball" means for `|u| <= radius`, which is enough for a scheme that projects on the
    ball. "holds only with the cut-off" means that it holds for `T` times a smooth cut-off (see
    `swjax.generators.Cutoff`): constants exist on every ball but not for all parameters. For a
    discrete source, Lipschitz continuity is asked in `u` alone, uniformly over the atoms.

    Args:
        model: a Flax module, or a pure function `apply(params, x)` from `(n, d_x)` to `(n, d_y)`.
        params: parameters of the generator, a pytree. SGD moves its leaves that hold real numbers;
            integers, truth values and random keys stay as they are.
        source: law of the latent points, with `.dim`, `.radius`, `.is_discrete` and `.sample`.
        target: law of the data, likewise.
        radius: radius of the ball that the parameters are projected on, a float; `None` if there
            is none. Numbers then refer to twice the norm of `params`.
        p: order of the distance.
        key: a JAX random key for samples; `None` for inspection alone.
        num_samples: number of random parameters and points evaluated.

    Returns:
        A `Report`: `print` it, index it by name (`report["A2"].verdict`), or take `.to_dict()`.
        Its `numbers` hold, as far as known, the Lipschitz constants, `M`, the radii, and the step
        size bound `alpha_0 = 1 / ((d_y^2 + 2 R_y) d_u M)`, below which laws with a density keep
        one (a sufficient condition; useful only for small problems).

    Raises:
        ValueError: if the radius is not positive or excludes `params`, `p < 1`, no leaf of `params`
            holds real numbers, the generator cannot map a single point, or its output has another
            dimension than the target.
        TypeError: if the model is neither a function nor has a function `apply`, or a leaf of
            `params` holds complex numbers.

    >>> import jax
    >>> import swjax
    >>> ball = swjax.measures.ball(2)
    >>> report = check(lambda u, x: x + u[None], jax.numpy.zeros(2), ball, ball)
    >>> report["A2"].verdict, report["A6"].verdict
    ('holds', 'fails')
    >>> round(1 / report.numbers["alpha_0"])  # (d_y^2 + 2 R_y) d_u M = (4 + 2) * 2 * 2
    24
    """
    apply = getattr(model, "apply", model)
    if not callable(apply):
        raise TypeError(f"model must be a function (params, x) -> y or have one, got {model!r}.")
    if not p >= 1:
        raise ValueError(f"The order p must be at least 1, got {p}.")
    _check_params(params)
    norm = _norm(params)
    if radius is not None and not (radius > 0 and norm <= radius * (1 + 1e-5)):
        raise ValueError(
            f"The parameters have norm {norm:.6g}; the radius must be positive and not less, "
            f"got {radius}."
        )
    program = _traced(apply, params, source, target)
    facts = _facts(program, source, target, radius, norm, p)
    compared, evidence = compare(apply, params, source, facts.radius), None
    if key is not None:
        evidence_key, jump_key = jax.random.split(key)
        evidence = sample_evidence(evidence_key, apply, params, source, facts.radius, num_samples)
        if facts.kinds.kind_u >= Kind.JUMPING:
            jump = sample_jump(jump_key, apply, params, source, facts.radius)
            facts = replace(facts, jump=jump)
    behavior = _behavior(program, compared, evidence)
    assumptions = all_assumptions(facts, behavior)
    return Report(
        assumptions,
        both_theorems(assumptions, facts, behavior),
        _numbers(program, facts, evidence, target, behavior),
        _notes(facts, compared, evidence, behavior),
    )


def _check_params(params: PyTree) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if is_kind(dtype_of(leaf), jnp.complexfloating):
            raise TypeError(
                f"params{jax.tree_util.keystr(path)} has dtype {dtype_of(leaf)}; the theorems are "
                "about real parameters. Keep the real and the imaginary part in two arrays."
            )
    if not any(np.size(leaf) for leaf in jax.tree.leaves(params) if is_real(leaf)):
        raise ValueError(
            "No leaf of params holds real numbers, so there is nothing that SGD could move; at "
            "least one floating-point array is expected. Convert integers with .astype(float)."
        )


def _norm(params: PyTree) -> float:
    real = filter(is_real, jax.tree.leaves(params))
    leaves = [np.asarray(leaf, np.float64) for leaf in real]
    return math.sqrt(sum(float(np.sum(leaf**2)) for leaf in leaves))


def _traced(apply: Callable[..., Array], params: PyTree, source: Any, target: Any) -> Program:
    try:
        program = trace(apply, params, source.dim)
    except Exception as error:
        raise ValueError(
            f"The generator cannot map one latent point (1, {source.dim}): {error} The theorems "
            "are about generators T(u, x) that act on one point at a time."
        ) from error
    shapes = [v.aval.shape for v in program.jaxpr.jaxpr.outvars]
    if shapes != [(1, target.dim)]:
        raise ValueError(
            f"The generator maps one latent point to shape {shapes}; the target has dimension "
            f"{target.dim}."
        )
    return program


def _facts(
    program: Program,
    source: Any,
    target: Any,
    radius: float | int | None,
    norm: float,
    order: float | int,
) -> Facts:
    reach = float(source.radius)
    ball = _PROBE * max(norm, 1.0) if radius is None else float(radius)
    everywhere = read(program, math.inf, reach)
    vanishes_at, inside = math.inf, None
    if not math.isfinite(everywhere.du):
        vanishes_at = _vanishing_norm(program, reach)
        if math.isfinite(vanishes_at):
            inside = read(program, vanishes_at, reach)
    return Facts(
        ball=read(program, ball, reach),
        everywhere=everywhere,
        radius=ball,
        is_given=radius is not None,
        vanishes_at=vanishes_at,
        inside=inside,
        source_radius=reach,
        target_radius=float(target.radius),
        source_is_discrete=bool(source.is_discrete),
        target_is_discrete=bool(target.is_discrete),
        jump=0.0,
        order=float(order),
    )


def _behavior(program: Program, compared: Comparison, evidence: Evidence | None) -> Behavior:
    """What the differences found mean."""
    precision = float(jnp.finfo(program.jaxpr.out_avals[0].dtype).eps)
    within = lambda error, tolerance: None if math.isnan(error) else error < tolerance
    derivative = within(compared.derivative, _DERIVATIVE_TOLERANCE)
    if evidence is not None and evidence.gradient_error > _QUOTIENT_TOLERANCE:
        derivative = None if derivative else False
    return Behavior(
        within(compared.batch, precision**_BATCH_POWER),
        derivative,
        tuple(sorted(program.own_derivatives)),
    )


def _vanishing_norm(program: Program, reach: float) -> float:
    """The smallest norm of the parameters from which on the output is known to be zero."""
    if not vanishes(program, _VERY_FAR, reach):
        return math.inf
    low, high = 1e-6, _VERY_FAR
    while high > 1.001 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if vanishes(program, middle, reach) else (middle, high)
    return high


def _numbers(
    program: Program, facts: Facts, evidence: Evidence | None, target: Any, behavior: Behavior
) -> dict[str, float]:
    num = sum(leaf.size for leaf in program.leaves if is_real(leaf))
    numbers = {
        "num_params": num,
        "params_norm": _norm(program.leaves),
        "radius": facts.radius,
        "source_radius": facts.source_radius,
        "target_radius": facts.target_radius,
    }
    if behavior.pointwise is not False:  # else there is no T that constants could be about
        per_step = (target.dim**2 + 2 * facts.target_radius) * num
        numbers |= _constants(facts, read_at(program, facts.source_radius), per_step)
        if evidence is not None:
            numbers |= {
                "lipschitz_sampled": evidence.lipschitz,
                "output_sampled": evidence.output,
                "M_sampled": evidence.second,
                "alpha_0_sampled": 1 / (per_step * evidence.second)
                if evidence.second
                else math.inf,
            }
    known = {name: float(value) for name, value in numbers.items()}
    return {
        name: value
        for name, value in known.items()
        if math.isfinite(value) and not (name == "alpha_0" and value == 0)
    }


def _constants(facts: Facts, alone: Value, per_step: float) -> dict[str, float]:
    """Bounds, also of T for the parameters given alone, and the bound of the step size."""
    best = facts.best
    return {
        "cutoff_radius": facts.vanishes_at,
        "lipschitz_u_bound": best.du if facts.kinds.kind_u < Kind.JUMPING else math.inf,
        "lipschitz_x_bound": best.dx if facts.kinds.kind_x < Kind.JUMPING else math.inf,
        "lipschitz_x_at_params": alone.dx if alone.kind_x < Kind.JUMPING else math.inf,
        "output_bound": best.norm,
        "M_bound": facts.second,
        "alpha_0": 1 / (per_step * facts.second) if facts.second > 0 else math.inf,
    }


def _notes(
    facts: Facts, compared: Comparison, evidence: Evidence | None, behavior: Behavior
) -> tuple[str, ...]:
    notes = []
    where = f"{compared.num_points} points for {compared.num_params} choices of the parameters"
    agree = ["points map in a batch as they do alone"] if behavior.pointwise else []
    if behavior.derivative and behavior.rules:
        agree.append("derivative rules of the program's own agree with its operations")
    if agree:
        notes.append(f"Compared at {where}, not proved: {' and '.join(agree)}.")
    if behavior.pointwise is False:
        notes.append(
            "Points mapped together differ from points mapped one by one (relative difference "
            f"{compared.batch:.2g})."
        )
    if compared.derivative >= _DERIVATIVE_TOLERANCE:
        notes.append(
            "The derivative that JAX returns differs from that of the operations (relative "
            f"difference {compared.derivative:.2g})."
        )
    if evidence is not None and evidence.gradient_error > _QUOTIENT_TOLERANCE:
        notes.append(
            "The derivative that JAX returns differs from difference quotients (median relative "
            f"difference {evidence.gradient_error:.2g})."
        )
    if evidence is None:
        notes.append("Nothing was sampled: pass a key for evidence beside the inspection.")
    elif not evidence.finite:
        notes.append("Some outputs or derivatives at random parameters are not numbers.")
    if not facts.is_given:
        notes.append(
            f"No ball was given; numbers without another range are for |u| <= {facts.radius:.4g}."
        )
    return tuple(notes)
