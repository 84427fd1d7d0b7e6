"""At a minimizer that is a kink, long runs stay within O(alpha), although no gradient is small."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem2/attracting_kink"), "shares")
