"""The noise of the second theorem, of size alpha a, changes speed and final loss little."""

from _claim import run_study, save

from swjax.experiment.study import TrainingExpectation

if __name__ == "__main__":
    sweep = run_study("noise_or_not")
    expect = sweep.study.expect
    margin = expect.tolerance if isinstance(expect, TrainingExpectation) else None
    save(sweep.plot("paired_differences", margin=margin))
