"""Between continuous laws SGD on a network is within order 1/2 of the averaged gradient flow."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/continuous_laws"), "order")
