"""What the averages over long runs are worth: a section of the report."""

from typing import Any

from swjax.experiment import report_html as html
from swjax.experiment.report_html import Column, Html, tag
from swjax.experiment.study import StationarityStudy


def sampling_section(summary: dict[str, Any], study: StationarityStudy) -> Html:
    """The table of autocorrelation times and effective sample sizes; empty while there are none."""
    rows = summary.get("sampling") or []
    if not rows:
        return Html()
    several = len({row["arm"] for row in rows}) > 1
    columns = [Column("scheme", "text")] * several + [Column("squares of", "text")]
    columns += [
        Column(title)
        for title in (
            "step size α",
            "autocorrelation time (flow time)",
            "in steps",
            "records per run",
            "runs",
            "effective samples",
            "drift after burn-in, in %",
        )
    ]
    body = [
        [
            *([row["arm"]] * several),
            row["part"],
            f"{row['step_size']:.10g}",
            _time(row),
            html.number(row["in_steps"]) if row["resolved"] else "–",
            row["records_per_run"],
            row["num_runs"],
            f"{row['effective_sample_size']:.0f}",
            html.with_interval(100 * row["drift"], 100 * row["drift_low"], 100 * row["drift_high"]),
        ]
        for row in rows
    ]
    words = (
        f"Records up to flow time {study.burn_in:g} are left out as burn-in. Intervals are over "
        "runs, which are independent; the records of one run are not. The integrated "
        "autocorrelation time tau, with its standard error, says what they are worth: as many as "
        "(records of all runs) x spacing / tau independent ones. Where it is below the spacing of "
        "the records, these count as independent. Drift is the mean square in the second half of "
        "the time after burn-in minus that in the first half, as a share of it."
    )
    short = [row for row in rows if not row["long_enough"]]
    if short:
        words += (
            f" In {len(short)} of {len(rows)} rows a run is shorter than ten autocorrelation "
            "times, so that the time may be underestimated."
        )
    return html.section(
        "Long runs: what their averages are worth", tag("p", words), html.table(columns, body)
    )


def _time(row: dict[str, Any]) -> str:
    if not row["resolved"]:
        return "below the spacing"
    return f"{html.number(row['autocorrelation_time'])} ± {html.number(row['standard_error'], 1)}"
