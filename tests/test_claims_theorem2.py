"""Every study of long runs at full size: each of its claims holds, none is forced."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGS = sorted((Path(__file__).parent.parent / "configs" / "theorem2").glob("*.yaml"))
# A mean over N independent draws of the squares of Gaussian numbers has the relative standard error
# sqrt(2 / N), 7 % for this many. Each average of a long run is to be worth no less.
LEAST_EFFECTIVE_SAMPLE_SIZE = 400
RUN = "import sys; from swjax.experiment.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_claim_of_the_study_holds(config, tmp_path):
    # A process of its own: the tests run with machine code that is not optimized.
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    command = [sys.executable, "-c", RUN, "run", str(config), "--quiet", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "done"
    failures = [claim for claim in summary["claims"] if claim["verdict"] != "holds"]
    assert not failures, failures
    if summary["kind"] == "stationarity":
        assert summary["claims"]
        for row in summary["sampling"]:  # none is below by more than two standard errors
            error = row["standard_error"] / row["autocorrelation_time"]
            least = LEAST_EFFECTIVE_SAMPLE_SIZE * (1 - 2 * error)
            assert row["effective_sample_size"] > least
