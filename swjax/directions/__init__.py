"""Directions to project on: unit vectors, random or fixed.

Every function returns a matrix of shape `(num, dim)` whose **rows** have length 1, in the default
float type. A slice depends on a direction only up to its sign, so a set of directions stands for
the set of its lines.

Functions called `sample_*` take a key, and each of their rows is uniform on the sphere: the mean
over the rows of any function of the direction is unbiased. They differ in how the rows depend on
each other, hence in the variance of that mean:

- `sample_directions`: independent rows. The only ones whose standard error follows from their own
  spread; for the others, repeat with several keys.
- `sample_orthogonal_directions`: orthonormal blocks of `dim` rows; pays when the dimension is high.
- `sample_quasi_directions`: randomized quasi-Monte Carlo in any dimension; pays when `num` is many
  times `dim`.
- `sample_equispaced_directions`, `sample_fibonacci_directions`: a fixed grid of the plane or of
  space, turned at random; the best ones there.

The fixed grids themselves are `equispaced_directions` and `fibonacci_directions`.
"""

from swjax.directions._grids import equispaced_directions as equispaced_directions
from swjax.directions._grids import fibonacci_directions as fibonacci_directions
from swjax.directions._grids import sample_equispaced_directions as sample_equispaced_directions
from swjax.directions._grids import sample_fibonacci_directions as sample_fibonacci_directions
from swjax.directions._quasi import sample_quasi_directions as sample_quasi_directions
from swjax.directions._random import sample_directions as sample_directions
from swjax.directions._random import sample_orthogonal_directions as sample_orthogonal_directions
