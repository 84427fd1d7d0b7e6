"""The scripts on sliced-Wasserstein flows run shortened from end to end, and write their figure."""

import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
SCRIPTS = {
    "sliced_flow_follows_its_gaussian_closure": ("--largest", "500", "--repetitions", "2"),
    "sgd_leaves_saddles_and_ties_of_free_points": ("--leaving", "20"),
    "few_directions_have_minima_of_their_own": ("--repetitions", "100", "--draws", "3"),
    "points_on_a_line_are_unstable_unless_directions_are_few": ("--rings", "2"),
    "training_a_generator_is_not_the_sliced_flow_of_its_outputs": (
        "--largest", "16", "--repetitions", "3", "--num-steps", "120",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_of_the_claim_runs(name, tmp_path):
    script = str(EXPERIMENTS / f"{name}.py")
    command = [sys.executable, script, "--output", str(tmp_path), *SCRIPTS[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert "figure:" in done.stdout


@pytest.mark.slow
def test_the_benchmark_runs():
    script = str(EXPERIMENTS / "benchmarks" / "sliced_flow_steps_are_faster_than_loops.py")
    command = [sys.executable, script, "--largest", "250", "--steps", "2", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "points per second" in done.stdout
