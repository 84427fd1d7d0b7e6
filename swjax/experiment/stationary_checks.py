"""What is wrong between the fields of a study of long runs, each valid by itself."""

from typing import Any

from swjax.experiment import pieces
from swjax.experiment.exact_loss_checks import population_problems

# Fewer records than this after burn-in say nothing about correlation in time.
_FEWEST_RECORDS = 10
_KNOWN = ("translation", "scale", "absolute_scale")


def stationarity_problems(study: Any) -> list[str]:
    """The mistakes of a study of kind ``stationarity``, in words; empty if there are none.

    Args:
        study: the study, its fields validated one by one.
    """
    return [
        *_schedule_problems(study),
        *_scheme_problems(study),
        *_critical_set_problems(study),
        *_expectation_problems(study),
    ]


def _schedule_problems(study: Any) -> list[str]:
    if study.burn_in >= study.horizon:
        return [
            f"burn_in: {study.burn_in:g} is not before the horizon {study.horizon:g}; "
            "nothing would be left to measure"
        ]
    spacing = study.horizon / study.record.num_times
    kept = int((study.horizon - study.burn_in) / spacing + 1e-9) + 1
    if kept < _FEWEST_RECORDS:
        return [
            f"record.num_times: only {kept} recorded times lie after burn_in; at least "
            f"{_FEWEST_RECORDS} are needed, so give more times or a longer horizon"
        ]
    return []


def _scheme_problems(study: Any) -> list[str]:
    return [
        f"{place}: "
        + ("momentum changes" if scheme.kind == "sgd" else f"{scheme.kind!r} changes")
        + f" the law in the long run; a study of kind 'stationarity' takes "
        f"{', '.join(pieces.SCHEMES)}, one of kind 'training' any scheme"
        for place, scheme in study.scheme_places.items()
        if isinstance(scheme, pieces.OptaxScheme) or getattr(scheme, "momentum", 0)
    ]


def _critical_set_problems(study: Any) -> list[str]:
    asked, generator = study.critical_set, study.generator.kind
    if asked.kind == "points":
        lengths = {len(point) for point in asked.values}
        if not asked.values or len(lengths) > 1:
            return [
                "critical_set.values: expected a list of parameter vectors of one length, such as "
                f"[[0.25], [-0.25]]; got {len(asked.values)} of lengths {sorted(lengths)}"
            ]
        return []
    if asked.kind == "closed_form":
        if generator not in _KNOWN:
            return [
                f"critical_set: the critical set of the generator {generator!r} is not known; "
                f"known are those of {', '.join(_KNOWN)}. State it with {{kind: points, values: "
                "...}, or use {kind: residual}"
            ]
        if study.loss.p != 2 and not (generator == "translation" and _are_atoms(study)):
            return [
                f"critical_set: the closed form is that of p = 2, not {study.loss.p:g} (other "
                "orders: translations of a single atom); state the critical points with {kind: "
                "points, values: ...}"
            ]
        if generator == "translation" and study.loss.directions.kind != "uniform":
            return ["critical_set: the closed form of translations needs uniform directions"]
        if generator == "translation":
            return []
    elif asked.draws is not None:
        if asked.num_directions is not None:
            return [
                "critical_set: `num_directions` belongs to the exact expected loss, `draws` to the "
                "mean over fixed draws; give one of them (or draws.num_directions)"
            ]
        return []
    return population_problems(study, "critical_set")


def _are_atoms(study: Any) -> bool:
    laws = (study.source, study.target)
    return all(law.kind == "discrete" and len(law.points) == 1 for law in laws)


def _expectation_problems(study: Any) -> list[str]:
    expect, found = study.expect, []
    known = study.critical_set.kind != "residual"
    for place, part in asked_parts(expect):
        if (part == "residual") == known:
            what = "the critical set is known" if known else "the critical set is not known"
            has = "distance, tangential, radial" if known else "residual"
            found.append(f"expect.{place}.part: {what}, so this study measures {has}, not {part}")
    if expect.orders and len(study.step_sizes) < 3:
        found.append(
            f"expect.orders: an order needs at least three step sizes, got {len(study.step_sizes)}:"
            " through two points a line always fits; give more, or leave it out"
        )
    if (expect.constants or expect.noise_effect) and study.critical_set.kind != "closed_form":
        found.append(
            "expect: constants and the effect of noise are known for critical_set "
            f"{{kind: closed_form}} only, not {study.critical_set.kind!r}"
        )
    if expect.constants and len(study.step_sizes) < 3:
        found.append(
            "expect.constants: the limit of small steps needs at least three step sizes, "
            f"got {len(study.step_sizes)}; give more, or leave it out"
        )
    if expect.noise_effect is not None and not noise_pairs(study):
        found.append("expect.noise_effect: needs two `arms` that differ in nothing but `noise_std`")
    return found


def asked_parts(expect: Any) -> list[tuple[str, str]]:
    """Where a part is named, and which one."""
    parts = [(f"orders.{i}", each.part) for i, each in enumerate(expect.orders)]
    parts += [(f"constants.{i}", each.part) for i, each in enumerate(expect.constants)]
    return parts + ([("rare", expect.rare.part)] if expect.rare is not None else [])


def noise_pairs(study: Any) -> list[tuple[str, str]]:
    """Pairs of arms (less noise, more noise) that are equal but for it; each arm's first match."""
    radius = lambda scheme: getattr(scheme, "radius", None)
    noise = lambda scheme: getattr(scheme, "noise_std", 0.0)
    pairs = []
    for name, scheme in study.schemes.items():
        for other, earlier in study.schemes.items():
            if radius(earlier) == radius(scheme) and noise(earlier) < noise(scheme):
                pairs.append((other, name))
                break
    return pairs
