"""Imports go downward only: the floors of the house, checked on the syntax tree."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "swjax"

FLOORS = {
    0: {
        "_checks",
        "_extra",
        "_keys",
        "_trees",
        "_types",
        "regression",
        "student",
        "directions",
        "coupling1d",
        "wasserstein1d",
        "sorting",
        "rows",
        "network",
        "plane",
        "trajectories",
    },
    1: {
        "sliced",
        "slicing",
        "controls",
        "estimates",
        "adaptive",
        "max_sliced",
        "plans",
        "pairwise",
        "generalized",
        "exact",
        "measures",
    },
    2: {"losses", "population", "generators", "assumptions", "problems"},
    3: {"optim", "flows", "nonsmooth", "particles"},
    4: {"training", "convergence", "monitor"},
    5: {"plot"},
    6: {"experiment"},
    7: {"__main__"},
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def unit(path: Path) -> str:
    """The name directly below swjax/ that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """Dotted names below swjax that a file imports, wherever in the file the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import on line {node.lineno}; write it out"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("swjax.") for name in found if name.startswith("swjax.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    own = unit(path)
    assert own in FLOOR_OF, f"{own} has no floor: add it to FLOORS"
    for name in imported_modules(path):
        other = name.split(".")[0]
        assert other in FLOOR_OF, f"{path.name} imports the top level name swjax.{other}"
        assert FLOOR_OF[other] <= FLOOR_OF[own], f"{own} imports {other}, which is above it"
        if other != own and FLOOR_OF[other] == FLOOR_OF[own]:
            folders = (PACKAGE / own).is_dir() and (PACKAGE / other).is_dir()
            assert not folders, f"{own} imports {other} sideways"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_what_is_private_to_a_package_is_used_in_it_alone(path):
    """Private modules directly below swjax, such as `swjax._checks`, are for all."""
    for name in imported_modules(path):
        other, *inside = name.split(".")
        private = [part for part in inside if part.startswith("_")]
        assert other == unit(path) or not private, f"{path.name} imports swjax.{name}"


def test_no_import_cycles():
    graph = {unit(p): set() for p in MODULES}
    for path in MODULES:
        graph[unit(path)] |= {n.split(".")[0] for n in imported_modules(path)} - {unit(path)}
    done: set[str] = set()

    def visit(node: str, trail: tuple[str, ...]) -> None:
        assert node not in trail, f"import cycle: {' -> '.join((*trail, node))}"
        if node not in done:
            for other in graph.get(node, ()):
                visit(other, (*trail, node))
            done.add(node)

    for node in graph:
        visit(node, ())
