"""Train with sliced-Wasserstein losses in JAX, and test numerically what theory says about it."""
