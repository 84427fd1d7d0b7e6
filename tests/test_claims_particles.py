"""The scripts on particle flows run shortened from end to end, and write their figure."""

import pytest
from script_runs import run_and_see_figure, run_script

SCRIPTS = {
    "slightly_more_particles_than_spikes_suffice": ("--problems", "2", "--steps", "100"),
    "bad_starts_leave_particles_short_of_the_minimum": ("--problems", "2", "--steps", "100"),
    "ten_thousand_particles_find_spikes_on_the_torus": ("--largest", "6", "--steps", "50"),
    "networks_wider_than_their_teacher_find_it": ("--repetitions", "2", "--shorter", "500"),
    "neurons_turn_to_those_of_the_teacher": ("--steps", "50"),
    "stochastic_gradients_find_the_teacher_as_well": ("--repetitions", "2", "--num-steps", "5"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_of_the_claim_runs(name, tmp_path):
    printed = run_and_see_figure(name, tmp_path, *SCRIPTS[name])
    assert "gap" in printed or "residual" in printed
    assert "converged" not in printed


@pytest.mark.slow
def test_the_benchmark_runs():
    benchmark = "benchmarks/particles_are_faster_than_loops"
    printed = run_script(benchmark, "--largest", "100", "--rounds", "1")
    assert "Particle steps per second" in printed
