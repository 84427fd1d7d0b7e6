"""For the distance of order p = 3, SGD is within order 1/2 of its gradient flow."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/order_three"), "order")
