"""Implicit differentiation of nonsmooth equations, and layers made with it.

`implicit_root` turns any solver of F(x, y) = 0 into a function of x with a conservative Jacobian;
`check_regularity` examines the hypothesis. `lasso`, `lasso_path`, `quadratic_program` and
`relu_equilibrium` are solvers that come with their equation.

    >>> import jax, jax.numpy as jnp
    >>> from swjax import implicit
    >>> design, response = jnp.eye(3), jnp.array([3.0, -0.5, -2.0])
    >>> slope = jax.jacfwd(lambda t: implicit.lasso(design, response, t))(0.0)
    >>> [round(float(v), 3) for v in slope + 0.0]
    [-1.0, 0.0, 1.0]
"""

from swjax.nonsmooth.equilibrium import monotone_matrix as monotone_matrix
from swjax.nonsmooth.equilibrium import relu_equilibrium as relu_equilibrium
from swjax.nonsmooth.regularity import Regularity as Regularity
from swjax.nonsmooth.regularity import check_regularity as check_regularity
from swjax.nonsmooth.roots import LinearSolve as LinearSolve
from swjax.nonsmooth.roots import RegularityWarning as RegularityWarning
from swjax.nonsmooth.roots import dense_solve as dense_solve
from swjax.nonsmooth.roots import implicit_root as implicit_root
from swjax.nonsmooth.roots import krylov_solve as krylov_solve
from swjax.nonsmooth.separable import QPSolution as QPSolution
from swjax.nonsmooth.separable import lasso as lasso
from swjax.nonsmooth.separable import lasso_path as lasso_path
from swjax.nonsmooth.separable import quadratic_program as quadratic_program
from swjax.nonsmooth.separable import soft_threshold as soft_threshold
