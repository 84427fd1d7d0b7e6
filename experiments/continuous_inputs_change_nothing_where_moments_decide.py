"""With continuous laws, where Theorem 2 is silent, long runs of a translation behave as with atoms.

There only the first two moments of the laws enter. It is no evidence for other generators.
"""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem2/continuous_inputs"), "long-run")
