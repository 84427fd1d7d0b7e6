"""Iterates joined by segments or by steps are as far from the flow, and near each other."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/interpolation"), "interpolations")
