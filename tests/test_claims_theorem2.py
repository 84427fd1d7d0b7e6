"""Every study of long runs at full size: each of its claims holds, none is forced."""

from pathlib import Path

import pytest
from script_runs import run_study

CONFIGS = sorted((Path(__file__).parent.parent / "configs" / "theorem2").glob("*.yaml"))
# A mean over N independent draws of the squares of Gaussian numbers has the relative standard error
# sqrt(2 / N), 7 % for this many. Each average of a long run is to be worth no less.
LEAST_EFFECTIVE_SAMPLE_SIZE = 400


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_claim_of_the_study_holds(config, tmp_path):
    summary = run_study(config, tmp_path)
    failures = [claim for claim in summary["claims"] if claim["verdict"] != "holds"]
    assert not failures, failures
    if summary["kind"] == "stationarity":
        assert summary["claims"]
        for row in summary["sampling"]:  # none is below by more than two standard errors
            error = row["standard_error"] / row["autocorrelation_time"]
            least = LEAST_EFFECTIVE_SAMPLE_SIZE * (1 - 2 * error)
            assert row["effective_sample_size"] > least
