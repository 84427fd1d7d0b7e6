"""Runs scripts of `experiments/` from end to end, in a process of their own."""

import subprocess
import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


def run_script(name, *arguments):
    """What the script prints; it must not fail. Benchmarks are called `benchmarks/...`."""
    command = [sys.executable, str(EXPERIMENTS / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_and_see_figure(name, folder, *arguments):
    """The same for a script that writes a figure, which must be there and not empty."""
    printed = run_script(name, "--output", str(folder), *arguments)
    assert (folder / f"{name}.png").stat().st_size > 10_000
    assert "Figure:" in printed
    return printed
