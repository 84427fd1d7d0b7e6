"""What is wrong between the fields of a flow study, each valid by itself."""

from typing import TYPE_CHECKING, Any

from swjax.experiment import pieces

if TYPE_CHECKING:
    from swjax.experiment.study import FlowStudy

_FEWEST = 3
# The laws between which a scale has a closed form, by kind: what must hold besides, in words.
_TWO_POINTS = ((-0.5,), (0.5,))


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


def closed_form_problems(study: Any, place: str) -> list[str]:
    """Why the expected loss of a study has no closed form here; empty if it has one.

    Args:
        study: the study.
        place: the field that asks for it.
    """
    found, kind = [], study.generator.kind
    if kind == "scale":
        found += _scale_problems(study, place)
    elif kind == "affine":
        found += _linear_problems(study, place)
    elif kind != "translation":
        found.append(
            f"{place}: the closed forms are those of the generators 'translation', 'scale' and "
            f"'affine' without bias, not of {kind!r}; use {{kind: population}}"
        )
    if study.loss.p != 2 or study.loss.directions.kind != "uniform":
        found.append(f"{place}: the closed form needs p = 2 and uniform directions")
    return found


def _scale_problems(study: Any, place: str) -> list[str]:
    law = study.source
    known = law == study.target and law.shift is None and law.num_atoms is None
    if law.kind == "discrete":
        known = known and tuple(sorted(law.points)) == _TWO_POINTS and law.weights is None
    elif law.kind == "cube":
        known = known and law.dim == 1 and law.half_width == 1
    else:
        known = known and law.kind == "gaussian" and law.covariance is None
    if known:
        return []
    return [
        f"{place}: the closed form of a scale is known for one law as source and target, "
        "{kind: discrete, points: [[-0.5], [0.5]]}, {kind: cube, dim: 1} or a Gaussian; "
        "use {kind: population}"
    ]


def _linear_problems(study: Any, place: str) -> list[str]:
    laws = (study.source, study.target)
    plain = all(
        law.kind == "gaussian" and law.dim <= 2 and not law.shift and not law.num_atoms
        for law in laws
    )
    if plain and not study.generator.bias and laws[0].std == 1 and laws[0].covariance is None:
        return []
    return [
        f"{place}: the closed form of an affine generator needs `bias: false`, the source "
        "{kind: gaussian, dim: 2} of unit variance, and a centered Gaussian as target, on the line "
        "or in the plane; use {kind: population}"
    ]


def _solution_set_problems(study: "FlowStudy") -> list[str]:
    found = [
        line.replace("use {kind: population}", "no other set of solutions is known")
        for line in _scale_problems(study, "reference")
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
                f"and there are {len(study.step_sizes)}"
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
