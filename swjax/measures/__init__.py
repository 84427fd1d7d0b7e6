"""Source and target laws: finite sums of atoms, toy laws with compact support, data from files.

A measure is an immutable object that is also a JAX pytree: it can be closed over or passed through
`jit` and `vmap`. All of them draw independent points, `measure.sample(key, n)` of shape `(n, dim)`,
and know `dim`, `radius` (the largest norm on the support, `inf` if unbounded), `is_discrete`, and
their exact `mean` and `covariance`.

The convergence theorem for constant-step SGD asks for compactly supported laws, the one for noised
and projected SGD for discrete ones (assumptions 3 and 6 of Tanguy, "Convergence of SGD for training
neural networks with sliced Wasserstein losses", TMLR 2023). `gaussian` is the only law here that is
not compactly supported; `discretize` makes any law discrete.
"""

from swjax.measures._base import Measure as Measure
from swjax.measures._base import Translated as Translated
from swjax.measures._discrete import Discrete as Discrete
from swjax.measures._discrete import discretize as discretize
from swjax.measures._discrete import indices as indices
from swjax.measures._discrete import translate as translate
from swjax.measures._files import digits as digits
from swjax.measures._files import from_file as from_file
from swjax.measures._gaussians import Gaussian as Gaussian
from swjax.measures._gaussians import TruncatedMixture as TruncatedMixture
from swjax.measures._gaussians import gaussian as gaussian
from swjax.measures._gaussians import gaussian_mixture as gaussian_mixture
from swjax.measures._planar import Checkerboard as Checkerboard
from swjax.measures._planar import Moons as Moons
from swjax.measures._planar import SwissRoll as SwissRoll
from swjax.measures._planar import checkerboard as checkerboard
from swjax.measures._planar import moons as moons
from swjax.measures._planar import swiss_roll as swiss_roll
from swjax.measures._solids import Cube as Cube
from swjax.measures._solids import Shell as Shell
from swjax.measures._solids import ball as ball
from swjax.measures._solids import cube as cube
from swjax.measures._solids import ring as ring
