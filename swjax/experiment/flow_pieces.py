"""The pieces of a flow study: what the paths are compared with, and what is expected of them.

Typed data only, as in ``pieces``.
"""

from typing import Annotated, Literal

from pydantic import Field

from swjax.experiment.piece import (
    Count,
    FixedDraws,
    NonNegative,
    Piece,
    Positive,
    Probability,
)


class ClosedFormReference(Piece):
    """The flow of a problem whose expected loss has a formula, by its generator and laws.

    ``translation`` (any laws): c + exp(-2 s / d) (u_0 - c). ``scale`` (one number, both laws the
    uniform one on {-1/2, 1/2}, a centered cube in dimension 1 or a centered Gaussian): |u| tends to
    the best scale, which minibatches shrink. ``affine`` without bias between centered Gaussians:
    the gradient flow of the formula, with an error estimate.
    """

    kind: Literal["closed_form"]


class PopulationReference(Piece):
    """The gradient flow of the exact expected loss of discrete laws, with an error estimate.

    Exact on the line, in the plane, and in any dimension when ``loss.directions`` are fixed.
    """

    kind: Literal["population"]
    num_steps: Count | None = Field(None, description="steps of the integrator over the horizon")


class DrawsReference(FixedDraws):
    """The gradient flow of the mean loss over fixed draws: for any laws and any order p.

    Its error has two parts: that of the integrator, and half the distance between the flows of the
    two halves of the draws, which estimates what the draws leave unknown.
    """

    kind: Literal["draws"]
    num_steps: Count | None = Field(None, description="steps of the integrator over the horizon")


class SolutionSetReference(Piece):
    """All solutions of the inclusion u' in -dF(u) that start in [-radius, radius].

    For the generator ``scale``, with the laws of its closed form: the flow from the kink at 0 waits
    for any time and leaves to either side. The recorded distance is that to one of them, which
    leaves 0 at once to the right; the claims are about the distance to all of them.
    """

    kind: Literal["solution_set"]
    radius: NonNegative = 0.0


Reference = Annotated[
    ClosedFormReference | PopulationReference | DrawsReference | SolutionSetReference,
    Field(discriminator="kind"),
]


class FactorExpectation(Piece):
    """The factor c in distance = c * step size ** order, at the smallest step size."""

    value: Positive
    tolerance: Positive = Field(description="relative: 0.02 for 2 percent")


class LimitsExpectation(Piece):
    """The fluctuation and the bias of small steps, against the equations they solve.

    E |u_alpha(s) - u(s)|^2 / alpha and (E u_alpha(s) - u(s)) / alpha, extrapolated to step size
    zero, as shares of trace P(s) and |b(s)|; and the order of the bias in the step size.
    """

    fluctuation: Positive = Field(0.03, description="relative tolerance of the fluctuation")
    bias: Positive | None = Field(None, description="relative tolerance of the bias")
    bias_order: Positive | None = Field(None, description="half width of the band around order 1")
    degree: Literal[1, 2] = Field(1, description="of the polynomial in the step size")
    num_draws: Annotated[int, Field(ge=1000, lt=2**31)] = Field(
        100_000, description="draws for the covariance of the gradient, where it has no formula"
    )


class FlowExpectation(Piece):
    """What is expected of the distance between the interpolated iterates and the flow."""

    order: float | None = Field(None, description="of the mean distance in the step size")
    tolerance: Positive | None = Field(None, description="half width of the band around the order")
    distance: Literal["largest", "mean"] = Field(
        "largest", description="over the flow times: its largest value, or its mean"
    )
    from_time: NonNegative = Field(0.0, description="the flow time from which it is taken")
    factor: FactorExpectation | None = None
    eta: Probability | None = Field(
        None,
        description="that the distance in the metric of the theorem exceeds this becomes rare",
    )
    exceedance: Probability = Field(0.05, description="how rare, at the smallest step size")
    limits: LimitsExpectation | None = None
