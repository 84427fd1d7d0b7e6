"""The population loss `F(u)`: the expected sampled loss, exactly or with a stated error."""

from swjax.population.averaged import AveragedLoss as AveragedLoss
from swjax.population.averaged import sample_population_loss as sample_population_loss
from swjax.population.expected import PopulationLoss as PopulationLoss
from swjax.population.expected import population_loss as population_loss
