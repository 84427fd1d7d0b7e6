"""The look of every figure: applied locally, told apart by color-blind readers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import ArrayLike
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.legend import Legend
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

INK = "#1f2430"
MUTED = "#6b7280"
GRID = "#e3e5ea"

# The palette of Okabe and Ito (Color Universal Design, 2008) without its yellow, which vanishes on
# paper: told apart under every common form of color blindness.
CATEGORICAL = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
BROKEN = (0, (5, 3))
FIT = "#d55e00"
NO_RUN = "No run stayed finite."

_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "mathtext.fontset": "dejavusans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9.0,
    "axes.labelsize": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "errorbar.capsize": 2.5,
    "figure.figsize": (6.6, 4.1),
    "figure.dpi": 110,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Use the package's look for what is drawn inside the block, and there alone."""
    with mpl.rc_context(_RC):
        yield


def axes_or_new(ax: Axes | None, height: float | None = None) -> Axes:
    """The given Axes, or one on a new figure, both dressed alike.

    Args:
        ax: where to draw; on a new figure if None.
        height: of the new figure, in inches; the usual one by default.

    Returns:
        The Axes.
    """
    if ax is None:
        figure, ax = plt.subplots(layout="constrained")
        if height is not None:
            figure.set_figheight(height)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)
    ax.tick_params(which="both", color=MUTED, labelcolor=INK)
    ax.grid(visible=True, which="major", color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)
    return ax


def sequential_colors(num: int) -> list[str]:
    """Ordered colors for ordered things (step sizes): light for the first, dark for the last.

    Args:
        num: how many.

    Returns:
        `num` colors from the perceptually uniform map "plasma", its pale end left out.
    """
    where = np.linspace(0.80, 0.02, num) if num > 1 else np.array([0.25])
    return [to_hex(plt.get_cmap("plasma")(float(w))) for w in where]


def legend_outside(ax: Axes, title: str | None = None, **kwargs) -> Legend:
    """A legend to the right of the Axes, where it cannot cover data."""
    return ax.legend(
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        frameon=False,
        alignment="left",
        **kwargs,
    )


def legend_below(ax: Axes, num_columns: int = 1) -> Legend | None:
    """A legend under the horizontal axis, for entries too long to stand beside the Axes.

    None where nothing drawn has a name.
    """
    if not ax.get_legend_handles_labels()[0]:
        return None
    return ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        borderaxespad=0.0,
        frameon=False,
        ncols=num_columns,
    )


def format_step_sizes(step_sizes: ArrayLike | Sequence[float | int]) -> list[str]:
    """Step sizes as labels: powers of two when all are, else the shortest decimals."""
    exponents = np.log2(np.asarray(step_sizes, dtype=float))
    if len(exponents) > 1 and np.allclose(exponents, np.round(exponents), atol=1e-9):
        return [f"$2^{{{round(e)}}}$" for e in exponents]
    return [f"{s:.6g}" for s in np.asarray(step_sizes, dtype=float)]


def logarithmic_if_positive(ax: Axes) -> None:
    """A logarithmic vertical axis, if anything drawn is positive; else words in an empty frame."""
    heights = [np.ravel(line.get_ydata()) for line in ax.get_lines()]
    shown = np.concatenate([np.zeros(0), *heights])
    if np.any(np.isfinite(shown) & (shown > 0)):
        ax.set_yscale("log")
    else:
        say_instead(ax, NO_RUN)
        ax.set_yticks([])


def say_instead(ax: Axes, words: str) -> None:
    """Say in the middle of the Axes why there is nothing to see."""
    place = {"transform": ax.transAxes, "ha": "center", "va": "center"}
    ax.text(0.5, 0.5, words, color=MUTED, backgroundcolor="white", **place)


def note_above(ax: Axes, words: str) -> None:
    """A reservation about the figure, in small letters over the Axes."""
    ax.set_title(words, fontsize=8.5, fontweight="normal", color=FIT)


def step_size_axis(ax: Axes, step_sizes: ArrayLike | Sequence[float | int]) -> None:
    """A logarithmic horizontal axis whose ticks are the step sizes themselves."""
    steps = np.unique(np.asarray(step_sizes, dtype=float))
    ax.set_xscale("log")
    shown = steps if len(steps) <= 9 else steps[:: -(-len(steps) // 9)]
    labels = dict(zip(shown.tolist(), format_step_sizes(shown.tolist()), strict=True))
    ax.xaxis.set_major_locator(FixedLocator(shown.tolist()))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: labels.get(float(x), f"{x:.3g}")))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(r"step size $\alpha$")
