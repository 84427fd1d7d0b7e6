"""Which hypotheses of the theorems a study satisfies, and so which theorem is about its schemes."""

from typing import Any

import jax

from swjax import assumptions
from swjax.experiment import pieces
from swjax.experiment.build import Problem
from swjax.experiment.study import Study


def hypotheses(problem: Problem) -> dict[str, Any]:
    """Examine the generator and the laws of a study, at a few fixed points; a few seconds at most.

    Args:
        problem: the study made runnable.

    Returns:
        ``assumptions``, one row for each of A1 to A7 with verdict and reason (for each ball, where
        the schemes have several); ``theorems``, one row for each scheme: the theorem that is about
        it, and whether it applies. Where the examination refuses the generator, one row says why.
    """
    study, loss = problem.study, problem.loss
    params = jax.tree.map(lambda leaf: leaf[0], problem.starts)
    radii = {name: getattr(scheme, "radius", None) for name, scheme in study.schemes.items()}
    reports: dict[float | None, assumptions.Report] = {}
    rows: list[dict[str, str]] = []
    for radius in dict.fromkeys(radii.values()):
        try:
            reports[radius] = assumptions.check(
                loss.apply, params, loss.source, loss.target, radius=radius, p=loss.p
            )
        except (ValueError, TypeError) as error:
            reason = f"The generator could not be examined: {error}"
            return {"assumptions": [{"verdict": "unknown", "reason": reason}], "theorems": []}
        where = {} if len(set(radii.values())) == 1 else {"ball": _ball(radius)}
        rows += [
            where
            | {"assumption": a.name, "says": a.statement, "verdict": a.verdict}
            | {"reason": a.reason}
            for a in reports[radius].assumptions
        ]
    theorems = [
        _theorem_row(study, name, reports[radii[name]], several=len(radii) > 1) for name in radii
    ]
    return {"assumptions": rows, "theorems": theorems}


def _ball(radius: float | None) -> str:
    return "none" if radius is None else f"radius {radius:g}"


def _theorem_row(
    study: Study, arm: str, report: assumptions.Report, *, several: bool
) -> dict[str, str]:
    first, second = report.theorems
    scheme, bound = study.schemes[arm], report.numbers.get("alpha_0")
    row = {"scheme": arm} if several else {}
    noised = getattr(scheme, "noise_std", 0) > 0
    if isinstance(scheme, pieces.SGDScheme) and not scheme.momentum:
        theorem, remarks = first, _start_remarks(study)
    elif isinstance(scheme, pieces.NoisedProjectedSGDScheme) and noised:
        theorem, remarks = second, []
    else:
        kind = f"{scheme.kind!r}" + (" with momentum" if scheme.kind == "sgd" else "")
        reason = (
            f"Theorem 1 is about 'sgd' and Theorem 2 about 'noised_projected_sgd' with noise; "
            f"this scheme is {kind}."
        )
        return row | {"theorem": "none", "verdict": "does not apply", "reason": reason}
    if bound is not None and theorem is first:
        above = [f"{size:g}" for size in study.step_sizes if size >= bound]
        remarks.append(
            f"alpha_0 = {bound:.3g} is sufficient, not necessary"
            + (f"; step sizes not below it: {', '.join(above)}." if above else ".")
        )
    reason = " ".join([theorem.reason, *remarks])
    return row | {"theorem": theorem.name, "verdict": theorem.verdict, "reason": reason}


def _start_remarks(study: Study) -> list[str]:
    """What the first theorem asks of the law of the start."""
    if study.initial.kind != "fixed" and not study.initial.shared:
        return []
    return ["The theorem asks for a start with a density; here all runs share one start."]
