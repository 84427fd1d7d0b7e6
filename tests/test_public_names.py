"""Every public name says what it takes, gives and refuses, and shows itself at work."""

import ast
import functools
import inspect
import re
import subprocess
import sys
import textwrap
from types import ModuleType

import pytest
from script_runs import run_python

import swjax


def names_of(module):
    """What a module defines, and what it passes on by `import x as x`."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.name == alias.asname)


def public_objects():
    """Classes and functions reachable as swjax.name or swjax.module.name, each once."""
    passed_on = [getattr(swjax, name) for name in names_of(swjax)]
    modules = [value for value in passed_on if isinstance(value, ModuleType)]
    seen = {}
    for module in [swjax, *modules, swjax.experiment, swjax.plot]:
        for name in names_of(module):
            value = getattr(module, name)
            if name[0] != "_" and (inspect.isclass(value) or inspect.isfunction(value)):
                seen.setdefault(id(value), (f"{module.__name__}.{name}", value))
    return list(seen.values())


PUBLIC = public_objects()
TOP_LEVEL = [(name, value) for name, value in PUBLIC if name.count(".") == 1]
FUNCTIONS = [(name, value) for name, value in PUBLIC if inspect.isfunction(value)]


@pytest.mark.parametrize(("name", "value"), PUBLIC, ids=[n for n, _ in PUBLIC])
def test_every_public_name_has_a_docstring(name, value):
    doc = inspect.getdoc(value)
    assert doc, f"{name} has no docstring"
    assert not doc.startswith(f"{value.__name__}("), f"{name} has only the generated docstring"


@functools.cache
def definition(function):
    """The syntax tree of a function."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    return ast.parse(source).body[0]


def section(doc, title):
    """The text of a section such as `Args:`, without its indentation, or None."""
    found = re.search(rf"^{title}:\n(.*?)(?=^\S|\Z)", doc, re.DOTALL | re.MULTILINE)
    return textwrap.dedent(found[1]) if found else None


_ENTRY = r"(?:\.\.\.|\w+(?: ?[-+*/^] ?\w+)*)"
# A tuple such as (L, d), (n,) or (), or one of these words.
_SHAPE = rf"\((?:{_ENTRY},(?: {_ENTRY},)*(?: {_ENTRY})?)?\)"
_SHAPE += r"|\b([Ss]calar|float|number|vector|matrix|(py)?tree|shape)s?\b"
SHAPE = re.compile(_SHAPE)
SHAPE_OR_ANOTHER = re.compile(_SHAPE + r"|\b(same|like|likewise)\b|\b[Aa]s (`|in\b)")


def is_array(annotation):
    """Whether what is annotated so has a shape: neither a number, nor a key, nor a function."""
    words = ast.unparse(annotation) if annotation else ""
    return bool(re.search("Array|PyTree", words)) and not re.search("Key|Callable|float", words)


@pytest.mark.parametrize(("name", "value"), TOP_LEVEL, ids=[n for n, _ in TOP_LEVEL])
def test_every_top_level_name_shows_itself_at_work(name, value):
    if inspect.isclass(value) and issubclass(value, tuple):
        return  # results: their fields are described where they are returned
    assert ">>>" in inspect.getdoc(value), f"{name} has no example"


@pytest.mark.parametrize(("name", "value"), FUNCTIONS, ids=[n for n, _ in FUNCTIONS])
def test_every_function_gives_the_shapes_of_its_arguments_and_of_its_result(name, value):
    tree, doc = definition(value), inspect.getdoc(value)
    arguments = [*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs]
    args, returns = section(doc, "Args"), section(doc, "Returns")
    for argument in arguments:
        entry = rf"^(?:[\w, ]*\b)?{argument.arg}\b[^:\n]*:(.*?)(?=^\S|\Z)"
        told = re.search(entry, args or "", re.DOTALL | re.MULTILINE)
        assert told, f"{name} does not describe {argument.arg}"
        if is_array(argument.annotation) and argument.arg != "key":
            assert SHAPE_OR_ANOTHER.search(told[1]), f"{name} gives no shape of {argument.arg}"
    gives = ast.unparse(tree.returns) if tree.returns else ""
    if gives != "None" and not gives.startswith("Iterator"):  # the latter: for `with`
        assert returns, f"{name} does not describe what it returns"
        if is_array(tree.returns):
            assert SHAPE.search(returns), f"{name} gives no shape of its result"


def raises(function):
    """Whether a function has a `raise` of its own."""
    return any(isinstance(node, ast.Raise) for node in ast.walk(definition(function)))


def called_by(function):
    """Functions of swjax that a function calls by their name."""
    known = inspect.unwrap(function).__globals__
    for node in ast.walk(definition(function)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            value = inspect.unwrap(known.get(node.func.id))
            if inspect.isfunction(value) and value.__module__.startswith("swjax"):
                yield value


@pytest.mark.parametrize(("name", "value"), FUNCTIONS, ids=[n for n, _ in FUNCTIONS])
def test_functions_that_refuse_something_say_so(name, value):
    if raises(value) or any(map(raises, called_by(value))):
        assert section(inspect.getdoc(value), "Raises"), f"{name} does not say what it raises"


def test_importing_swjax_loads_neither_the_runner_nor_the_peers():
    # Flax itself loads yaml and rich, so these two are not in the list.
    heavy = [
        "pydantic",
        "xarray",
        "matplotlib",
        "pandas",
        "sklearn",
        "h5py",
        "ott",
        "ot",
        "diffrax",
        "flax.nnx",
    ]
    code = f"import sys, swjax; print([m for m in {heavy!r} if m in sys.modules])"
    assert run_python("-c", code).strip() == "[]"


@pytest.mark.parametrize("use", ["import swjax.plot", "from swjax.experiment import run"])
def test_without_the_extra_it_is_said_what_to_install(use):
    code = f"import sys, swjax; sys.modules['h5netcdf'] = None; {use}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: The runner and the figures of swjax need h5netcdf")
    assert "pip install 'swjax[experiment]'" in last


def test_without_the_extra_the_command_ends_with_a_message():
    code = """
import sys
from swjax.__main__ import main
sys.modules["h5netcdf"] = None
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("swjax: The runner and the figures of swjax need h5netcdf")
    assert len(done.stderr.splitlines()) == 1
