"""What scripts without a study share: their options, and where their figure goes."""

import argparse
import sys
from pathlib import Path

import jax
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


def save(figure: Figure, output: Path) -> None:
    """Save the figure in the folder, under the name of the script."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{Path(sys.argv[0]).stem}.png"
    figure.savefig(path, dpi=120, metadata={"Software": None})
    print(f"figure: {path}")


def keys(seed: int, num: int) -> jax.Array:
    """As many independent keys."""
    return jax.random.split(jax.random.key(seed), num)
