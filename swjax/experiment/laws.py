"""The laws a study can name as source and target. Typed data, told apart by ``kind``."""

from typing import Annotated, Literal

from pydantic import Field

from swjax.experiment.piece import Count, NonNegative, Piece, Positive, Several


class _Law(Piece):
    """What every law accepts besides its own parameters."""

    shift: tuple[float, ...] | None = Field(None, description="translate the law by this vector")
    num_atoms: Count | None = Field(
        None, description="replace the law by this many points drawn from it, of equal weight"
    )


class BallLaw(_Law):
    """Uniform on a ball around the origin."""

    kind: Literal["ball"]
    dim: Count
    radius: Positive = 1.0


class CubeLaw(_Law):
    """Uniform on the cube [-half_width, half_width]^dim."""

    kind: Literal["cube"]
    dim: Count
    half_width: Positive = 1.0


class RingLaw(_Law):
    """Uniform between two spheres around the origin."""

    kind: Literal["ring"]
    dim: Count = 2
    inner: NonNegative = 0.8
    outer: Positive = 1.0


class MoonsLaw(_Law):
    """Two interleaved half circles in the plane, with noise from a disk of radius `noise`."""

    kind: Literal["moons"]
    noise: NonNegative = 0.1


class SwissRollLaw(_Law):
    """A spiral in the plane, with noise from a disk of radius `noise`."""

    kind: Literal["swiss_roll"]
    noise: NonNegative = 0.05


class CheckerboardLaw(_Law):
    """Uniform on the dark squares of a checkerboard in the plane, `cells` along an edge."""

    kind: Literal["checkerboard"]
    cells: Several = 4


class GaussianMixtureLaw(_Law):
    """Truncated Gaussians of equal weight at the corners of a polygon: compact support."""

    kind: Literal["gaussian_mixture"]
    dim: Count = 2
    components: Count = 3
    radius: Positive = 1.0
    std: Positive = 0.2
    truncation: Positive = 3.0


class GaussianLaw(_Law):
    """Centered Gaussian, independent coordinates: not compactly supported."""

    kind: Literal["gaussian"]
    dim: Count
    std: Positive = 1.0
    covariance: tuple[tuple[float, ...], ...] | None = Field(
        None, description="covariance matrix, row by row, instead of `std`"
    )


class DiscreteLaw(_Law):
    """Atoms written out, of equal weight unless `weights` are given."""

    kind: Literal["discrete"]
    points: tuple[tuple[float, ...], ...]
    weights: tuple[NonNegative, ...] | None = None


class IndicesLaw(_Law):
    """Uniform on the numbers 0 ... num - 1: the source for the generator `free_points`."""

    kind: Literal["indices"]
    num: Count


class DigitsLaw(_Law):
    """The 1797 real 8x8 images of handwritten digits, 64 pixels in [-1, 1]."""

    kind: Literal["digits"]


class FileLaw(_Law):
    """The points in a file (.npy, .npz or idx images), of equal weight."""

    kind: Literal["file"]
    path: str = Field(description="a run notes the absolute path, from the current directory")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        None, description="digest of the file, which a run notes: other content is refused"
    )
    array: str | None = Field(None, description="name of the array in an .npz archive")


Law = Annotated[
    BallLaw
    | CubeLaw
    | RingLaw
    | MoonsLaw
    | SwissRollLaw
    | CheckerboardLaw
    | GaussianMixtureLaw
    | GaussianLaw
    | DiscreteLaw
    | IndicesLaw
    | DigitsLaw
    | FileLaw,
    Field(discriminator="kind"),
]
