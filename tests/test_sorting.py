"""Sorting: exact, stable, by every way and on every value, with its derivative and its speed."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util

from swjax import network, rows, sorting

SIZES = [1, 2, 5, 13, 33, 100]
sort, argsort, argmerge = map(jax.jit, (sorting.sort, sorting.argsort, sorting.argmerge))
sort_by_network, merge_by_network = map(
    jax.jit, (network.sort_by_network, network.merge_by_network)
)


def random_lists(*shape, levels=20):
    """Numbers with many ties."""
    return np.random.default_rng(0).integers(-levels, levels, shape).astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 11, 14])
def test_network_sorts_every_list_of_zeros_and_ones(n):
    # And so, by Knuth's zero-one principle, every list of this length.
    lists = np.array(list(itertools.product([0, 1], repeat=n)), np.int32).T
    np.testing.assert_array_equal(sort_by_network(jnp.array(lists)), np.sort(lists, axis=0))


@pytest.mark.parametrize("n", [20, 48, 112, 256])
def test_network_sorts_zeros_before_ones_in_any_number_of_rows(n):
    ones = np.arange(n + 1)
    lists = (np.arange(n)[:, None] >= ones[None]).astype(np.int32)
    shuffled = np.concatenate([np.random.default_rng(k).permutation(lists) for k in range(20)], 1)
    np.testing.assert_array_equal(sort_by_network(jnp.array(shuffled)), np.sort(shuffled, axis=0))


@pytest.mark.parametrize("n", [33, 40, 48, 70, 129, 160, 300, 650])
def test_network_sorts_the_sum_of_two_powers_of_two(n, monkeypatch):
    monkeypatch.setattr(network, "_SHORT", 0)  # otherwise for long lists only
    whole = jax.make_jaxpr(lambda keys: network.sort_by_network.__wrapped__(keys))
    lists = np.random.default_rng(n).integers(-n, n, (2, n, 3)).astype(np.int32)
    zeros = (np.arange(n)[:, None] >= np.arange(n + 1)[None]).astype(np.int32)
    zeros = np.random.default_rng(0).permuted(zeros, axis=0)
    for keys in (lists, zeros):
        power_of_two = f"{1 << (n - 1).bit_length()},{keys.shape[-1]}]"
        assert power_of_two not in str(whole(keys))
        ordered = jax.jit(network.sort_by_network.__wrapped__)(jnp.array(keys))
        np.testing.assert_array_equal(ordered, np.sort(keys, axis=-2))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 6), (9, 4)])
def test_network_merges_every_pair_of_lists_of_zeros_and_ones(n, m):
    step = lambda size: np.arange(size)[:, None] >= np.arange(size + 1)[None]
    first = np.repeat(step(n), m + 1, axis=1).astype(np.int32)
    second = np.tile(step(m), n + 1).astype(np.int32)
    merged = merge_by_network(jnp.array(first), jnp.array(second))
    np.testing.assert_array_equal(merged, np.sort(np.concatenate([first, second]), axis=0))


@pytest.mark.parametrize("n", SIZES)
def test_argsort_is_the_stable_order(n):
    for shape in [(n, 16), (n, 1)]:
        lists = random_lists(*shape)
        order = np.argsort(lists, axis=0, kind="stable")
        np.testing.assert_array_equal(argsort(jnp.array(lists)), order)
        np.testing.assert_array_equal(sort(jnp.array(lists)), np.sort(lists, axis=0))


@pytest.mark.parametrize("n", [1, 5, 33])
def test_double_precision_has_the_same_order(n, x64):
    lists = random_lists(n, 9).astype(np.float64) * (1 + 1e-12)
    order = np.argsort(lists, axis=0, kind="stable")
    np.testing.assert_array_equal(argsort(jnp.array(lists)), order)
    np.testing.assert_array_equal(sort(jnp.array(lists)), np.sort(lists, axis=0))


def test_numbers_that_differ_in_their_last_bits_are_sorted(x64):
    # Their last bits give way to the row; the wrong order is seen and pairs are sorted.
    steps = np.random.default_rng(0).permuted(np.tile(np.arange(20), (9, 5)), axis=1).T
    lists = 1 + steps * np.finfo(float).eps
    lists[::7, 3] = np.nan
    order = np.argsort(lists, axis=0, kind="stable")
    assert (np.argsort(lists.astype(np.float32), axis=0, kind="stable") != order).any()
    np.testing.assert_array_equal(argsort(jnp.array(lists)), order)
    halves = np.sort(lists[:50], axis=0), np.sort(lists[50:], axis=0)
    merged = np.argsort(np.concatenate(halves), axis=0, kind="stable")
    np.testing.assert_array_equal(argmerge(*map(jnp.array, halves)), merged)


def test_double_precision_sorts_numbers_that_single_precision_confuses(x64):
    lists = jnp.array([1 + 3e-12, 1 + 1e-12, 1 + 2e-12])[:, None]
    assert argsort(lists).ravel().tolist() == [1, 2, 0]


@pytest.mark.parametrize("lanes", [1, 16])
def test_special_numbers_have_their_places(lanes):
    tiny = float(jnp.finfo(jnp.float32).smallest_subnormal)
    column = [np.nan, 1.0, -0.0, -np.inf, tiny, 0.0, np.inf, -tiny, -3e38, 3e38]
    lists = jnp.tile(jnp.array(column, jnp.float32)[:, None], (1, lanes))
    expected = [3, 8, 7, 2, 5, 4, 1, 9, 6, 0]  # -0.0 and 0.0 are equal and keep their order
    assert argsort(lists)[:, 0].tolist() == expected
    ordered = np.asarray(sort(lists))[:, 0]
    np.testing.assert_array_equal(ordered[[0, 1, 2, 5]], np.float32([-np.inf, -3e38, -tiny, tiny]))
    assert np.isnan(ordered[-1])


def test_nan_stays_in_its_lane():
    lists = random_lists(10, 16)
    lists[3, 5] = np.nan
    nan = np.isnan(sort(jnp.array(lists)))
    assert nan.sum() == 1
    assert nan[-1, 5]


@pytest.mark.parametrize("shape", [(6, 33, 2), (2, 33, 16), (2, 3, 9, 4)])
def test_vmap_sorts_every_member_whatever_the_layout(shape):
    lists = random_lists(*shape)
    argsort_all, sort_all = sorting.argsort, sorting.sort
    for _ in shape[:-2]:
        argsort_all, sort_all = jax.vmap(argsort_all), jax.vmap(sort_all)
    order = np.argsort(lists, axis=-2, kind="stable")
    np.testing.assert_array_equal(jax.jit(argsort_all)(lists), order)
    np.testing.assert_array_equal(jax.jit(sort_all)(lists), np.sort(lists, axis=-2))


@pytest.mark.parametrize("lanes", [2, 16])
def test_argmerge_is_the_stable_order_of_both(lanes):
    first, second = np.sort(random_lists(13, lanes), 0), np.sort(random_lists(7, lanes), 0)
    both = np.concatenate([first, second])
    expected = np.argsort(both, axis=0, kind="stable")
    np.testing.assert_array_equal(argmerge(jnp.array(first), jnp.array(second)), expected)
    with jax.enable_x64(True):
        doubles = jnp.array(first, jnp.float64), jnp.array(second, jnp.float64)
        np.testing.assert_array_equal(argmerge(*doubles), expected)
    # One list may be the same for all members of a batch.
    firsts = jnp.array(np.stack([first, first]))
    merged = jax.jit(jax.vmap(sorting.argmerge, in_axes=(0, None)))(firsts, jnp.array(second))
    np.testing.assert_array_equal(merged[1], expected)


@pytest.mark.parametrize("few", [0, 10**9])
@pytest.mark.parametrize("shape", [(33, 16), (7, 1), (2, 3, 9, 4)])
def test_rearrange_puts_the_smallest_where_the_pattern_has_its_smallest(shape, few, monkeypatch):
    monkeypatch.setattr(sorting, "_FEW", few)  # one after the other, and side by side
    values, pattern = random_lists(*shape), random_lists(*shape)[..., ::-1, :] ** 2
    order = np.argsort(pattern, axis=-2, kind="stable")
    expected = np.empty_like(values)
    np.put_along_axis(expected, order, np.sort(values, axis=-2), axis=-2)
    rearrange = lambda values, pattern: sorting.rearrange(values, pattern)
    for _ in shape[:-2]:
        rearrange = jax.vmap(rearrange)
    for enabled in (False, True):
        with jax.enable_x64(enabled):
            same = jax.jit(rearrange)(values, pattern)
            assert same.dtype == jnp.float32
            np.testing.assert_array_equal(same, expected)
            doubles = jnp.array(values, float), jnp.array(pattern, float)
            np.testing.assert_array_equal(jax.jit(rearrange)(*doubles), expected)


def test_rearrange_moves_tangents_of_the_values_alone(x64):
    values, pattern, tangent = jax.random.normal(jax.random.key(0), (3, 6, 2))
    near = lambda step: sorting.rearrange(values + step * tangent, pattern)
    moved = jax.jvp(near, (0.0,), (1.0,))[1]
    np.testing.assert_allclose(moved, (near(1e-6) - near(-1e-6)) / 2e-6, rtol=1e-8)
    slope = jax.grad(lambda pattern: jnp.sum(sorting.rearrange(values, pattern) ** 3))(pattern)
    np.testing.assert_array_equal(slope, 0)
    total = lambda values: jnp.sum(sorting.rearrange(values, pattern) ** 3 * pattern)
    test_util.check_grads(jax.jit(total), (values,), order=2, rtol=1e-6)


def test_put_rows_inverts_take_rows():
    values = jnp.array(random_lists(2, 9, 4))
    order = argsort(values)
    back = rows.put_rows(order, rows.take_rows(values, order))
    np.testing.assert_array_equal(back, values)


def test_an_order_of_one_lane_does_not_stand_for_all():
    values = jnp.array(random_lists(9, 4))
    with pytest.raises(ValueError, match="broadcast them first"):
        rows.take_rows(values, argsort(values)[:, :1])
    with pytest.raises(ValueError, match="broadcast them first"):
        rows.put_rows(argsort(values), values[:, :1])


def test_derivatives_of_sort_move_along_the_permutation(x64):
    values = jax.random.normal(jax.random.key(0), (5, 3))
    curve = lambda values: jnp.sum(sorting.sort(values) ** 2 * jnp.arange(5.0)[:, None])
    test_util.check_grads(jax.jit(curve), (values,), order=2, rtol=1e-6)


def test_types_do_not_depend_on_x64_outside():
    values = jnp.array(random_lists(9, 16))
    for enabled in (False, True):
        with jax.enable_x64(enabled):
            assert jax.jit(sorting.argsort)(values).dtype == jnp.int32
            assert jax.jit(sorting.sort)(values).dtype == jnp.float32


@pytest.mark.parametrize("n", [9, 33])
def test_the_way_of_an_accelerator_gives_the_same_orders(n, monkeypatch):
    """Integer keys sorted by XLA itself, many lanes side by side, as on a GPU, but here."""
    lists = random_lists(n, 24)
    monkeypatch.setattr(sorting, "_MIN_LANES", 10**9)
    text = jax.jit(lambda values: sorting.argsort(values)).lower(lists).as_text()
    assert "stablehlo.sort" in text
    assert "case" not in text  # no other way is compiled beside it
    order = np.argsort(lists, axis=0, kind="stable")
    np.testing.assert_array_equal(jax.jit(lambda v: sorting.argsort(v))(lists), order)
    np.testing.assert_array_equal(jax.jit(lambda v: sorting.sort(v))(lists), np.sort(lists, axis=0))
    halves = np.sort(lists[: n // 2], axis=0), np.sort(lists[n // 2 :], axis=0)
    merged = jax.jit(lambda *v: sorting.argmerge(*v))(*halves)
    np.testing.assert_array_equal(merged, np.argsort(np.concatenate(halves), axis=0, kind="stable"))


@pytest.mark.parametrize("batch", [(6,), (2, 3), (5,)])
def test_a_batch_larger_than_the_caches_is_sorted_in_blocks(batch, monkeypatch):
    monkeypatch.setattr(sorting, "_CACHED_BYTES", 2**13)  # one list of lanes, or less
    lists = random_lists(*batch, 40, 16)
    in_blocks = jax.jit(lambda values: sorting.argsort(values))
    assert "stablehlo.while" in in_blocks.lower(lists).as_text()
    np.testing.assert_array_equal(in_blocks(lists), np.argsort(lists, axis=-2, kind="stable"))


# -- canaries: these fail when a change here or in XLA loses a fast path --------------------------


def sorts_in(function, *shape, dtype=jnp.float32, platform="cpu"):
    """The operands of all sort instructions, as XLA is given them on that platform."""
    lowered = jax.jit(function).trace(jax.ShapeDtypeStruct(shape, dtype))
    text = lowered.lower(lowering_platforms=(platform,)).as_text()
    return re.findall(r"stablehlo\.sort.*?\}\) : \((.*?)\) ->", text, flags=re.DOTALL)


def test_on_cpu_neighboring_lists_need_no_sort_instruction():
    assert sorts_in(sorting.argsort, 1000, 64) == []
    assert sorts_in(sorting.sort, 1000, 64) == []


@pytest.mark.parametrize(
    ("shape", "platform"), [((140_000, 64), "cpu"), ((1000, 1), "cpu"), ((1000, 64), "cuda")]
)
def test_elsewhere_one_integer_operand_is_sorted_in_contiguous_memory(shape, platform):
    operand = "x".join(map(str, reversed(shape)))
    assert sorts_in(sorting.argsort, *shape, platform=platform) == [f"tensor<{operand}xi64>"]
    assert sorts_in(sorting.sort, *shape, platform=platform) == [f"tensor<{operand}xi32>"]


def test_double_precision_needs_a_sort_instruction_only_for_the_last_bits(x64):
    operands = sorts_in(sorting.argsort, 1000, 64, dtype=jnp.float64)
    assert operands == ["tensor<64x1000xi64>, tensor<64x1000xi32>"]
    lowered = jax.jit(sorting.argsort).lower(jnp.zeros((1000, 64)))
    assert "stablehlo.case" in lowered.as_text()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="counts the loops XLA makes on CPU")
def test_xla_neither_joins_nor_splits_the_passes_of_the_network():
    # 1024 rows: one pass for the three stages of the first two levels, and one for every two of the
    # 3 + ... + 10 stages of the others; then the low halves of the keys are read.
    text = argsort.lower(jnp.zeros((1024, 64))).compile().as_text()
    loops = re.findall(r"^  %\S+ = s64\[(\d+),(\d+),64\]\S* fusion", text, flags=re.MULTILINE)
    passes = sum(int(blocks) * int(rows) == 1024 for blocks, rows in loops)
    assert passes == len(loops)
    assert 26 <= passes <= 28
    assert "while(" not in text
    assert "sort(" not in text


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="reads what XLA makes on CPU")
@pytest.mark.parametrize("shape", [(128, 50), (1024, 100)])
def test_xla_does_not_join_the_last_pass_to_what_reads_the_rows_as_one_line(shape):
    # The scatter and what prepares it read whole branches: of one conditional, or of two.
    rearranged = jax.jit(lambda values, pattern: sorting.rearrange(values, pattern))
    text = rearranged.lower(*jnp.zeros((2, *shape))).compile().as_text()
    entry = text[text.index("ENTRY") :]
    assert len(re.findall(r" conditional\(", entry)) == (2 if shape == (128, 50) else 1)
    assert "scatter" in entry
    flat = re.findall(r"^%fused_computation.*?^}", text, flags=re.MULTILINE | re.DOTALL)
    flat = [body for body in flat if re.search(r"-> \S+\[\d+,1\]", body)]
    assert not any("minimum(" in body for body in flat)
