"""The scripts on nonsmooth calculus run from end to end, shortened, and write their figure."""

import pytest
from script_runs import run_and_see_figure

SCRIPTS = {
    "autodiff_is_conservative_unless_kinks_are_zeroed": (),
    "implicit_differentiation_fails_without_invertibility": (),
    "vanishing_steps_settle_and_artificial_points_attract_nothing": ("--num-steps", "2000"),
    "lasso_penalty_is_learned_by_sgd": ("--num-steps", "50"),
    "equilibrium_layer_is_trained_implicitly": ("--num-steps", "20"),
    "kink_choice_matters_in_low_precision_only": ("--num-steps", "20", "--repetitions", "2"),
    "sliced_barycenter_by_conservative_sgd": ("--num-steps", "200"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_of_the_claim_runs(name, tmp_path):
    run_and_see_figure(name, tmp_path, *SCRIPTS[name])
