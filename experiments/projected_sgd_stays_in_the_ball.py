"""Projected SGD keeps the whole parameter vector in its ball, at every step, for three radii."""

from _claim import run_study, save

if __name__ == "__main__":
    sweep = run_study("norms_in_the_ball")
    radii = {name: getattr(scheme, "radius", None) for name, scheme in sweep.study.schemes.items()}
    save(sweep.plot("norms_in_ball", radii=radii))
