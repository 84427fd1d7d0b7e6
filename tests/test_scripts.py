"""Scripts of `experiments/` name what exists: studies, figures, figures of reports. None is run."""

import ast
from pathlib import Path

import pytest

from swjax import plot
from swjax.experiment.study import read_study

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "experiments").glob("[!_]*.py"))
ROWS = (ROOT / "experiments" / "README.md").read_text()
CONFIGS = ROOT / "configs"


def calls(tree, name):
    """All calls of a function, or of a method, by its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if getattr(called, "id", None) == name or getattr(called, "attr", None) == name:
                yield node


def words(tree):
    """All strings in a tree."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [node.value for node in nodes if isinstance(node.value, str)]


def configs_of(script):
    """What a script gives to `run_study`; `f"folder/{config}"` stands for all of its STUDIES."""
    for call in calls(script, "run_study"):
        (given,) = call.args
        if isinstance(given, ast.Constant):
            yield given.value
        else:
            (folder,) = words(given)
            stated = [node for node in script.body if isinstance(node, ast.Assign)]
            (studies,) = (node.value for node in stated if node.targets[0].id == "STUDIES")
            yield from (folder + name for name in ast.literal_eval(studies).values())


def figures_of_reports(study):
    """The names of the figures that the report of such a study may have."""
    source = ROOT / "swjax" / "experiment" / f"report_{study.kind}.py"
    sketches = calls(ast.parse(source.read_text()), "Sketch")
    names = {ast.literal_eval(call.args[0]) for call in sketches}
    names |= {"loss"} if study.kind != "stationarity" else set()
    of_all_arms = names if study.kind == "training" else names & {"shares"}
    if len(study.schemes) > 1:
        names = {f"{name}-{arm}" for name in names - of_all_arms for arm in study.schemes}
    return names | of_all_arms | {"generated"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_names_what_exists_and_has_a_row_in_the_table(path):
    script = ast.parse(path.read_text())
    compile(script, path.name, "exec")
    assert ast.get_docstring(script)
    assert f"]({path.name})" in ROWS
    configs = list(configs_of(script))
    for config in configs:
        assert (CONFIGS / f"{config}.yaml").exists(), config
    for name in words(script):
        assert not name.endswith(".yaml") or list(CONFIGS.rglob(name)), name
    for call in calls(script, "plot"):  # of a sweep: those of Axes begin with numbers
        if call.args and isinstance(call.args[0], ast.Constant):
            assert callable(getattr(plot, call.args[0].value))
    for node in ast.walk(script):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "plot":
            assert hasattr(plot, node.attr), node.attr
    for call in calls(script, "save_from_report"):
        (config,) = configs
        study = read_study(CONFIGS / f"{config}.yaml")
        assert ast.literal_eval(call.args[1]) in figures_of_reports(study)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments" / "benchmarks").glob("*.py")), ids=lambda path: path.stem
)
def test_a_benchmark_compiles(path):
    compile(path.read_text(), path.name, "exec")
