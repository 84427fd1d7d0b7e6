"""Once the flow has arrived at an attracting kink, SGD is within order 1 of it, not 1/2."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/attracting_kink"), "paths")
