"""Fluctuation and bias on a linear generator tend to the solutions of their equations."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/linear_limits"), "limit-fluctuation")
