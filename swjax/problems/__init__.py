"""Test problems with closed forms: what code for SGD on sliced-Wasserstein losses must reproduce.

Each problem has a sampled loss for training (`loss`), a population loss, its gradient flow or its
set of minimizers, and the constants that small steps must show. Several have a minimizer other than
the one that matches the laws: the population loss is that of minibatches.
"""

from swjax.problems.ball import BallConstraint as BallConstraint
from swjax.problems.collinear import CollinearPoints as CollinearPoints
from swjax.problems.free_points import TwoFreePoints as TwoFreePoints
from swjax.problems.kink import AttractingKink as AttractingKink
from swjax.problems.linear import LinearGaussian as LinearGaussian
from swjax.problems.scale import GaussianScale as GaussianScale
from swjax.problems.scale import ScaleProblem as ScaleProblem
from swjax.problems.scale import TwoPointScale as TwoPointScale
from swjax.problems.scale import UniformScale as UniformScale
from swjax.problems.scale import gaussian_shrinkage as gaussian_shrinkage
from swjax.problems.translation import TranslationProblem as TranslationProblem
