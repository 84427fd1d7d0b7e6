"""For W_p^p, long runs stay within O(alpha^(1/p)) of the minimizer: p = 1, 1.5 and 3."""

from _claim import run_study, save

from swjax import plot
from swjax.experiment.stationary_statistics import after_burn_in, per_run
from swjax.experiment.study import StationarityStudy

STUDIES = {"p = 1": "order_one", "p = 1.5": "order_one_and_a_half", "p = 3": "order_three"}

if __name__ == "__main__":
    distances, steps = {}, ()
    for name, config in STUDIES.items():
        sweep = run_study(f"theorem2/{config}")
        assert isinstance(sweep.study, StationarityStudy)
        late = after_burn_in(sweep.study, sweep.dataset, "distance")
        steps, distances[name] = sweep.study.step_sizes, per_run(late, "mean").isel(arm=0).values
    save(plot.several_orders(steps, distances, label="mean of |u - c| in the long run"))
