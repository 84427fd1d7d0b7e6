"""What is wrong between the fields of a flow study, each valid by itself."""

from typing import TYPE_CHECKING

from swjax.experiment import pieces
from swjax.experiment.exact_loss_checks import closed_form_problems, scale_problems

if TYPE_CHECKING:
    from swjax.experiment.study import FlowStudy

_FEWEST = 3


def flow_problems(study: "FlowStudy") -> list[str]:
    """One line per mistake."""
    found = _scheme_problems(study)
    if study.reference.kind == "closed_form":
        found += closed_form_problems(study, "reference")
    if study.reference.kind == "solution_set":
        found += _solution_set_problems(study)
    return found + _expectation_problems(study)


def _scheme_problems(study: "FlowStudy") -> list[str]:
    found = []
    for place, scheme in study.scheme_places.items():
        if isinstance(scheme, pieces.OptaxScheme) or getattr(scheme, "momentum", 0):
            what = "with momentum" if scheme.kind == "sgd" else repr(scheme.kind)
            found.append(
                f"{place}: {what} does not follow the gradient flow -grad F; "
                f"a study of kind 'flow' compares {', '.join(pieces.SCHEMES)}, "
                "one of kind 'training' any scheme"
            )
        if study.reference.kind in ("closed_form", "solution_set") and hasattr(scheme, "radius"):
            found.append(
                f"{place}: the closed form is that of the free flow, and {scheme.kind!r} "
                "projects; use {kind: population}"
            )
    return found


def _solution_set_problems(study: "FlowStudy") -> list[str]:
    found = [
        line.replace("use {kind: population}", "no other set of solutions is known")
        for line in scale_problems(study, "reference")
    ]
    if study.generator.kind != "scale":
        found = [
            "reference: the set of solutions is known for the generator 'scale', "
            f"not for {study.generator.kind!r}"
        ]
    if not study.record.path:
        found.append("reference: the distance to the set of solutions needs `record.path: true`")
    return found


def _expectation_problems(study: "FlowStudy") -> list[str]:
    expect, found = study.expect, []
    if expect.order is None and expect.eta is None and expect.limits is None:
        found.append("expect: name what is expected: an `order`, an `eta`, or `limits`")
    if (expect.order is None) != (expect.tolerance is None):
        found.append("expect: give `order` and `tolerance` together")
    if expect.factor is not None and expect.order is None:
        found.append("expect.factor: the factor of a power needs the `order` of the power")
    if expect.from_time >= study.horizon:
        found.append(
            f"expect.from_time: {expect.from_time:g} is not before the horizon {study.horizon:g}"
        )
    for name in ("order", "limits"):
        if getattr(expect, name) is not None and len(study.step_sizes) < _FEWEST:
            found.append(
                f"expect.{name}: needs at least {_FEWEST} step sizes, "
                f"and there are {len(study.step_sizes)}; give more, or leave it out"
            )
    if study.reference.kind == "solution_set" and (expect.from_time or expect.distance == "mean"):
        found.append("expect: the distance to a set of solutions is the largest over all times")
    if expect.limits is not None:
        found += _limits_problems(study)
    return found


def _limits_problems(study: "FlowStudy") -> list[str]:
    found, asked = [], study.expect.limits
    assert asked is not None
    wants_bias = asked.bias is not None or asked.bias_order is not None
    if wants_bias and not study.record.path:
        found.append("expect.limits: the bias needs the mean path; set `record.path: true`")
    if len(study.step_sizes) == asked.degree + 1 == _FEWEST:
        found.append("expect.limits.degree: 2 needs at least four step sizes, to see a misfit")
    if study.reference.kind not in ("closed_form", "population"):
        found.append(
            "expect.limits: the equations need the expected loss, exactly: reference "
            "{kind: closed_form} or {kind: population}"
        )
    continuous = study.source.kind in ("cube", "gaussian") and study.generator.kind != "translation"
    if study.reference.kind == "closed_form" and continuous:
        found.append(
            "expect.limits: the covariance of the gradient is known in closed form for "
            "translations and for the scale of two points"
        )
    if study.reference.kind == "population":
        if study.initial.kind != "fixed" and not study.initial.shared:
            found.append(
                "expect.limits: the equations are solved along one flow; give all repetitions one "
                "start, with initial.shared: true or {kind: fixed, values: [...]}"
            )
        if any(scheme.kind != "sgd" for scheme in study.schemes.values()):
            found.append("expect.limits: the equations are those of the scheme {kind: sgd}")
        if study.loss.directions.kind == "fixed":
            found.append(
                "expect.limits: with fixed directions the gradient jumps, and the equations need "
                "its derivative; use uniform directions on the line or in the plane"
            )
    return found
