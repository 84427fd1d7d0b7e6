"""Train with sliced-Wasserstein losses in JAX, and test numerically what theory says about it."""

from swjax import measures as measures
from swjax.directions import equispaced_directions as equispaced_directions
from swjax.directions import sample_directions as sample_directions
from swjax.measures import Discrete as Discrete
from swjax.nonsmooth import counterexamples as counterexamples
from swjax.nonsmooth.conservative import check_conservative as check_conservative
from swjax.nonsmooth.conservative import circulation as circulation
from swjax.nonsmooth.conservative import path_integral_residual as path_integral_residual
from swjax.nonsmooth.goldstein import GoldsteinCertificate as GoldsteinCertificate
from swjax.nonsmooth.goldstein import goldstein_certificate as goldstein_certificate
from swjax.nonsmooth.min_norm import MinNormPoint as MinNormPoint
from swjax.nonsmooth.min_norm import min_norm_point as min_norm_point
from swjax.nonsmooth.paths import sample_polygon as sample_polygon
from swjax.nonsmooth.stationarity import distance_to_points as distance_to_points
from swjax.nonsmooth.stationarity import gradient_mapping as gradient_mapping
from swjax.nonsmooth.stationarity import kkt_residual as kkt_residual
from swjax.nonsmooth.stationarity import kkt_residual_of_set as kkt_residual_of_set
from swjax.sliced import sw2_sq as sw2_sq
from swjax.sliced import sw2_sq_per_direction as sw2_sq_per_direction
from swjax.trajectories import compact_distance as compact_distance
from swjax.trajectories import interpolate as interpolate
from swjax.trajectories import sup_distance as sup_distance
from swjax.wasserstein1d import wp_pow_1d as wp_pow_1d
