"""Do measurements agree with a theorem? Orders, intervals and verdicts, from repeated runs.

Everything here works on the host, in float64, on arrays of results; nothing is traced. A repetition
that is not finite (a diverged run) is left out of means and fits and counted; in `exceedance` it
counts as an exceedance.
"""

from swjax.convergence.autocorrelation import AutocorrelationTime as AutocorrelationTime
from swjax.convergence.autocorrelation import (
    integrated_autocorrelation_time as integrated_autocorrelation_time,
)
from swjax.convergence.extrapolation import Extrapolation as Extrapolation
from swjax.convergence.extrapolation import extrapolate_to_zero as extrapolate_to_zero
from swjax.convergence.intervals import Interval as Interval
from swjax.convergence.intervals import bootstrap_interval as bootstrap_interval
from swjax.convergence.intervals import exceedance as exceedance
from swjax.convergence.intervals import mean_interval as mean_interval
from swjax.convergence.intervals import paired_difference as paired_difference
from swjax.convergence.intervals import relative_difference as relative_difference
from swjax.convergence.order import Order as Order
from swjax.convergence.order import Verdict as Verdict
from swjax.convergence.order import equivalence_verdict as equivalence_verdict
from swjax.convergence.order import fit_order as fit_order
