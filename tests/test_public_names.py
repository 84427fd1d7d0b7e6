"""Every public name says what it takes and gives, and shows itself at work."""

import inspect
import re
import subprocess
import sys
from types import ModuleType

import pytest

import swjax

MODULES_WITH_PUBLIC_NAMES = [swjax] + [
    value for name, value in vars(swjax).items() if isinstance(value, ModuleType) and name[0] != "_"
]


def public_objects():
    """Classes and functions reachable as swjax.name or swjax.module.name, each once."""
    seen = {}
    for module in MODULES_WITH_PUBLIC_NAMES:
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "").startswith("swjax")
            if name[0] != "_" and own and (inspect.isclass(value) or inspect.isfunction(value)):
                seen.setdefault(id(value), (f"{module.__name__}.{name}", value))
    return list(seen.values())


PUBLIC = public_objects()
TOP_LEVEL = [
    (f"swjax.{n}", v)
    for n, v in vars(swjax).items()
    if n[0] != "_" and (inspect.isclass(v) or inspect.isfunction(v))
]


@pytest.mark.parametrize(("name", "value"), PUBLIC, ids=[n for n, _ in PUBLIC])
def test_every_public_name_has_a_docstring(name, value):
    doc = inspect.getdoc(value)
    assert doc, f"{name} has no docstring"
    assert not doc.startswith(f"{value.__name__}("), f"{name} has only the generated docstring"


@pytest.mark.parametrize(("name", "value"), TOP_LEVEL, ids=[n for n, _ in TOP_LEVEL])
def test_every_top_level_function_gives_shapes_and_a_runnable_example(name, value):
    if inspect.isclass(value) and issubclass(value, tuple):
        return  # results: their fields are described where they are returned
    doc = inspect.getdoc(value)
    assert ">>>" in doc, f"{name} has no example"
    if inspect.isfunction(value):
        assert "Args:" in doc, f"{name} does not describe its arguments"
        assert "Returns:" in doc, f"{name} does not describe what it returns"
    words = r"\([a-zA-Z_0-9 ,+.*]*\)|scalar|float|pytree"
    assert re.search(words, doc), f"{name} gives no shapes"


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
