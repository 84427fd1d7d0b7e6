"""Train with sliced-Wasserstein losses in JAX, and test numerically what theory says about it."""

from swjax.directions import equispaced_directions as equispaced_directions
from swjax.directions import sample_directions as sample_directions
from swjax.trajectories import compact_distance as compact_distance
from swjax.trajectories import interpolate as interpolate
from swjax.trajectories import sup_distance as sup_distance
