"""On a network, whose critical points are not known, the residual of long runs is of order 1/2."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem2/network"), "residual-large_ball")
