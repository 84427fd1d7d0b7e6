"""Why the expected loss of a study is not known exactly, where a field of it asks for that."""

from typing import Any

# The law of two points whose scale has a closed form.
_TWO_POINTS = ((-0.5,), (0.5,))

# What each field takes instead of the exact expected loss.
_OVER_DRAWS = {
    "record.loss": ", or record the loss over draws: {kind: draws, num: 64}",
    "reference": ", or follow the mean over draws: {kind: draws, num: 4096}",
    "critical_set": ", or take the mean over draws: {kind: residual, draws: {num: 4096}}",
}


def population_problems(study: Any, place: str) -> list[str]:
    """Why the expected loss of a study is not exact, as that of discrete laws is; empty if it is.

    Args:
        study: the study.
        place: the field that asks for it.
    """
    instead = _OVER_DRAWS.get(place, "")
    found = []
    continuous = [
        name
        for name, law in (("source", study.source), ("target", study.target))
        if not law.num_atoms and law.kind not in ("digits", "discrete", "file", "indices")
    ]
    if continuous:
        found.append(
            f"{place}: the exact expected loss needs discrete laws; "
            f"give {' and '.join(continuous)} `num_atoms: ...`{instead}"
        )
    if study.loss.p != 2:
        found.append(
            f"{place}: the exact expected loss is known for p = 2, not {study.loss.p}{instead}"
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
        found += scale_problems(study, place)
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


def scale_problems(study: Any, place: str) -> list[str]:
    """Why a scale between these laws has no closed form; empty if it has one."""
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
