"""SGD on a smooth network is within order 1/2 of the flow of the exact expected loss."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/network_order"), "order")
