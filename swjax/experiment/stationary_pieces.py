"""The pieces of a study of long runs: the critical set, and what is expected of the distance to it.

Typed data only, as in ``pieces``.
"""

from typing import Annotated, Literal

from pydantic import Field

from swjax.experiment.piece import Count, FixedDraws, Piece, Positive, Probability

Part = Literal["distance", "tangential", "radial", "residual"]


class ClosedFormCriticalSet(Piece):
    """The critical set in the ball of a translation or of a scale, with its constants.

    Translations: the best shift where the ball holds it, else the nearest point of the ball, for
    any laws. Scales (of one number): for discrete laws, from the exact expected loss.
    """

    kind: Literal["closed_form"]


class CriticalPoints(Piece):
    """A finite set of parameter vectors that the study states to be all critical points."""

    kind: Literal["points"]
    values: tuple[tuple[float, ...], ...]


class Goldstein(Piece):
    """A certificate at the last iterate of every run, from gradients sampled in a small ball."""

    epsilon: Positive = Field(description="radius of the ball around the iterate")
    num_samples: Count = Field(description="gradients sampled; twice the number of parameters")


class UnknownCriticalSet(Piece):
    """The critical set is not known: the residual of the gradient in the ball stands in.

    It is the length of a projected gradient step of size `scale`, divided by `scale`, which is
    zero exactly at critical points. The gradient is that of the exact expected loss or, with
    `draws`, of the mean over fixed draws, for any laws and any order p; its standard error at the
    last iterates is then weighed against the residual.
    """

    kind: Literal["residual"]
    scale: Positive = Field(0.1, description="the step size t in |u - pi_r(u - t grad F(u))| / t")
    every: Count = Field(1, description="at every so many recorded times")
    num_directions: Count | None = Field(
        None, description="a numerical integral over so many directions, where F is not exact"
    )
    draws: FixedDraws | None = None
    goldstein: Goldstein | None = None


CriticalSetPiece = Annotated[
    ClosedFormCriticalSet | CriticalPoints | UnknownCriticalSet, Field(discriminator="kind")
]


class OrderExpectation(Piece):
    """How a distance in the long run shrinks with the step size."""

    part: Part = "distance"
    statistic: Literal["rms", "mean", "quantile"] = Field(
        "rms", description="root mean square, mean, or 95 % quantile over the time after burn-in"
    )
    order: float
    tolerance: Positive


class ConstantExpectation(Piece):
    """That a distance in the long run is that of the closed form, as a share of it."""

    part: Part = "distance"
    tolerance: Positive


class RareExpectation(Piece):
    """How few runs are farther than `eta` from the critical set at the horizon."""

    part: Part = "distance"
    eta: Positive
    at_most: Probability = 0.05


class NoiseExpectation(Piece):
    """That the noise of an arm adds what the closed form says, as a share of it."""

    tolerance: Positive


class StationarityExpectation(Piece):
    """What the long run is expected to show; nothing stated, nothing claimed."""

    orders: tuple[OrderExpectation, ...] = ()
    constants: tuple[ConstantExpectation, ...] = ()
    rare: RareExpectation | None = None
    noise_effect: NoiseExpectation | None = None
