"""With continuous laws, where the theorem is silent, long runs on a network come as near."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem2/continuous_network"), "residual-large_ball")
