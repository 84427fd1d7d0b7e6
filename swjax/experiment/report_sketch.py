"""What a figure of a report will be: its name, its words, and how to draw it."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import xarray as xr


class Sketch(NamedTuple):
    """A figure that is not drawn yet.

    Attributes:
        name: that of its files.
        title: of the figure.
        caption: what it shows, and how to read it.
        draw: draws it on given Axes; where it is a function of ``swjax.plot`` with its arguments,
            a ``partial`` of that.
        height: in inches.
        arm: the scheme it is about, where it is about one of several.
    """

    name: str
    title: str
    caption: str
    draw: Callable[..., Any]
    height: float = 4.1
    arm: str = ""


def by_arm(arms: Iterable[str], sketches_of: Callable[[str], Iterable[Sketch]]) -> Iterator[Sketch]:
    """The sketches of one arm after the other; each names its arm where there are several."""
    arms = list(arms)
    for arm in arms:
        for each in sketches_of(arm):
            if len(arms) > 1:
                title = f"{each.title}, {arm}"
                each = each._replace(name=f"{each.name}-{arm}", title=title, arm=arm)
            yield each


def loss_sketch(ran: xr.Dataset, draw: Callable[..., object]) -> Sketch:
    """The expected loss over flow time where it was recorded, else that of the minibatches.

    Args:
        ran: the results.
        draw: called with Axes and ``variable``, the name of that loss.
    """
    variable = loss_to_show(ran)
    title, caption = _LOSS[variable]
    if variable == "loss":
        caption = f"{caption} Shown: {ran[variable].attrs.get('long_name', 'F(u)')}."
    return Sketch("loss", title, caption, partial(draw, variable=variable))


def loss_to_show(ran: xr.Dataset) -> str:
    """The name of the loss that figures show."""
    return "loss" if "loss" in ran else "sample_loss"


_LOSS = {
    "loss": (
        "Loss over flow time",
        "Mean over repetitions, in a band that holds the middle half of them.",
    ),
    "sample_loss": ("Mean minibatch loss over flow time", "Mean over repetitions."),
}
