"""Gradient flows: the curves that iterations with small steps are compared with."""

from swjax.flows.fluctuation import Fluctuations as Fluctuations
from swjax.flows.fluctuation import fluctuations as fluctuations
from swjax.flows.fluctuation import sample_gradient_covariance as sample_gradient_covariance
from swjax.flows.parameter import Flow as Flow
from swjax.flows.parameter import energy_residual as energy_residual
from swjax.flows.parameter import gradient_flow as gradient_flow
from swjax.flows.sliced import SlicedFlow as SlicedFlow
from swjax.flows.sliced import sliced_flow as sliced_flow
from swjax.flows.sliced_cells import CellDescent as CellDescent
from swjax.flows.sliced_cells import cell_minimizer as cell_minimizer
from swjax.flows.sliced_cells import descend_cells as descend_cells
from swjax.flows.sliced_cells import sliced_cell as sliced_cell
from swjax.flows.sliced_cells import sliced_fixed_point as sliced_fixed_point
from swjax.flows.sliced_drift import sliced_velocity as sliced_velocity
from swjax.flows.sliced_gaussian import GaussianFlow as GaussianFlow
from swjax.flows.sliced_gaussian import gaussian_sliced_flow as gaussian_sliced_flow
