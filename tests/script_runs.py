"""Runs scripts of `experiments/` and whole studies from end to end, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).parent.parent / "experiments"

RUN = "import sys; from swjax.experiment.cli import main; sys.exit(main(sys.argv[1:]))"


def run_python(*arguments, **settings):
    """What a process of Python prints; it must not fail."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_study(config, folder):
    """The summary of a study at full size, run as `swjax run` does; it must end well."""
    # The tests run with machine code that is not optimized: long studies do not.
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    arguments = ["run", str(config), "--quiet", "--output", str(folder)]
    run_python("-c", RUN, *arguments, env=environment)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "done"
    return summary


def run_script(name, *arguments):
    """What the script prints; it must not fail. Benchmarks are called `benchmarks/...`."""
    return run_python(str(EXPERIMENTS / f"{name}.py"), *arguments)


def run_and_see_figure(name, folder, *arguments):
    """The same for a script that writes a figure, which must be there and not empty."""
    printed = run_script(name, "--output", str(folder), *arguments)
    assert (folder / f"{name}.png").stat().st_size > 10_000
    assert "Figure:" in printed
    return printed
