"""Sliced-Wasserstein values in closed form: the truth that sampled ones are compared with."""

from swjax.exact._closed_forms import sphere_moment as sphere_moment
from swjax.exact._closed_forms import sw2_sq_homothety as sw2_sq_homothety
from swjax.exact._closed_forms import sw2_sq_two_points as sw2_sq_two_points
from swjax.exact._closed_forms import sw_pow_translation as sw_pow_translation
from swjax.exact._gaussians import sw2_sq_gaussians as sw2_sq_gaussians
from swjax.exact._planar import sw2_sq_exact_2d as sw2_sq_exact_2d
