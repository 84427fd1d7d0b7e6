"""What a claim expects and whether it has an interval: the same on the page and the terminal."""

from collections.abc import Callable
from typing import Any

from swjax.experiment.statements import band

# A band that is narrower than this share of what is expected allows for rounding alone.
_ROUNDING = 1e-5


def claims_of(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The claims of a summary; those that only say "at most" carry the bound as ``at_most``.

    These expect 0 of something positive, or a radius up to rounding. In a training study 0 is
    expected of differences, which may have either sign.
    """
    only_positive = summary.get("kind") != "training"
    claims = []
    for claim in summary.get("claims") or []:
        expected, tolerance = claim.get("expected"), claim.get("tolerance")
        stated = expected is not None and tolerance is not None
        if stated and (only_positive if expected == 0 else tolerance <= _ROUNDING * expected):
            claim = claim | {"at_most": expected + tolerance}
        claims.append(claim)
    return claims


def expectation(claim: dict[str, Any], number: Callable[[float, int], str]) -> str:
    """What a claim of `claims_of` expects: a bound, or a band.

    Args:
        claim: one with ``expected`` and ``tolerance``.
        number: shows a number to so many digits.
    """
    if claim.get("at_most") is not None:
        rounding = " up to rounding" if claim["expected"] else ""
        return f"at most {number(claim['at_most'], 4)}{rounding}"
    exact, rough = (lambda value: number(value, 4)), (lambda value: number(value, 2))
    return band(claim["expected"], claim["tolerance"], exact, rough)


def has_width(claim: dict[str, Any]) -> bool:
    """Whether there is an interval; a largest value seen, which is its own upper end, has none."""
    low, high = claim.get("low"), claim.get("high")
    return low is not None and high is not None and low < high and claim["estimate"] < high


def fails_by_its_note(claim: dict[str, Any]) -> bool:
    """Whether the note says why a claim fails: what was measured lies inside the band."""
    off = abs(claim["estimate"] - claim["expected"])
    return claim["verdict"] == "fails" and off <= claim["tolerance"]
