"""With the minimizer inside the ball, long runs stay within O(alpha^(1/2)); the noise adds to it.

Theorem 2 of Tanguy (TMLR 2023) says that they come near; for a translation the mean square is known
exactly, with the part of the noise, alpha a^2 d^2 / 4 to first order, which vanishes with alpha.
"""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem2/interior_minimizer"), "shares")
