"""Losses under shard_map on four devices, in a process that has so many."""

import os

import pytest
from script_runs import run_python

CODE = """
import jax
import jax.numpy as jnp
import numpy as np
from jax import P, lax
import swjax

mesh = jax.make_mesh((4,), ("part",), axis_types=(jax.sharding.AxisType.Auto,))

def on_devices(function, where_in, where_out):
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=where_in, out_specs=where_out))

def assert_close(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)

x = jax.random.normal(jax.random.key(0), (20, 3))
y = jax.random.normal(jax.random.key(1), (20, 3)) + 0.5
theta = swjax.sample_directions(jax.random.key(2), 32, 3)
everywhere = P()
"""

DERIVATIVES = """
where = everywhere, everywhere, P("part")  # every device has directions of its own
for chunk_size in (None, 3):
    mean = lambda *parts: lax.pmean(swjax.sw2_sq(*parts, chunk_size=chunk_size), "part")
    for which in ((0,), (1,), (2,), (0, 2), (0, 1, 2)):
        found = on_devices(jax.grad(mean, which), where, tuple(where[i] for i in which))
        assert_close(found(x, y, theta), jax.grad(swjax.sw2_sq, which)(x, y, theta))
    moved = lambda x, y, theta: jax.jvp(lambda x: mean(x, y, theta), (x,), (y,))
    plain = jax.jvp(lambda x: swjax.sw2_sq(x, y, theta), (x,), (y,))
    assert_close(on_devices(moved, where, (everywhere, everywhere))(x, y, theta), plain)

parts = y.reshape(4, 5, 3)  # every device has data of its own
share = lambda x, part: lax.pmean(swjax.sw2_sq(x, part[0], theta, chunk_size=3), "part")
whole = lambda x: jnp.mean(jax.vmap(lambda part: swjax.sw2_sq(x, part, theta))(parts))
found = on_devices(jax.grad(share), (everywhere, P("part")), everywhere)(x, parts)
assert_close(found, jax.grad(whole)(x))
"""

SEARCHES = """
for chunk_size in (None, 3):
    plan = lambda *parts: lax.pmean(
        swjax.expected_sliced_plan(*parts, chunk_size=chunk_size), "part"
    )
    found = on_devices(plan, (everywhere, everywhere, P("part")), everywhere)(x, y, theta)
    assert_close(found, swjax.expected_sliced_plan(x, y, theta))

clouds, key = jnp.stack([x, 2 * x, x - 1, y + 2]), jax.random.key(3)
for search in (
    lambda cloud: swjax.max_sw2_sq(cloud, y, key, num_steps=10, num_starts=4).value,
    lambda cloud: swjax.sw2_sq_adaptive(cloud, y, key, rtol=0.05).estimate.value,
):
    own = lambda cloud: search(cloud[0])[None]
    expected = jnp.stack([search(cloud) for cloud in clouds])
    assert_close(on_devices(own, P("part"), P("part"))(clouds), expected)
"""


@pytest.mark.parametrize("code", [DERIVATIVES, SEARCHES], ids=["derivatives", "searches"])
def test_devices_agree_with_one(code):
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"}
    run_python("-c", CODE + code, env=env)
