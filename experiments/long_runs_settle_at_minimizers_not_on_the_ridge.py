"""Among two minimizers and a ridge between them, long runs settle at the minimizers, order 1/2."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem2/two_minimizers"), "long-run")
