"""For a translation, where all is known exactly, interpolated SGD approaches the flow at order 1/2.

Theorem 1 of Tanguy (TMLR 2023) says that it approaches; the order follows from a martingale bound.
"""

from _claim import run_study, save

if __name__ == "__main__":
    save(run_study("translation").plot("order_plot"))
