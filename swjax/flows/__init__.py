"""Gradient flows: the curves that iterations with small steps are compared with."""

from swjax.flows.parameter import Flow as Flow
from swjax.flows.parameter import energy_residual as energy_residual
from swjax.flows.parameter import gradient_flow as gradient_flow
