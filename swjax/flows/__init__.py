"""Gradient flows: the curves that iterations with small steps are compared with."""

from swjax.flows.fluctuation import Fluctuations as Fluctuations
from swjax.flows.fluctuation import fluctuations as fluctuations
from swjax.flows.fluctuation import sample_gradient_covariance as sample_gradient_covariance
from swjax.flows.parameter import Flow as Flow
from swjax.flows.parameter import energy_residual as energy_residual
from swjax.flows.parameter import gradient_flow as gradient_flow
