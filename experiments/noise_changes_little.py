"""The noise of the second theorem, of size alpha a, changes speed and final loss little."""

from _claim import run_study, save

if __name__ == "__main__":
    sweep = run_study("noise_or_not")
    expect = sweep.study.expect
    save(sweep.plot("paired_differences", margin=expect.tolerance if expect else None))
