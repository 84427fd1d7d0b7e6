"""Optax transforms for the schemes of the theorems: noise, projection onto a ball, step sizes.

`noised_projected_sgd`, `projected_sgd` and `noised_sgd` are complete optimizers. Their parts,
`add_gaussian_noise` and `keep_params_in_ball`, go into any `optax.chain`: the noise before the
learning rate, the ball last.
"""

from swjax.optim.noise import GaussianNoiseState as GaussianNoiseState
from swjax.optim.noise import add_gaussian_noise as add_gaussian_noise
from swjax.optim.projection import BallState as BallState
from swjax.optim.projection import keep_params_in_ball as keep_params_in_ball
from swjax.optim.projection import project_onto_ball as project_onto_ball
from swjax.optim.schedules import inverse_log_schedule as inverse_log_schedule
from swjax.optim.schedules import power_schedule as power_schedule
from swjax.optim.schemes import noised_projected_sgd as noised_projected_sgd
from swjax.optim.schemes import noised_sgd as noised_sgd
from swjax.optim.schemes import projected_sgd as projected_sgd
from swjax.optim.wrapping import check_ball_is_last as check_ball_is_last
from swjax.optim.wrapping import ignore_unknown_arguments as ignore_unknown_arguments
