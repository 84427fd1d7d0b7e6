"""From what was read off a program and two measures to the verdicts on A1 to A7."""

import math
from dataclasses import dataclass, replace

from swjax.assumptions.bounds import Kind, Value, times
from swjax.assumptions.report import CUTOFF, FAILS, HOLDS, ON_BALL, UNKNOWN, Assumption, Theorem

_INSPECTED = "proved by inspection of the program for one point"
_ONE_POINT = "inspection of the program for one point; batches could not be compared"
_EXAMINED = "inspection of the program for one point, with activations examined numerically"
_COMPARED = "points mapped together and one by one"
_DECLARED = "declared by the measures"
_MIXES = "Points of a batch influence each other: T is no function of (u, x)."
# The assumptions about T. The others are about the laws.
_ABOUT_T = ("A1", "A2", "A4", "A5", "A7")


@dataclass(frozen=True)
class Facts:
    """What the verdicts follow from.

    Attributes:
        ball: what is known of the output for parameters in a ball.
        everywhere: the same for all parameters.
        radius: the radius of that ball.
        is_given: whether the caller gave it, so that the scheme stays in it.
        vanishes_at: a norm of the parameters beyond which the output is zero, `inf` if unknown.
        inside: what is known within that norm, where it is finite.
        source_radius: radius of the support of the source, may be `inf`.
        target_radius: that of the target.
        source_is_discrete: whether the source is a finite sum of atoms.
        target_is_discrete: whether the target is.
        jump: size of a jump in the parameters that was exhibited; 0 if none was found or sought.
        order: the order p of the distance.
    """

    ball: Value
    everywhere: Value
    radius: float
    is_given: bool
    vanishes_at: float
    inside: Value | None
    source_radius: float
    target_radius: float
    source_is_discrete: bool
    target_is_discrete: bool
    jump: float
    order: float

    @property
    def whole(self) -> Value:
        """What is known of the output wherever it does not vanish."""
        return self.everywhere if self.inside is None else self.inside

    @property
    def is_global(self) -> bool:
        """Whether T is Lipschitz for all parameters, by a bound or because it vanishes far out."""
        bounded = math.isfinite(self.everywhere.du) or math.isfinite(self.vanishes_at)
        return bounded and self.worst_kind(self.whole) < Kind.JUMPING

    @property
    def kinds(self) -> Value:
        """How the output depends on its inputs, for all parameters that the scheme can reach.

        What an examination shows on a part, even if it was missed on the whole, is true of the
        whole.
        """
        if self.is_given:
            return self.ball
        part, whole = self.ball, self.everywhere
        return whole.with_(
            kind_u=max(part.kind_u, whole.kind_u),
            kind_x=max(part.kind_x, whole.kind_x),
            numerical=part.numerical | whole.numerical,
            reasons=part.reasons | whole.reasons,
        )

    @property
    def best(self) -> Value:
        """The bounds that count: over all parameters where there are any, else over the ball."""
        if math.isfinite(self.everywhere.du) and (self.is_global or not self.is_given):
            return self.everywhere
        return self.ball if self.inside is None else self.inside

    def worst_kind(self, value: Value) -> Kind:
        """How a value depends on what it has to be Lipschitz in: atoms are no variable."""
        return value.kind_u if self.source_is_discrete else max(value.kind_u, value.kind_x)

    @property
    def second(self) -> float:
        """The constant M of A5 where those bounds hold."""
        return bound_of_second(self.best)


@dataclass(frozen=True)
class Behavior:
    """What the generator does beside mapping one point; `None` where it could not be compared.

    Attributes:
        pointwise: whether points map in a batch as they do alone.
        derivative: whether the derivative that JAX returns is that of the function.
        rules: names of operations with derivative rules of their own.
    """

    pointwise: bool | None
    derivative: bool | None
    rules: tuple[str, ...]


def bound_of_second(value: Value) -> float:
    """A bound of the second derivatives in u of all T_i and T_i T_j."""
    return max(value.duu, 2 * times(value.norm, value.duu) + 2 * times(value.du, value.du))


def all_assumptions(facts: Facts, behavior: Behavior) -> tuple[Assumption, ...]:
    """The verdicts on A1 to A7."""
    lipschitz = _lipschitz(facts)
    assumptions = (
        _pieces(facts),
        lipschitz,
        _compact(facts),
        _growth(facts, lipschitz),
        _second_derivatives(facts),
        _discrete(facts),
        _path_differentiable(facts),
    )
    return tuple(_for_batches(a, behavior.pointwise) for a in assumptions)


def _for_batches(assumption: Assumption, pointwise: bool | None) -> Assumption:
    """The verdict on the program for one point, as one on what is trained: it maps batches."""
    if pointwise or assumption.name not in _ABOUT_T:
        return assumption
    if pointwise is False:
        return Assumption(assumption.name, FAILS, _COMPARED, _MIXES)
    return replace(assumption, basis=_ONE_POINT) if assumption.basis else assumption


def _basis(facts: Facts, bounds: Value | None = None) -> str:
    """What the kinds rest on, and bounds where they count."""
    examined = "kind" in facts.kinds.numerical or (bounds is not None and bounds.numerical)
    return _EXAMINED if examined else _INSPECTED


def _about(value: Value) -> str:
    """The word before a number that does not follow from proofs alone."""
    return "about " if "bounds" in value.numerical else ""


def _because(value: Value) -> str:
    return "; ".join(sorted(value.reasons)) or "an operation that jumps"


def _pieces(facts: Facts) -> Assumption:
    value = facts.kinds
    basis = _basis(facts)
    if value.kind_u == Kind.UNKNOWN:
        return Assumption("A1", UNKNOWN, "", f"The program contains {_because(value)}.")
    if value.kind_u == Kind.SMOOTH:
        return Assumption("A1", HOLDS, basis, "All operations are smooth: one piece.")
    reason = "The pieces are bounded by zero sets of analytic functions of u, which are null sets."
    return Assumption("A1", HOLDS, basis, reason)


def _path_differentiable(facts: Facts) -> Assumption:
    value = facts.kinds
    if facts.jump > 0 and value.kind_u >= Kind.JUMPING:
        reason = f"T jumps by {facts.jump:.3g} in u; the program contains {_because(value)}."
        return Assumption("A7", FAILS, "a jump found by bisection", reason)
    if value.kind_u >= Kind.JUMPING:
        return Assumption("A7", UNKNOWN, "", f"The program contains {_because(value)}.")
    if value.kind_u == Kind.SMOOTH:
        reason = "Every T(., x) is continuously differentiable."
    else:
        reason = (
            "Every T(., x) is a composition of smooth and of piecewise smooth, continuous "
            "operations."
        )
    return Assumption("A7", HOLDS, _basis(facts), reason)


def _lipschitz(facts: Facts) -> Assumption:
    value = facts.ball
    kinds = facts.kinds
    if facts.jump > 0 and kinds.kind_u >= Kind.JUMPING:
        reason = f"T jumps by {facts.jump:.3g} in u; the program contains {_because(kinds)}."
        return Assumption("A2", FAILS, "a jump found by bisection", reason)
    if facts.worst_kind(kinds) >= Kind.JUMPING:
        return Assumption("A2", UNKNOWN, "", f"The program contains {_because(kinds)}.")
    best = facts.best
    finite_x = facts.source_is_discrete or math.isfinite(best.dx)
    basis = _basis(facts, best)
    if facts.is_global and finite_x:
        points = " (x takes finitely many values)" if facts.source_is_discrete else ""
        reason = (
            f"Lipschitz constants at most {_about(best)}{best.du:.4g} in u and {best.dx:.4g} in "
            f"x{points}."
        )
        if not math.isfinite(facts.everywhere.du):
            reason = f"T vanishes for |u| >= {facts.vanishes_at:.4g}. {reason}"
        return Assumption("A2", HOLDS, basis, reason)
    reaches_all = math.isfinite(value.du) and (facts.source_is_discrete or math.isfinite(value.dx))
    if math.isinf(facts.source_radius) and not reaches_all:
        reason = (
            "T is Lipschitz on bounded sets, but no bound is known for all points of the unbounded "
            "source: truncate it, or cut T off in x."
        )
        return Assumption("A2", CUTOFF, basis, reason)
    number = (
        f"Lipschitz constants at most {_about(value)}{value.du:.4g} in u and {value.dx:.4g} in x "
        f"for |u| <= {facts.radius:.4g} and x in the support of the source."
    )
    if not math.isfinite(value.du):
        number = "The Lipschitz constant on bounded sets is finite; no useful bound is known."
    if facts.is_given:
        return Assumption("A2", ON_BALL, basis, f"{number} Without the ball no bound is known.")
    reason = f"No bound is known for all u: constants grow with |u|. {number}"
    return Assumption("A2", CUTOFF, basis, reason)


def _compact(facts: Facts) -> Assumption:
    radii = {"source": facts.source_radius, "target": facts.target_radius}
    unbounded = [name for name, radius in radii.items() if math.isinf(radius)]
    if unbounded:
        reason = f"The {' and the '.join(unbounded)} has unbounded support: truncate it."
        return Assumption("A3", FAILS, _DECLARED, reason)
    reason = f"Radii {facts.source_radius:.4g} (source) and {facts.target_radius:.4g} (target)."
    return Assumption("A3", HOLDS, _DECLARED, reason)


def _growth(facts: Facts, lipschitz: Assumption) -> Assumption:
    bounded = math.isfinite(facts.everywhere.norm) or math.isfinite(facts.vanishes_at)
    if lipschitz.verdict in (UNKNOWN, FAILS) and not bounded:
        return Assumption("A4", UNKNOWN, "", "It would follow from A2.")
    if bounded:
        value = min(facts.whole, facts.everywhere, key=lambda value: value.norm)
        reason = f"T is bounded: |T| <= {_about(value)}{value.norm:.4g}."
        basis = _EXAMINED if "bounds" in value.numerical else _INSPECTED
        return Assumption("A4", HOLDS, basis, reason)
    if lipschitz.verdict == HOLDS and facts.order <= 2:
        reason = "From A2: |T(u, x)| <= |T(0, x)| + L |u|, and |T(0, x)| <= |T(0, 0)| + L |x|."
        return Assumption("A4", HOLDS, lipschitz.basis, reason)
    value = facts.ball
    basis = _basis(facts, value)
    if math.isinf(facts.source_radius) and not math.isfinite(min(value.norm, value.dx)):
        reason = "T is bounded on bounded sets, but the source is not one."
        return Assumption("A4", CUTOFF, basis, reason)
    reason = "T is bounded on bounded sets."
    if facts.order > 2:
        reason += f" For p = {facts.order:g} it may grow like |u|^(1/(p - 1)) only."
    if facts.is_given:
        return Assumption("A4", ON_BALL, basis, reason)
    return Assumption("A4", CUTOFF, basis, reason)


def _second_derivatives(facts: Facts) -> Assumption:
    value, second = facts.best, facts.second
    if facts.kinds.kind_u == Kind.UNKNOWN:
        return Assumption("A5", UNKNOWN, "", f"The program contains {_because(facts.kinds)}.")
    basis = _basis(facts, value)
    finite = math.isfinite(bound_of_second(facts.everywhere)) or math.isfinite(facts.vanishes_at)
    if finite and facts.whole.kind_u < Kind.UNKNOWN:
        if math.isfinite(bound_of_second(facts.everywhere)):
            second = bound_of_second(facts.everywhere)
        return Assumption("A5", HOLDS, basis, f"M = {_about(value)}{second:.4g} for all u.")
    number = (
        f"M = {_about(facts.ball)}{bound_of_second(facts.ball):.4g} for |u| <= {facts.radius:.4g}."
    )
    if not math.isfinite(bound_of_second(facts.ball)):
        number = "M is finite on bounded sets; no useful bound is known."
    if math.isinf(facts.source_radius) and not math.isfinite(bound_of_second(facts.ball)):
        return Assumption("A5", CUTOFF, basis, f"{number} The source is unbounded.")
    if facts.is_given:
        return Assumption("A5", ON_BALL, basis, number)
    return Assumption("A5", CUTOFF, basis, f"No bound is known for all u. {number}")


def _discrete(facts: Facts) -> Assumption:
    discrete = {"source": facts.source_is_discrete, "target": facts.target_is_discrete}
    others = [name for name, value in discrete.items() if not value]
    if others:
        verb = "are" if len(others) > 1 else "is"
        reason = f"The {' and the '.join(others)} {verb} not discrete."
        return Assumption("A6", FAILS, _DECLARED, reason)
    return Assumption("A6", HOLDS, _DECLARED, "Both laws have finitely many atoms.")


def both_theorems(
    assumptions: tuple[Assumption, ...], facts: Facts, behavior: Behavior
) -> tuple[Theorem, Theorem]:
    """The verdicts on the theorems of Tanguy (TMLR 2023)."""
    barred = _barred(behavior)
    if barred is not None:
        first, second = (Theorem(f"Theorem {i}", *barred) for i in (1, 2))
        return first, second
    verdict = {a.name: a.verdict for a in assumptions}
    step = "The start needs a law with a density, and the step size must be below alpha_0."
    paths = _theorem("Theorem 1", verdict, ("A1", "A2", "A3", "A4", "A5"), facts, on_ball=False)
    noised = "The noise needs a density (a Gaussian has one) and a level above zero."
    runs = _theorem("Theorem 2", verdict, ("A1", "A2", "A4", "A5", "A6", "A7"), facts, on_ball=True)
    conditions = {"Theorem 1": step, "Theorem 2": noised}
    theorems = []
    for theorem in (paths, runs):
        reason = theorem.reason
        if theorem.verdict.startswith("applies"):
            reason = f"{reason} {conditions[theorem.name]}".strip()
        theorems.append(Theorem(theorem.name, theorem.verdict, reason))
    return theorems[0], theorems[1]


def _barred(behavior: Behavior) -> tuple[str, str] | None:
    """The verdict on any theorem, with the reason, where SGD is not that of a function T."""
    if behavior.pointwise is False:
        return "does not apply", _MIXES
    rules = f" The program contains {', '.join(behavior.rules)}." if behavior.rules else ""
    if behavior.derivative is False:
        reason = (
            "The derivative that JAX returns is not that of T: SGD does not follow the gradient of "
            f"the loss.{rules}"
        )
        return "does not apply", reason
    if behavior.pointwise is None:
        return "unknown", "Whether points of a batch influence each other could not be compared."
    if behavior.derivative is None:
        reason = "It is not settled whether the derivative that JAX returns is that of T."
        return "unknown", f"{reason}{rules}"
    return None


def _list(names: list[str], verb: str) -> str:
    """The names with a verb: "A1 fails", "A1, A2 and A3 fail"."""
    if len(names) == 1:
        return f"{names[0]} {verb}s"
    return f"{', '.join(names[:-1])} and {names[-1]} {verb}"


def _theorem(
    name: str, verdict: dict[str, str], needed: tuple[str, ...], facts: Facts, *, on_ball: bool
) -> Theorem:
    missing = [a for a in needed if verdict[a] == FAILS]
    if missing:
        silent = " The theorem is then silent; it does not say that convergence fails."
        return Theorem(name, "does not apply", f"{_list(missing, 'fail')}.{silent}")
    doubtful = [a for a in needed if verdict[a] == UNKNOWN]
    if doubtful:
        return Theorem(name, "unknown", f"{' and '.join(doubtful)} could not be decided.")
    order = ""
    if facts.order != 2:
        order = f"For p = {facts.order:g} the paper only sketches the extension."
        if on_ball:
            reason = f"For p = {facts.order:g} it is open whether SW_p^p is path differentiable."
            return Theorem(name, "unknown", reason)
    local = [a for a in needed if verdict[a] in (ON_BALL, CUTOFF)]
    if not local:
        ball = "The scheme must project on a ball." if on_ball and not facts.is_given else ""
        return Theorem(name, "applies", f"{order} {ball}".strip())
    names = _list(local, "hold")
    if on_ball and facts.is_given and all(verdict[a] == ON_BALL for a in local):
        reason = (
            f"{names} on the ball of radius {facts.radius:.4g}, which the projected scheme "
            "never leaves: there T equals its product with a smooth cut-off of larger radius."
        )
        return Theorem(name, "applies", f"{reason} {order}".strip())
    reason = (
        f"{names} for T times a smooth cut-off. The scheme for T itself is the same until it "
        "leaves the ball on which the cut-off is 1."
    )
    if on_ball and not facts.is_given:
        reason += " Give the radius of the ball on which the scheme projects."
    return Theorem(name, "applies with the cut-off", f"{reason} {order}".strip())
