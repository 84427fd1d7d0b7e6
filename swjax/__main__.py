"""The command ``swjax``, also as ``python -m swjax``."""

import sys


def main() -> int:
    """Run the command line, or say what is to be installed for it."""
    try:
        from swjax.experiment.cli import main as run
    except ModuleNotFoundError as error:
        print(f"swjax: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
