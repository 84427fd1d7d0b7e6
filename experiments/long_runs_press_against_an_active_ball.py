"""Where the ball is active: order 1/2 along the sphere with its constant, order 1 across it."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem2/active_ball"), "long-run-with_noise")
