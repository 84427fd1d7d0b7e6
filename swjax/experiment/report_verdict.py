"""Verdicts in words: what was claimed, what was measured, and why it holds, fails or stays open."""

import math
from typing import Any

from swjax.experiment import report_html as html
from swjax.experiment.report_claims import claims_of, expectation, fails_by_its_note, has_width
from swjax.experiment.report_html import Column, Html, tag

_MARKS = {"holds": "✓ holds", "fails": "✗ fails", "undecided": "? undecided"}


def verdict_block(summary: dict[str, Any], *, is_complete: bool) -> Html:
    """The answer at the top of the page: one word, and one sentence per claim.

    Args:
        summary: content of ``summary.json``.
        is_complete: whether every cell has run.
    """
    claims = claims_of(summary)
    word, kind = _overall([c["verdict"] for c in claims], is_complete)
    parts = [tag("p", word, class_="word")]
    if claims:
        parts.append(tag("ul", html.joined(tag("li", sentence(claim)) for claim in claims)))
        parts.append(
            tag(
                "p",
                "Unless a claim says otherwise, it holds when its whole 95 % interval lies inside "
                "the band that was stated beforehand, fails when it lies outside, and is undecided "
                "when the interval reaches across an edge.",
                class_="aside",
            )
        )
    elif is_complete:
        words = "The study states no expectation: it measures, and accepts or rejects nothing."
        parts.append(tag("p", words))
    else:
        parts.append(tag("p", "A verdict needs all cells of the study."))
    return tag("div", html.joined(parts), class_=f"verdict {kind}".strip())


def _overall(verdicts: list[str], is_complete: bool) -> tuple[str, str]:
    """The word on top, and its color: the worst verdict speaks for all."""
    total = len(verdicts)
    if not total:
        return ("No claim was made" if is_complete else "No verdict yet"), ""
    counts = {word: verdicts.count(word) for word in _MARKS}
    if counts["holds"] == total:
        return ("It holds" if total == 1 else f"All {total} claims hold"), "holds"
    worst = "fails" if counts["fails"] else "undecided"
    if total == 1:
        return ("It fails" if worst == "fails" else "Undecided"), worst
    words = [_count(counts[verdict], verdict) for verdict in (worst, *_MARKS) if counts[verdict]]
    words = list(dict.fromkeys(words))
    return f"Of {total} claims {', '.join(words)}", worst


def _count(num: int, verdict: str) -> str:
    one = {"holds": "holds", "fails": "fails", "undecided": "is undecided"}
    many = {"holds": "hold", "fails": "fail", "undecided": "are undecided"}
    return f"{num} {(one if num == 1 else many)[verdict]}"


def sentence(claim: dict[str, Any]) -> Html:
    """A claim with its verdict, what was measured, and how that compares with what was expected."""
    mark = tag("span", _MARKS[claim["verdict"]], class_=f"tag {claim['verdict']}")
    found = "" if claim.get("estimate") is None else f" {_measured(claim)}."
    note = f" {claim['note']}" if claim.get("note") else ""
    return html.joined([mark, f" {claim['claim']}.{found}{note}"], "")


def _measured(claim: dict[str, Any]) -> str:
    """Estimate and interval against the band; why undecided, and what would decide it."""
    estimate, low, high = claim["estimate"], claim.get("low"), claim.get("high")
    expected, tolerance = claim.get("expected"), claim.get("tolerance")
    measured = f"Measured {_estimate(claim)}"
    if has_width(claim):
        measured += f", 95 % interval {html.interval(low, high)}"
    if expected is None or tolerance is None or low is None or high is None:
        return measured
    if claim.get("at_most") is not None:
        is_open = claim["verdict"] == "undecided" and low <= claim["at_most"]
        reservation = _more_repetitions(claim) if is_open else ""
        return f"{measured}; allowed is {expectation(claim, html.number)}{reservation}"
    band = expectation(claim, html.number)
    if claim["verdict"] == "fails":
        return measured if fails_by_its_note(claim) else f"{measured}, outside {band}"
    if expected - tolerance <= low and high <= expected + tolerance:
        reservation = ", which does not decide it" if claim["verdict"] == "undecided" else ""
        return f"{measured}, inside {band}{reservation}"
    if claim["verdict"] == "holds" and abs(estimate - expected) <= tolerance:
        return f"{measured}, within {band}"
    if claim["verdict"] == "holds":
        return f"{measured}; expected was {band}"
    return f"{measured}, across an edge of {band}{_more_repetitions(claim)}"


def _more_repetitions(claim: dict[str, Any]) -> str:
    """How many repetitions would bring the interval inside, if its middle stays where it is.

    Nothing where its width does not fall like the root of their number.
    """
    estimate, low, high = claim["estimate"], claim["low"], claim["high"]
    room = claim["tolerance"] - abs(estimate - claim["expected"])
    if room < 0:
        return "; the estimate itself lies outside, yet the interval reaches in"
    if room == 0 or claim.get("is_share"):
        return ""
    factor = (max(estimate - low, high - estimate) / room) ** 2
    if not 1 < factor < 1000:
        return ""
    return f"; about {math.ceil(10 * factor) / 10:g} times as many repetitions would decide it"


def _estimate(claim: dict[str, Any]) -> str:
    estimate = claim["estimate"]
    if has_width(claim):
        return f"{estimate:.{html.decimals_of(claim['high'] - claim['low'])}f}"
    tolerance = claim.get("tolerance")
    if tolerance and abs(tolerance) < 1e-3:  # a bound up to rounding: show the digits that matter
        return f"{estimate:.{html.decimals_of(tolerance, 1)}f}"
    return html.number(estimate, 4)


def claims_table(summary: dict[str, Any]) -> Html:
    """All claims as numbers."""
    claims = claims_of(summary)
    if not claims:
        return Html()
    columns = [Column("claim", "text wide"), Column("estimate"), Column("95 % interval")]
    columns += [Column("expected"), Column("verdict", "text")]
    rows = [
        [
            claim["claim"],
            "–" if claim.get("estimate") is None else _estimate(claim),
            html.interval(claim.get("low"), claim.get("high")) if has_width(claim) else "–",
            "–" if claim.get("expected") is None else expectation(claim, html.number),
            tag("span", _MARKS[claim["verdict"]], class_=f"tag {claim['verdict']}"),
        ]
        for claim in claims
    ]
    return html.section("Claims", html.table(columns, rows))
