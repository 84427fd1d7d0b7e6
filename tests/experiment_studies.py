"""Small studies that the tests of the runner share."""

from swjax.experiment.strict_yaml import apply_overrides, parse_yaml
from swjax.experiment.study import parse_study

FLOW = """
name: translation
question: Does it?
kind: flow
seed: 0
repetitions: 8
horizon: 1.0
step_sizes: [0.2, 0.1, 5e-2]
source: {kind: ball, dim: 2}
target: {kind: ball, dim: 2, shift: [1, 0]}
generator: {kind: translation}
loss: {batch_size: 8}
scheme: {kind: sgd}
initial: {kind: uniform_ball, radius: 1.0}
reference: {kind: closed_form}
record: {num_times: 20}
expect: {order: 0.5, tolerance: 0.05}
"""

TRAINING = """
name: arms
question: Who wins?
kind: training
seed: 0
repetitions: 6
horizon: 1.0
step_sizes: [0.2, 0.1]
common_random_numbers: true
source: {kind: ball, dim: 2, num_atoms: 12}
target: {kind: moons, num_atoms: 10}
generator: {kind: mlp, features: [4]}
loss: {batch_size: 8, directions: {kind: fixed, num: 8}}
arms:
  plain: {kind: sgd}
  noised: {kind: noised_projected_sgd, noise_std: 0.1, radius: 2.0}
initial: {kind: network, radius: 1.9}
record: {num_times: 10, path: true, loss: {kind: population, every: 5}}
"""


def flow_data(*overrides):
    return apply_overrides(parse_yaml(FLOW), list(overrides))


def flow(*overrides):
    return parse_study(flow_data(*overrides))


def training_data(*overrides):
    return apply_overrides(parse_yaml(TRAINING), list(overrides))


def training(*overrides):
    return parse_study(training_data(*overrides))
