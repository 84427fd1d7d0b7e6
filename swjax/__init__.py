"""Train with sliced-Wasserstein losses in JAX, and test numerically what theory says about it."""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

from swjax import assumptions as assumptions
from swjax import convergence as convergence
from swjax import directions as directions
from swjax import exact as exact
from swjax import generators as generators
from swjax import measures as measures
from swjax import monitor as monitor
from swjax import optim as optim
from swjax import problems as problems
from swjax.adaptive import Adaptive as Adaptive
from swjax.adaptive import sw2_sq_adaptive as sw2_sq_adaptive
from swjax.convergence import Order as Order
from swjax.convergence import equivalence_verdict as equivalence_verdict
from swjax.convergence import fit_order as fit_order
from swjax.directions import equispaced_directions as equispaced_directions
from swjax.directions import fibonacci_directions as fibonacci_directions
from swjax.directions import sample_directions as sample_directions
from swjax.directions import sample_equispaced_directions as sample_equispaced_directions
from swjax.directions import sample_fibonacci_directions as sample_fibonacci_directions
from swjax.directions import sample_orthogonal_directions as sample_orthogonal_directions
from swjax.directions import sample_quasi_directions as sample_quasi_directions
from swjax.estimates import Estimate as Estimate
from swjax.estimates import sw2_sq_estimate as sw2_sq_estimate
from swjax.estimates import sw_distance_estimate as sw_distance_estimate
from swjax.estimates import sw_pow_estimate as sw_pow_estimate
from swjax.exact import sw2_sq_exact_2d as sw2_sq_exact_2d
from swjax.flows import Flow as Flow
from swjax.flows import Fluctuations as Fluctuations
from swjax.flows import energy_residual as energy_residual
from swjax.flows import fluctuations as fluctuations
from swjax.flows import gradient_flow as gradient_flow
from swjax.flows import sample_gradient_covariance as sample_gradient_covariance
from swjax.generalized import circular_slices as circular_slices
from swjax.generalized import generalized_sw_pow as generalized_sw_pow
from swjax.generalized import num_monomials as num_monomials
from swjax.generalized import polynomial_slices as polynomial_slices
from swjax.losses import Draw as Draw
from swjax.losses import SlicedLoss as SlicedLoss
from swjax.max_sliced import MaxSliced as MaxSliced
from swjax.max_sliced import max_sw2_sq as max_sw2_sq
from swjax.measures import Discrete as Discrete
from swjax.nonsmooth import clarke as clarke
from swjax.nonsmooth import counterexamples as counterexamples
from swjax.nonsmooth import implicit as implicit
from swjax.nonsmooth import kinks as kinks
from swjax.nonsmooth.conservative import check_conservative as check_conservative
from swjax.nonsmooth.conservative import circulation as circulation
from swjax.nonsmooth.conservative import path_integral_residual as path_integral_residual
from swjax.nonsmooth.descent import ClarkeResidual as ClarkeResidual
from swjax.nonsmooth.descent import DescentTest as DescentTest
from swjax.nonsmooth.descent import clarke_residual as clarke_residual
from swjax.nonsmooth.descent import descent_test as descent_test
from swjax.nonsmooth.finite_sum import FiniteSum as FiniteSum
from swjax.nonsmooth.goldstein import GoldsteinCertificate as GoldsteinCertificate
from swjax.nonsmooth.goldstein import goldstein_certificate as goldstein_certificate
from swjax.nonsmooth.min_norm import MinNormPoint as MinNormPoint
from swjax.nonsmooth.min_norm import min_norm_point as min_norm_point
from swjax.nonsmooth.paths import sample_polygon as sample_polygon
from swjax.nonsmooth.stationarity import distance_to_points as distance_to_points
from swjax.nonsmooth.stationarity import gradient_mapping as gradient_mapping
from swjax.nonsmooth.stationarity import kkt_residual as kkt_residual
from swjax.nonsmooth.stationarity import kkt_residual_of_set as kkt_residual_of_set
from swjax.optim import add_gaussian_noise as add_gaussian_noise
from swjax.optim import inverse_log_schedule as inverse_log_schedule
from swjax.optim import keep_params_in_ball as keep_params_in_ball
from swjax.optim import noised_projected_sgd as noised_projected_sgd
from swjax.optim import noised_sgd as noised_sgd
from swjax.optim import power_schedule as power_schedule
from swjax.optim import project_onto_ball as project_onto_ball
from swjax.optim import projected_sgd as projected_sgd
from swjax.pairwise import batch_sw2_sq as batch_sw2_sq
from swjax.pairwise import cross_sw2_sq as cross_sw2_sq
from swjax.pairwise import pairwise_sw2_sq as pairwise_sw2_sq
from swjax.plans import Potentials as Potentials
from swjax.plans import SlicedPlans as SlicedPlans
from swjax.plans import expected_sliced_plan as expected_sliced_plan
from swjax.plans import sliced_plans as sliced_plans
from swjax.plans import sliced_potentials as sliced_potentials
from swjax.population import PopulationLoss as PopulationLoss
from swjax.population import population_loss as population_loss
from swjax.population import sample_population_loss as sample_population_loss
from swjax.sliced import sw2_sq as sw2_sq
from swjax.sliced import sw2_sq_per_direction as sw2_sq_per_direction
from swjax.sliced import sw_distance as sw_distance
from swjax.sliced import sw_pow as sw_pow
from swjax.sliced import sw_pow_per_direction as sw_pow_per_direction
from swjax.training import Run as Run
from swjax.training import train as train
from swjax.trajectories import compact_distance as compact_distance
from swjax.trajectories import interpolate as interpolate
from swjax.trajectories import sup_distance as sup_distance
from swjax.wasserstein1d import wp_pow_1d as wp_pow_1d


def __getattr__(name: str) -> _ModuleType:
    """The runner and the figures, with their heavier imports, when they are first asked for."""
    if name in ("experiment", "plot"):
        return _import_module(f"swjax.{name}")
    raise AttributeError(f"module 'swjax' has no attribute {name!r}")
