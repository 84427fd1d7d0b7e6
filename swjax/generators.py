"""Generators `T(u, x)`: Flax modules that map latent points to data points.

All are Linen modules with the usual two calls

    params = model.init(key, z)          # a dict tree of floating point arrays: the vector u
    x = model.apply(params, z)           # (n, d_x) -> (n, d_y), pure

and any other pure function `apply(params, z)` works in their place. Every initial parameter is
drawn from a law with a density (biases too): the convergence theorem for constant-step SGD starts
from such a law (Tanguy, "Convergence of SGD for training neural networks with sliced Wasserstein
losses", TMLR 2023). Parameters and outputs have the default float type.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from swjax._checks import as_count, as_real_array

Activation = Callable[[Array], Array]
Initializer = Callable[..., Array]

_normal = nn.initializers.normal
_small_bias = nn.initializers.normal(0.1)


def _default_float() -> Any:
    return jnp.zeros(()).dtype


def _as_points(z: ArrayLike) -> Float[Array, "n d"]:
    points = as_real_array("z", z)
    if points.ndim != 2:
        raise ValueError(
            f"z must have shape (n, d_x), latent points as rows; got {points.shape}. "
            "A single point needs z[None, :], a batch of clouds needs jax.vmap."
        )
    return points


def _counts(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """Integers of at least 1."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise TypeError(f"{name} must be a sequence of integers such as (64, 32), got {values!r}.")
    return tuple(as_count(f"{name}[{k}]", value) for k, value in enumerate(values))


def smooth_cutoff(sq_norm: ArrayLike, radius: float | int, width: float | int) -> Array:
    """A smooth function of `|x|^2`: 1 on the ball of radius `R - e`, 0 outside that of `R + e`.

        g( ((R + e)^2 - |x|^2) / (4 R e) ),   g(s) = f(s) / (f(s) + f(1 - s)),
        f(s) = exp(-1 / s) for s > 0, else 0

    with `R = radius` and `e = width`: infinitely often differentiable, in [0, 1], decreasing
    (Tanguy, TMLR 2023, Section 2 and Appendix).

    Args:
        sq_norm: squared norms, not negative, of any shape.
        radius: `R`, positive.
        width: `e`, positive and at most `R`.

    Returns:
        Array of the shape of `sq_norm`.

    Raises:
        ValueError: unless `0 < width <= radius`.

    >>> print(smooth_cutoff(jnp.array([0.0, 0.25, 1.25, 2.25, 9.0]), radius=1.0, width=0.5))
    [1.  1.  0.5 0.  0. ]
    """
    if not 0 < width <= radius < math.inf:
        raise ValueError(
            f"A cut-off needs 0 < width <= radius; got width={width}, radius={radius}."
        )
    values = as_real_array("sq_norm", sq_norm)
    s = ((radius + width) ** 2 - values) / (4 * radius * width)
    # g(s) = 1 / (1 + exp(1/s - 1/(1-s))). Nearer to 0 or 1 than `edge` it rounds to 0 or 1, and its
    # derivatives to 0, while 1/s^2 would overflow.
    edge = -1 / math.log(float(jnp.finfo(values.dtype).tiny))
    inside = jnp.clip(s, edge, 1 - edge)
    smooth = jax.nn.sigmoid(1 / (1 - inside) - 1 / inside)
    return jnp.where(s <= edge, 0, jnp.where(s >= 1 - edge, 1, smooth))


@dataclass(frozen=True)
class Cutoff:
    """The factor that makes a network globally Lipschitz and its second derivatives bounded.

    The output is multiplied by `smooth_cutoff` of the norm of all parameters and by that of the
    norm of the latent point. Without it (or a projection of the parameters on a ball) no network
    of two layers is Lipschitz on the whole space, as assumptions 2 and 5 of Tanguy (TMLR 2023) ask.

    Attributes:
        params_radius: `R_u`; the parameters of the module, as one vector, are cut off around it.
        input_radius: `R_x`; latent points are cut off around it.
        width: half the width `e` of both transitions, at most either radius.
    """

    params_radius: float | int
    input_radius: float | int
    width: float | int

    def __post_init__(self):
        smooth_cutoff(0.0, self.params_radius, self.width)
        smooth_cutoff(0.0, self.input_radius, self.width)

    def __call__(
        self, params: PyTree, z: Float[Array, "n d_x"], x: Float[Array, "n d_y"]
    ) -> Float[Array, "n d_y"]:
        """Multiply the outputs `x` by both factors, given all parameters and the latent points."""
        sq_params = sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(params))
        by_params = smooth_cutoff(sq_params, self.params_radius, self.width)
        by_input = smooth_cutoff(jnp.sum(z * z, axis=1), self.input_radius, self.width)
        return by_params * by_input[:, None] * x


class Translation(nn.Module):
    """`T(u, x) = x + u`, initially `u ~ N(0, I)`.

    Lipschitz with constant 1; the expected loss and all moments of SGD have closed forms.

    Attributes:
        dim: dimension of the points, `d_x = d_y`.
    """

    dim: int

    @nn.compact
    def __call__(self, z: ArrayLike) -> Float[Array, "n d"]:
        """Map latent points `(n, dim)` to points `(n, dim)`."""
        dim, z = as_count("dim", self.dim), _as_points(z)
        if z.shape[1] != dim:
            raise ValueError(
                f"Translation(dim={dim}) needs points of dimension {dim}, got z of shape "
                f"{z.shape}; use a source of dimension {dim} or Translation(dim={z.shape[1]})."
            )
        shift = self.param("shift", _normal(1.0), (dim,), _default_float())
        return z + shift[None]


class Scale(nn.Module):
    """`T(u, x) = u x` with one number `u`, initially `u ~ N(0, 1)`."""

    @nn.compact
    def __call__(self, z: ArrayLike) -> Float[Array, "n d"]:
        """Map latent points `(n, d)` to points `(n, d)`."""
        return self.param("scale", _normal(1.0), (), _default_float()) * _as_points(z)


class AbsoluteScale(nn.Module):
    """`T(u, x) = |u| x` with one number `u`, initially `u ~ N(0, 1)`.

    Its kink at `u = 0` attracts gradient descent where the best factor would be negative.
    """

    @nn.compact
    def __call__(self, z: ArrayLike) -> Float[Array, "n d"]:
        """Map latent points `(n, d)` to points `(n, d)`."""
        scale = self.param("scale", _normal(1.0), (), _default_float())
        return jnp.abs(scale) * _as_points(z)


class Affine(nn.Module):
    """`T(u, x) = A x + b`. Initially the entries of `A` have variance `1 / d_x`, those of `b` 0.01.

    Attributes:
        dim: dimension `d_y` of the output.
        bias: whether there is a `b`; without it the generator is linear.
    """

    dim: int
    bias: bool = True

    @nn.compact
    def __call__(self, z: ArrayLike) -> Float[Array, "n d_y"]:
        """Map latent points `(n, d_x)` to points `(n, dim)`."""
        init = nn.initializers.lecun_normal()
        return _dense(as_count("dim", self.dim), init, "affine", self.bias)(_as_points(z))


class FreePoints(nn.Module):
    """Points that move freely: the parameters are the points themselves, initially `N(0, I)`.

    By default a latent "point" is the number of a point, `T(u, i) = u_i`: with the source
    `swjax.measures.indices(num)` a minibatch consists of random points of the cloud. Numbers out
    of range and fractions give NaN. With `whole=True` the values of `z` are ignored and all points
    are returned in order, so the batch size must be `num`: the particle flow of a cloud.

    Attributes:
        num: number of points.
        dim: dimension of the points.
        whole: return the whole cloud instead of looking up numbers.
    """

    num: int
    dim: int
    whole: bool = False

    @nn.compact
    def __call__(self, z: ArrayLike) -> Float[Array, "n d_y"]:
        """Map numbers `(n, 1)` to points `(n, dim)`; if `whole`, any `(num, d_x)` to all points."""
        num, dim, z = as_count("num", self.num), as_count("dim", self.dim), _as_points(z)
        points = self.param("points", _normal(1.0), (num, dim), _default_float())
        if self.whole:
            if len(z) != num:
                raise ValueError(
                    f"FreePoints(whole=True) returns all its {num} points, but z has {len(z)} "
                    f"rows; set the batch size to {num}, or use whole=False with the source "
                    f"swjax.measures.indices({num})."
                )
            return points
        if z.shape[1] != 1:
            raise ValueError(
                f"FreePoints needs the numbers of points, z of shape (n, 1), got {z.shape}; "
                f"use the source swjax.measures.indices({num})."
            )
        numbers = jnp.where(z[:, 0] == jnp.round(z[:, 0]), z[:, 0], -1).astype(int)
        return points.at[numbers].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


def _dense(features: int, kernel_init: Initializer, name: str, bias: bool = True) -> nn.Dense:
    return nn.Dense(
        features,
        use_bias=bias,
        kernel_init=kernel_init,
        bias_init=_small_bias,
        param_dtype=_default_float(),
        name=name,
    )


class _Network(nn.Module):
    """What both kinds of perceptrons share: their attributes, and what follows the last layer."""

    features: Sequence[int]
    dim: int
    activation: Activation = nn.relu
    output_activation: Activation | None = None
    kernel_init: Initializer = nn.initializers.he_normal()
    cutoff: Cutoff | None = None

    def _finish(self, z: Float[Array, "n d_x"], last: Float[Array, "n h"]) -> Float[Array, "n d_y"]:
        """The last layer, its activation and the cut-offs."""
        x = _dense(as_count("dim", self.dim), nn.initializers.lecun_normal(), "output")(last)
        if self.output_activation is not None:
            x = self.output_activation(x)
        return x if self.cutoff is None else self.cutoff(self.variables["params"], z, x)


class MLP(_Network):
    """A multilayer perceptron: `h_0 = x`, `h_k = a(A_k h_{k-1} + b_k)`, `T(u, x) = A h + b`.

    Attributes:
        features: widths of the hidden layers; may be empty.
        dim: dimension `d_y` of the output.
        activation: `a`, elementwise. Piecewise polynomial ones (ReLU) and smooth ones are covered
            by the theorems.
        output_activation: applied to the output if given, such as `jnp.tanh` for pixels in [-1, 1].
        kernel_init: initializer of the matrices of the hidden layers. The default (He: variance
            `2 / fan_in`) suits ReLU; `flax.linen.initializers.lecun_normal()` suits tanh. The last
            layer uses LeCun's variance `1 / fan_in`; biases start as `N(0, 0.1^2)`.
        cutoff: multiply the output by smooth cut-offs in `u` and `x`, if given.
    """

    @nn.compact
    def __call__(self, z: ArrayLike) -> Float[Array, "n d_y"]:
        """Map latent points `(n, d_x)` to points `(n, dim)`."""
        h = z = _as_points(z)
        for k, width in enumerate(_counts("features", self.features)):
            h = self.activation(_dense(width, self.kernel_init, f"layer_{k}")(h))
        return self._finish(z, h)


class DenseSkipMLP(_Network):
    """A network in which every layer sees all earlier ones: the class the theorem is stated for.

        h_0 = x,   h_k = a_k( sum_{i < k} A_{k,i} h_i + b_k ),   T(u, x) = h_N,

    with entries of the matrices `A_{k,i}` and biases `b_k` as parameters, and optionally

        T(u, x) = h_N * cutoff(|u|; R_u) * cutoff(|x|; R_x)

    (Tanguy, TMLR 2023, Proposition 8; with the cut-off its assumptions 1, 2, 4, 5 and 7 hold when
    the activations are all smooth, or all locally Lipschitz and semialgebraic such as ReLU). The
    matrices `A_{k,0}, ..., A_{k,k-1}` are stored as one, one above the other.

    Attributes:
        features: widths of the hidden layers; may be empty.
        dim: dimension `d_y` of the output.
        activation: `a_k` of the hidden layers, elementwise.
        output_activation: `a_N`, the identity if not given.
        kernel_init: initializer of the matrices of the hidden layers, He's by default; the fan-in
            counts all earlier layers. The last layer uses LeCun's; biases start as `N(0, 0.1^2)`.
        cutoff: the smooth cut-offs, if given.
    """

    @nn.compact
    def __call__(self, z: ArrayLike) -> Float[Array, "n d_y"]:
        """Map latent points `(n, d_x)` to points `(n, dim)`."""
        seen = z = _as_points(z)
        for k, width in enumerate(_counts("features", self.features)):
            h = self.activation(_dense(width, self.kernel_init, f"layer_{k}")(seen))
            seen = jnp.concatenate([seen, h], axis=1)
        return self._finish(z, seen)


class ConvGenerator(nn.Module):
    """A convolutional generator of images: a small image of many channels, doubled several times.

    A linear layer makes an image of about `height / 2^k` by `width / 2^k` pixels and `features[0]`
    channels, `k = len(features)`; each of `k` transposed convolutions (4 by 4, stride 2) doubles
    it, and the result is cut to size. There is no normalization across the batch: `T(u, x)` depends
    on one latent point at a time, as the theory wants.

    Attributes:
        shape: `(height, width, channels)` of the images.
        features: numbers of channels before each doubling.
        activation: between the layers.
        output_activation: of the pixels; `tanh` gives values in [-1, 1].
    """

    shape: tuple[int, int, int]
    features: Sequence[int] = (64, 32)
    activation: Activation = nn.relu
    output_activation: Activation = jnp.tanh

    @nn.compact
    def __call__(self, z: ArrayLike) -> Float[Array, "n d_y"]:
        """Map latent points `(n, d_x)` to flat images `(n, height * width * channels)`."""
        if len(self.shape) != 3:
            raise ValueError(f"shape must be (height, width, channels), got {self.shape}.")
        height, width, channels = _counts("shape", self.shape)
        features = _counts("features", self.features)
        if not features:
            raise ValueError("features must name at least one number of channels.")
        z = _as_points(z)
        he, lecun = nn.initializers.he_normal(), nn.initializers.lecun_normal()
        rows, columns = (-(-size // 2 ** len(features)) for size in (height, width))
        image = _dense(rows * columns * features[0], he, "seed")(z)
        image = image.reshape(len(z), rows, columns, features[0])
        outputs = (*features[1:], channels)
        for k, num in enumerate(outputs):
            image = nn.ConvTranspose(
                num,
                (4, 4),
                (2, 2),
                kernel_init=lecun if k == len(outputs) - 1 else he,
                bias_init=_small_bias,
                param_dtype=_default_float(),
                name=f"double_{k}",
            )(self.activation(image))
        return self.output_activation(image[:, :height, :width]).reshape(len(z), -1)
