"""Settings for every test: strict shapes, a compilation cache of this machine, no waiting."""

import gc
import getpass
import os
import platform
import tempfile
from pathlib import Path

import jaxlib

# Compilations are kept between test runs. The folder is keyed by user, jaxlib and host, since
# compiled CPU code must not travel between machines or versions; the tests pass without it.
_cache = Path(tempfile.gettempdir()) / (
    f"swjax-test-cache-{getpass.getuser()}-{jaxlib.__version__}-{platform.node()}"
)
if jaxlib.__version__.startswith("0.10."):  # 0.11.2 was seen to crash while it wrote there
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Most of the time goes into compiling small programs once: do not polish their machine code. What
# users get is tested with SWJAX_TEST_XLA=default, by `make test-optimized`.
if os.environ.get("SWJAX_TEST_XLA") != "default":
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
    ).strip()

import jax  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

settings.register_profile("swjax", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("swjax")


# Each compiled program holds dozens of mappings of memory. Linux grants a process 65530 of them,
# and XLA crashes while compiling beyond that: two thousand tests in one process come there.
_MAPPINGS, _MANY = Path("/proc/self/maps"), 20_000


@pytest.fixture(autouse=True, scope="module")
def few_mappings():
    """Forget compiled programs once there are many."""
    yield
    if _MAPPINGS.exists() and _MAPPINGS.read_bytes().count(b"\n") > _MANY:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True)
def single_precision_around():
    """No test may leave double precision on, nor a fixture of a module: others would draw anew."""
    assert not jax.config.jax_enable_x64, "a fixture of this module keeps jax_enable_x64 on"
    yield
    if jax.config.jax_enable_x64:
        jax.config.update("jax_enable_x64", False)
        pytest.fail("This test left jax_enable_x64 on; use the fixture x64.")


@pytest.fixture
def x64():
    """Run a test in double precision."""
    with jax.enable_x64(True):
        yield


def pytest_collection_modifyitems(items):
    if jax.default_backend() == "cpu":
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs an accelerator"))
