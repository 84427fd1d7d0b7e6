"""SGD on a ReLU network, from a ball to two moons, approaches the gradient flow.

The laws are discrete, so the flow is that of the exact expected minibatch loss.
"""

from _claim import run_study, save

if __name__ == "__main__":
    save(run_study("flow_mlp").plot("order_plot"))
