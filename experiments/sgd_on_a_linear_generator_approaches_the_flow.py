"""SGD on a linear generator between Gaussians is within order 1/2 of the flow."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/linear_order"), "order")
