"""For W_p^p, long runs stay within O(alpha^(1/p)) of the minimizer: p = 1, 1.5 and 3."""

import numpy as np
from _claim import run_study, save

from swjax import plot
from swjax.convergence import fit_order, mean_interval
from swjax.experiment.stationary_statistics import after_burn_in, per_run
from swjax.experiment.study import StationarityStudy

STUDIES = {
    "p = 1": "order_one",
    "p = 1.5": "order_one_and_a_half",
    "p = 3": "order_three",
}

if __name__ == "__main__":
    with plot.figure_style():
        ax = plot.axes_or_new(None)
        for (name, config), color in zip(STUDIES.items(), plot.CATEGORICAL, strict=False):
            sweep = run_study(f"theorem2/{config}")
            assert isinstance(sweep.study, StationarityStudy)
            runs = per_run(after_burn_in(sweep.study, sweep.dataset, "distance"), "mean")
            steps, means = runs["step_size"].values, runs.isel(arm=0).values
            order = fit_order(steps, means)
            label = f"{name}: order {order.slope:.3f} [{order.low:.3f}, {order.high:.3f}]"
            values = np.array([mean_interval(row).estimate for row in means])
            ax.loglog(steps, values, "o", color=color, markersize=4.5, label=label)
            ax.loglog(steps, order.constant * steps**order.slope, color=color, linewidth=1.2)
        ax.set_xlabel(r"step size $\alpha$")
        ax.set_ylabel(r"mean of  $|u - c|$  in the long run")
        ax.legend(frameon=False)
        save(ax)
