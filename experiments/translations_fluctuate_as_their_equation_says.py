"""Fluctuation and bias of SGD on translations tend to the solutions of their equations."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/translation_limits"), "limit-fluctuation")
