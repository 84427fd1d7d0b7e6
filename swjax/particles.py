"""Minimize convex functions of a measure by moving particles, with a certificate of optimality.

Chizat and Bach ("On the global convergence of gradient descent for over-parameterized models using
optimal transport", NeurIPS 2018) minimize `J(nu) = R(int phi dnu) + lambda |nu|` over signed
measures by the gradient flow of finitely many particles, and show that limits are global minima
when the particles are many and well spread at the start. `ParticleProblem` states such a problem,
`particle_flow` runs it, and `duality_gap` bounds how far the result is from the minimum over *all*
measures. `spikes_deconvolution` and `two_layer_network` are the experiments of the paper.
"""

from swjax.flows.particles.cloud import Particles as Particles
from swjax.flows.particles.cloud import as_particles as as_particles
from swjax.flows.particles.cloud import stack_particles as stack_particles
from swjax.flows.particles.cloud import torus_grid as torus_grid
from swjax.flows.particles.cloud import uniform_grid as uniform_grid
from swjax.flows.particles.convex import fit_weights as fit_weights
from swjax.flows.particles.features import Atoms as Atoms
from swjax.flows.particles.features import ConvexLoss as ConvexLoss
from swjax.flows.particles.features import FeatureBounds as FeatureBounds
from swjax.flows.particles.features import KernelFeatures as KernelFeatures
from swjax.flows.particles.features import KernelLeastSquares as KernelLeastSquares
from swjax.flows.particles.features import LeastSquares as LeastSquares
from swjax.flows.particles.features import PointwiseFeatures as PointwiseFeatures
from swjax.flows.particles.fourier import FourierFeatures as FourierFeatures
from swjax.flows.particles.gap import Gap as Gap
from swjax.flows.particles.gap import duality_gap as duality_gap
from swjax.flows.particles.network import Activation as Activation
from swjax.flows.particles.network import TwoLayerNetwork as TwoLayerNetwork
from swjax.flows.particles.network import sample_teacher as sample_teacher
from swjax.flows.particles.network import two_layer_network as two_layer_network
from swjax.flows.particles.neurons import NeuronFeatures as NeuronFeatures
from swjax.flows.particles.neurons import probit_kernel as probit_kernel
from swjax.flows.particles.neurons import relu_kernel as relu_kernel
from swjax.flows.particles.peaks import Peak as Peak
from swjax.flows.particles.peaks import largest_magnitude as largest_magnitude
from swjax.flows.particles.problem import ParticleProblem as ParticleProblem
from swjax.flows.particles.run import ParticleFlow as ParticleFlow
from swjax.flows.particles.run import ParticleSolution as ParticleSolution
from swjax.flows.particles.run import StepOrder as StepOrder
from swjax.flows.particles.run import continuous_particle_flow as continuous_particle_flow
from swjax.flows.particles.run import particle_flow as particle_flow
from swjax.flows.particles.run import solve_to_gap as solve_to_gap
from swjax.flows.particles.run import step_order as step_order
from swjax.flows.particles.schemes import ConicDescent as ConicDescent
from swjax.flows.particles.schemes import ForwardBackward as ForwardBackward
from swjax.flows.particles.schemes import GradientDescent as GradientDescent
from swjax.flows.particles.schemes import MonotoneForwardBackward as MonotoneForwardBackward
from swjax.flows.particles.spikes import sample_spikes as sample_spikes
from swjax.flows.particles.spikes import spikes_deconvolution as spikes_deconvolution
