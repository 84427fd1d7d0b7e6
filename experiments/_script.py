"""What scripts share: their options, their keys, and where their figure goes."""

import argparse
import sys
from pathlib import Path

import jax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FIGURES = Path(__file__).parent / "figures"


def options(doc: str | None, **numbers: int) -> argparse.Namespace:
    """Parse `--output FOLDER`, and an option with a default for each number.

    The doc of the script is its help. Underscores in the names become dashes.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=FIGURES, help="folder of the figure")
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return parser.parse_args()


def figure_path(output: Path = FIGURES) -> Path:
    """The file in the folder that has the name of the script; the folder is made."""
    output.mkdir(parents=True, exist_ok=True)
    return output / f"{Path(sys.argv[0]).stem}.png"


def save(drawn: Figure | Axes, output: Path = FIGURES) -> None:
    """Save a figure, or that of some Axes, in the folder under the name of the script."""
    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    assert figure is not None
    path = figure_path(output)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    print(f"Figure: {path}")


def keys(seed: int, num: int) -> jax.Array:
    """As many independent keys."""
    return jax.random.split(jax.random.key(seed), num)
