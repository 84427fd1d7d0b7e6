"""Which assumptions of the convergence theorems hold for a model and two laws, and why."""

from swjax.assumptions.check import check as check
from swjax.assumptions.report import Assumption as Assumption
from swjax.assumptions.report import Report as Report
from swjax.assumptions.report import Theorem as Theorem
