"""Train with sliced-Wasserstein losses in JAX, and test numerically what theory says about it."""

from swjax.directions import equispaced_directions as equispaced_directions
from swjax.directions import sample_directions as sample_directions
from swjax.nonsmooth import counterexamples as counterexamples
from swjax.nonsmooth.conservative import check_conservative as check_conservative
from swjax.nonsmooth.conservative import circulation as circulation
from swjax.nonsmooth.conservative import path_integral_residual as path_integral_residual
from swjax.nonsmooth.paths import sample_polygon as sample_polygon
from swjax.sliced import sw2_sq as sw2_sq
from swjax.sliced import sw2_sq_per_direction as sw2_sq_per_direction
from swjax.trajectories import compact_distance as compact_distance
from swjax.trajectories import interpolate as interpolate
from swjax.trajectories import sup_distance as sup_distance
from swjax.wasserstein1d import wp_pow_1d as wp_pow_1d
