"""The pieces of a study but its laws: generators, loss, schemes, starts, references, records.

Typed data only. Each family is a union told apart by ``kind``; a field that is not listed here is
refused.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from swjax.experiment.optax_names import check_optax_arguments
from swjax.experiment.piece import Count, NonNegative, Piece, Positive, Several

# --- generators -----------------------------------------------------------------------------------

Activation = Literal["relu", "leaky_relu", "tanh", "gelu", "silu", "softplus", "sigmoid"]


class TranslationModel(Piece):
    """T(u, x) = x + u."""

    kind: Literal["translation"]


class ScaleModel(Piece):
    """T(u, x) = u x with one number u."""

    kind: Literal["scale"]


class AbsoluteScaleModel(Piece):
    """T(u, x) = |u| x with one number u."""

    kind: Literal["absolute_scale"]


class AffineModel(Piece):
    """T(u, x) = A x + b; without `bias` T(u, x) = A x."""

    kind: Literal["affine"]
    bias: bool = True


class FreePointsModel(Piece):
    """The points themselves are the parameters, looked up by number, or `whole` at once."""

    kind: Literal["free_points"]
    num: Count
    whole: bool = False


class CutoffModel(Piece):
    """Smooth cut-offs in the parameters and the latent points, of half width `width`."""

    params_radius: Positive
    input_radius: Positive
    width: Positive


class MLPModel(Piece):
    """A multilayer perceptron; `features` are the widths of the hidden layers."""

    kind: Literal["mlp"]
    features: tuple[Count, ...]
    activation: Activation = "relu"
    output_activation: Activation | None = None
    cutoff: CutoffModel | None = None


class DenseSkipMLPModel(Piece):
    """Every layer sees all earlier ones: the class of networks of the theorem."""

    kind: Literal["dense_skip_mlp"]
    features: tuple[Count, ...]
    activation: Activation = "relu"
    output_activation: Activation | None = None
    cutoff: CutoffModel | None = None


class ConvModel(Piece):
    """A convolutional generator of images of `shape` (height, width, channels)."""

    kind: Literal["conv"]
    shape: tuple[Count, Count, Count]
    features: tuple[Count, ...] = (64, 32)
    activation: Activation = "relu"
    output_activation: Activation = "tanh"


Generator = Annotated[
    TranslationModel
    | ScaleModel
    | AbsoluteScaleModel
    | AffineModel
    | FreePointsModel
    | MLPModel
    | DenseSkipMLPModel
    | ConvModel,
    Field(discriminator="kind"),
]


# --- loss -----------------------------------------------------------------------------------------


class UniformDirections(Piece):
    """Fresh directions, uniform on the sphere, at every step."""

    kind: Literal["uniform"]


class FixedDirections(Piece):
    """A finite law of the direction: `num` unit vectors drawn once, then equally likely.

    The expected loss is then a finite sum, and exact.
    """

    kind: Literal["fixed"]
    num: Count


Directions = Annotated[UniformDirections | FixedDirections, Field(discriminator="kind")]


class Loss(Piece):
    """The sliced-Wasserstein minibatch loss."""

    batch_size: Count
    num_directions: Count = 1
    p: Annotated[float, Field(ge=1)] = 2.0
    directions: Directions = UniformDirections(kind="uniform")


# --- schemes --------------------------------------------------------------------------------------


class SGDScheme(Piece):
    """u+ = u - alpha g; with momentum, the heavy ball of Optax."""

    kind: Literal["sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0


class NoisedSGDScheme(Piece):
    """u+ = u - alpha g + alpha noise_std eps."""

    kind: Literal["noised_sgd"]
    noise_std: NonNegative


class ProjectedSGDScheme(Piece):
    """u+ = the projection of u - alpha g on the ball of the given radius."""

    kind: Literal["projected_sgd"]
    radius: Positive


class NoisedProjectedSGDScheme(Piece):
    """u+ = the projection of u - alpha g + alpha noise_std eps on the ball of the given radius."""

    kind: Literal["noised_projected_sgd"]
    noise_std: NonNegative
    radius: Positive


class OptaxScheme(Piece):
    """Any optimizer of Optax that takes a learning rate (here the step size), by name."""

    kind: str
    args: dict[str, bool | int | float | str | None] = {}

    @model_validator(mode="after")
    def _known_to_optax(self) -> "OptaxScheme":
        problem = check_optax_arguments(self.kind, self.args, known=tuple(SCHEMES))
        if problem:
            raise PydanticCustomError("optax", "{text}", {"text": problem})
        return self


SCHEMES: dict[str, type[Piece]] = {
    "sgd": SGDScheme,
    "noised_sgd": NoisedSGDScheme,
    "projected_sgd": ProjectedSGDScheme,
    "noised_projected_sgd": NoisedProjectedSGDScheme,
}


def scheme_tag(value: Any) -> str | None:
    """Which model reads a scheme: the one of its kind, or Optax for any other name."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    if not isinstance(kind, str):
        return None
    return kind if kind in SCHEMES else "optax"


Scheme = Annotated[
    Annotated[SGDScheme, Tag("sgd")]
    | Annotated[NoisedSGDScheme, Tag("noised_sgd")]
    | Annotated[ProjectedSGDScheme, Tag("projected_sgd")]
    | Annotated[NoisedProjectedSGDScheme, Tag("noised_projected_sgd")]
    | Annotated[OptaxScheme, Tag("optax")],
    Discriminator(scheme_tag),
]


# --- where it starts, what it is compared with, what is written down ------------------------------


class UniformBallStart(Piece):
    """Uniform in a ball of parameter space: a law with a density, as the theorems ask."""

    kind: Literal["uniform_ball"]
    radius: Positive
    center: tuple[float, ...] | None = Field(None, description="its center, 0 if not given")
    shared: bool = Field(False, description="one draw for all repetitions")


class NetworkStart(Piece):
    """The network's own initialization, scaled back to `radius` where its norm exceeds it."""

    kind: Literal["network"]
    radius: Positive | None = None
    shared: bool = Field(False, description="one draw for all repetitions")


class FixedStart(Piece):
    """The same given vector for all repetitions."""

    kind: Literal["fixed"]
    values: tuple[float, ...]


Start = Annotated[UniformBallStart | NetworkStart | FixedStart, Field(discriminator="kind")]


class PopulationLossRecord(Piece):
    """The expected loss F of discrete laws: exact in the plane or with fixed directions."""

    kind: Literal["population"]
    num_directions: Count | None = Field(
        None, description="a numerical integral over so many directions, needed elsewhere"
    )
    every: Count = Field(1, description="at every so many recorded times")


class DrawsLossRecord(Piece):
    """The mean loss over `num` draws, the same for every run: an unbiased estimate of F."""

    kind: Literal["draws"]
    num: Several
    every: Count = Field(1, description="at every so many recorded times")


class ClosedFormLossRecord(Piece):
    """The expected loss by its formula; of a translation above its minimum, |u - c|^2 / d."""

    kind: Literal["closed_form"]
    every: Count = Field(1, description="at every so many recorded times")


LossRecord = Annotated[
    PopulationLossRecord | DrawsLossRecord | ClosedFormLossRecord, Field(discriminator="kind")
]


class Record(Piece):
    """What is written down of every run."""

    num_times: Several = Field(
        description="recorded flow times after 0, equally spaced up to the horizon"
    )
    path: bool = Field(False, description="keep the parameters themselves (small vectors only)")
    piecewise_constant: bool = Field(
        False, description="the other interpolation too, and the longest step (flow studies)"
    )
    loss: LossRecord | None = None
