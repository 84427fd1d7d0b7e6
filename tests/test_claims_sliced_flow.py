"""The scripts on sliced-Wasserstein flows run shortened from end to end, and write their figure."""

import pytest
from script_runs import run_and_see_figure, run_script

SCRIPTS = {
    "sliced_flow_follows_its_gaussian_closure": ("--largest", "500", "--repetitions", "2"),
    "sgd_leaves_saddles_and_ties_of_free_points": ("--leaving", "20"),
    "few_directions_have_minima_of_their_own": ("--repetitions", "100", "--draws", "3"),
    "points_on_a_line_are_unstable_unless_directions_are_few": ("--rings", "2"),
    "training_a_generator_is_not_the_sliced_flow_of_its_outputs": (
        "--largest", "8", "--repetitions", "3",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_of_the_claim_runs(name, tmp_path):
    run_and_see_figure(name, tmp_path, *SCRIPTS[name])


@pytest.mark.slow
def test_the_benchmark_runs():
    benchmark = "benchmarks/sliced_flow_steps_are_faster_than_loops"
    printed = run_script(benchmark, "--largest", "250", "--steps", "2", "--rounds", "1")
    assert "points per second" in printed
