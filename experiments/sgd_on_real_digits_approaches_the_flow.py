"""SGD on a network that generates real 8x8 digits approaches the gradient flow."""

from _claim import run_study, save

if __name__ == "__main__":
    save(run_study("flow_digits").plot("order_plot"))
