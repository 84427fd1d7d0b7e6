"""The studies of the first theorem at full size: every verdict holds."""

import json
from pathlib import Path

import pytest
from script_runs import run_study

from swjax.experiment.study import read_study

CONFIGS = Path(__file__).parent.parent / "configs" / "theorem1"
STUDIES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_claim_of_the_study_holds(name, tmp_path):
    summary = run_study(CONFIGS / f"{name}.yaml", tmp_path)
    claims = summary["claims"]
    assert claims
    bad = [
        (c["claim"], c["verdict"], c["low"], c["high"]) for c in claims if c["verdict"] != "holds"
    ]
    assert not bad, json.dumps(bad, indent=1)
    assert summary["num_diverged"] == {}
    assert summary["theorems"][0]["theorem"] == "Theorem 1"


def test_the_studies_cover_the_problems_of_the_plan_and_every_kind_of_reference():
    studies = [read_study(CONFIGS / f"{name}.yaml") for name in STUDIES]
    generators = {study.generator.kind for study in studies}
    assert {"translation", "scale", "absolute_scale", "affine", "mlp"} <= generators
    references = {study.reference.kind for study in studies}
    assert references == {"closed_form", "population", "draws", "solution_set"}
