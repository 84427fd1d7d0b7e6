"""One function per figure: it takes results, draws on given or new Axes, and returns them.

Nothing here calls `show` or changes global settings. Results are a sweep, the dataset it carries,
or plain arrays labeled by `as_results`. Needs the extra ``experiment``.
"""

from swjax import _extra as _extra
from swjax.plot._style import CATEGORICAL as CATEGORICAL
from swjax.plot._style import INK as INK
from swjax.plot._style import MUTED as MUTED
from swjax.plot._style import axes_or_new as axes_or_new
from swjax.plot._style import figure_style as figure_style
from swjax.plot._style import sequential_colors as sequential_colors
from swjax.plot.against_step_size import fluctuation_constant as fluctuation_constant
from swjax.plot.against_step_size import order_plot as order_plot
from swjax.plot.against_step_size import paired_differences as paired_differences
from swjax.plot.long_runs import critical_quantiles as critical_quantiles
from swjax.plot.long_runs import distance_over_time as distance_over_time
from swjax.plot.long_runs import rarity as rarity
from swjax.plot.long_runs import residual_distribution as residual_distribution
from swjax.plot.over_time import loss_against_time as loss_against_time
from swjax.plot.over_time import norms_in_ball as norms_in_ball
from swjax.plot.over_time import paths_against_flow as paths_against_flow
from swjax.plot.pictures import clouds as clouds
from swjax.plot.pictures import generated_images as generated_images
from swjax.plot.pictures import paths_in_plane as paths_in_plane
from swjax.plot.results import as_results as as_results
from swjax.plot.toward_zero import exceedance_probability as exceedance_probability
from swjax.plot.toward_zero import limit_as_steps_vanish as limit_as_steps_vanish
from swjax.plot.toward_zero import paths_and_solutions as paths_and_solutions
from swjax.plot.toward_zero import several_orders as several_orders
from swjax.plot.toward_zero import shares_of_prediction as shares_of_prediction
