"""SGD on translations is within order 1/2 of the flow, and below the bound of Gronwall and Doob."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/translation_order"), "order")
