"""Products of matrices and vectors in full precision.

On some accelerators the default for float32 keeps ten bits of the mantissa (TF32), and bounds and
certificates made of such products would not hold.
"""

from functools import partial

import jax.numpy as jnp
from jax import lax

tensordot = partial(jnp.tensordot, precision=lax.Precision.HIGHEST)
matmul = partial(jnp.matmul, precision=lax.Precision.HIGHEST)
vdot = partial(jnp.vdot, precision=lax.Precision.HIGHEST)
