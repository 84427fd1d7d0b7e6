"""From random starts it becomes rare that SGD is far from the flow, as the theorem states it."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/network_in_probability"), "exceedance")
