"""What the reading of programs must not overlook: repeated entries, other numbers, hidden jumps."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import swjax
from swjax import measures
from swjax.assumptions import check
from swjax.assumptions.bounds import Kind, Value
from swjax.assumptions.evidence import sample_jump
from swjax.assumptions.inspection import read
from swjax.assumptions.program import trace
from swjax.assumptions.verdicts import Facts

BALL = measures.ball(2)
ATOMS = swjax.Discrete(np.array([[0.0, 0.6], [0.5, -0.3], [-0.7, 0.1]], np.float32))


def reading(apply, num=2, radius=2.0):
    """What is read of a function of `num` parameters and a point (2,)."""
    program = trace(lambda u, x: apply(u, x[0]), np.zeros(num, np.float32), 2)
    return read(program, radius, 1.0)


# --- arrays that hold an entry more than once ---------------------------------------------------


def windows(u, x):
    """Twice the same window of two entries, added: gathers of more than one entry at a time."""
    taken = jax.vmap(lambda start: jax.lax.dynamic_slice(u, (start,), (2,)))(np.zeros(2, int))
    return x + taken.sum(axis=0)


@pytest.mark.parametrize(
    ("apply", "num", "slope", "kind"),
    [
        # One entry can be all of the nine extreme values: their sum has slope 9, for both outputs.
        (lambda u, x: x + jax.lax.cummax(u).sum(), 9, 9 * math.sqrt(2), Kind.KINKED),
        (lambda u, x: x + jax.lax.cummin(u, reverse=True).sum(), 9, 9 * math.sqrt(2), Kind.KINKED),
        (lambda u, x: x + jax.lax.cummax(u[:, None], axis=1)[:, 0], 2, 1, Kind.SMOOTH),
        (lambda u, x: x + u[np.zeros(16, int)].sum() / 4, 16, 4 * math.sqrt(2), Kind.SMOOTH),
        (lambda u, x: x + u[np.array([1, 0])], 2, 1, Kind.SMOOTH),
        (windows, 4, 2, Kind.SMOOTH),
    ],
)
def test_an_entry_counts_as_often_as_it_is_used(apply, num, slope, kind):
    value = reading(apply, num, math.inf)
    assert value.kind_u == kind
    np.testing.assert_allclose(value.du, slope, rtol=1e-6)


def test_an_exponential_over_the_sum_of_others_is_no_softmax():
    def exchanged(u, x):
        e = jnp.exp(u.reshape(3, 4))
        return x + (e / e.sum(axis=1, keepdims=True)[np.array([2, 0, 1])]).sum()

    # At u = (5, .., 5, 0, .., 0) the first row is e^5.
    assert reading(exchanged, 12, 10.0).norm >= 4 * math.exp(5) / 4
    assert check(exchanged, np.zeros(12), BALL, BALL)["A4"].verdict != "holds"


@pytest.mark.parametrize(
    ("apply", "num", "largest"),
    [
        # Last, how large the entries can be: those of tanh come close to 1.
        (lambda u, x: jnp.pad(jnp.tanh(u), (1, 2), constant_values=50.0), 2, [1, 1, 50, 50, 50]),
        (lambda u, x: jax.lax.pad(jnp.tanh(u), 50.0, [(1, -1, 0)]), 2, [1, 50]),
        (lambda u, x: jax.lax.pad(jnp.tanh(u), 50.0, [(0, -1, 1)]), 2, [1, 50]),
        (lambda u, x: jax.lax.pad(jnp.tanh(u), 50.0, [(-1, -1, 1)]), 3, [1, 50, 50]),
        (lambda u, x: jax.lax.pad(jnp.tanh(u), 50.0, [(-1, 0, 0)]), 2, [1]),
    ],
)
def test_padding_counts_where_it_is_put(apply, num, largest):
    value = reading(apply, num, math.inf)
    np.testing.assert_allclose(value.norm, np.linalg.norm(largest), rtol=1e-6)
    assert value.high == max(largest)


@pytest.mark.parametrize("u_decides", [False, True])
def test_the_fill_value_of_a_gather_is_a_value(u_decides):
    def filled(u, x, index=7, fill=50.0):
        index = np.array([index]) + (jnp.round(u[0]).astype(int) if u_decides else 0)
        return x + u.at[index].get(mode="fill", fill_value=fill)

    value = reading(filled)
    # x is at most 1; both outputs are 50.
    assert value.norm >= 50 * math.sqrt(2) - 1
    assert value.high >= 51
    if not u_decides:
        inside = reading(lambda u, x: filled(u, x, index=1))
        assert (inside.high, inside.kind_u) == (3, Kind.SMOOTH)
        nothing = reading(lambda u, x: filled(u, x, fill=jnp.nan))
        assert nothing.reasons == {"an index out of range"}


# --- numbers that are not real ------------------------------------------------------------------


@pytest.mark.parametrize(
    "apply",
    [
        lambda u, x: 5 * jnp.real(jnp.exp(1j * (x @ u.reshape(2, 2)))),
        lambda u, x: x + jnp.real((1j * u[:2]) * 100j),
        lambda u, x: x + jnp.abs(u[:2] + 5j),
        lambda u, x: x + jax.jit(jnp.real)(jnp.fft.fft(u[:2])),
    ],
)
def test_programs_with_complex_numbers_are_unknown(apply):
    value = reading(apply, 4)
    assert value.kind_u == Kind.UNKNOWN
    assert value.reasons == {"complex numbers"}


def test_complex_numbers_that_depend_on_nothing_are_no_obstacle():
    value = reading(lambda u, x: x + u * jnp.abs(jnp.array(3 + 4j)))
    assert value.kind_u == Kind.SMOOTH
    np.testing.assert_allclose(value.du, 5, rtol=1e-6)


def test_conversions_to_truth_values_and_integers_jump():
    as_bool = reading(lambda u, x: x + u[0].astype(bool).astype(float))
    assert as_bool.kind_u == Kind.JUMPING
    assert as_bool.high == 2
    continuous = reading(lambda u, x: x + jnp.where(u.astype(bool), u, 0.0))
    assert continuous.kind_u < Kind.JUMPING
    small = reading(lambda u, x: jnp.round(jnp.tanh(u)).astype(jnp.int8).astype(float))
    assert small.kind_u == Kind.JUMPING
    assert 1 <= small.high <= 3
    # What does not fit into eight bits without a sign becomes something else.
    wrapped = reading(lambda u, x: jnp.round(jnp.tanh(u)).astype(jnp.uint8).astype(float))
    assert wrapped.high >= 255


@pytest.mark.parametrize(
    ("apply", "reason"),
    [
        (lambda u, x: x + (u.astype(int) | 2), "an operation on the bits of integers"),
        (lambda u, x: x + jax.lax.div(u.astype(int), 2), "a division of integers"),
        (lambda u, x: x + jnp.tanh(u) ** jnp.inf, "a power with an infinite exponent"),
    ],
)
def test_what_the_rules_for_real_numbers_do_not_cover_is_unknown(apply, reason):
    value = reading(apply)
    assert value.kind_u == Kind.UNKNOWN
    assert reason in value.reasons


def test_an_index_is_as_unknown_as_what_it_is_computed_from():
    place = lambda u: jnp.round(jax.scipy.special.digamma(u[0])).astype(int)
    value = reading(lambda u, x: x + jnp.arange(5.0)[place(u)])
    assert value.kind_u == Kind.UNKNOWN
    assert any("digamma" in reason for reason in value.reasons)


def test_a_loop_of_no_steps_is_read():
    def idle(u, x):
        last, rows = jax.lax.scan(lambda c, a: (c + a, c), u, jnp.zeros((0, 2)))
        return x + last + rows.sum(axis=0)

    value = reading(idle)
    assert (value.kind_u, value.du, value.norm) == (Kind.SMOOTH, 1, 3)


# --- jumps and poles in hiding ------------------------------------------------------------------


def gate(u, x):
    """A jump in one parameter that another one fades out."""
    return x + jnp.where(u[0] > 0, 1.0, 0.0) * jnp.exp(-(u[1] ** 2))


@pytest.mark.parametrize("radius", [None, 2.0, 1000.0])
def test_a_jump_that_another_parameter_hides_is_found(radius):
    report = check(gate, np.zeros(2), BALL, BALL, radius=radius)
    assert [report[name].verdict for name in ("A1", "A2", "A7")] == ["holds", "unknown", "unknown"]
    assert report.theorems[0].verdict == "unknown"


@pytest.mark.parametrize(
    "apply",
    [
        lambda u, x: x + jnp.where((1000 + jnp.tanh(u) ** 2).sum() > 2000.5, 1.0, 0.0),
        lambda u, x: x + jnp.where(u > 1500, 1.0, 0.0),
        lambda u, x: x + jnp.where(u < -1500, 1.0, 0.0) * x,
        lambda u, x: x + 1 / (u - 2000),
    ],
)
def test_what_may_happen_far_out_is_not_called_continuous(apply):
    assert reading(apply, radius=math.inf).kind_u >= Kind.JUMPING


def test_a_jump_outside_the_ball_is_no_obstacle_on_the_ball_and_one_elsewhere():
    step = lambda u, x: x + (u + jnp.where(u > 100, 1.0, 0.0))[None]
    report = check(step, np.zeros(2), ATOMS, ATOMS, radius=2.0)
    assert [report[name].verdict for name in ("A1", "A2", "A7")] == [
        "holds",
        "holds on the ball",
        "holds",
    ]
    assert [t.verdict for t in report.theorems] == ["applies with the cut-off", "applies"]
    assert check(step, np.zeros(2), ATOMS, ATOMS)["A2"].verdict == "unknown"
    pole = lambda u, x: x + jnp.where(1 / (u - 2000) > 0, 1.0, 0.0)[None]
    assert check(pole, np.zeros(2), ATOMS, ATOMS, radius=2.0)["A5"].verdict == "holds on the ball"


def test_what_is_found_on_a_part_is_true_of_the_whole():
    known = {"uses_u": True, "du": 1.0, "norm": 1.0}
    part = Value((1, 2), kind_u=Kind.JUMPING, reasons=frozenset(["a jump"]), **known)
    whole = Value((1, 2), kind_u=Kind.KINKED, numerical=frozenset(["kind"]), **known)
    laws = {"source_radius": 1.0, "target_radius": 1.0, "jump": 0.0, "order": 2.0}
    laws |= {"source_is_discrete": True, "target_is_discrete": True}
    facts = lambda ball, everywhere, is_given: Facts(
        ball, everywhere, 2.0, is_given, math.inf, None, **laws
    )
    assert facts(part, whole, False).kinds.kind_u == Kind.JUMPING
    assert facts(part, whole, False).kinds.reasons == {"a jump"}
    assert facts(whole, part, False).kinds.kind_u == Kind.JUMPING
    assert facts(whole, part, True).kinds.kind_u == Kind.KINKED
    assert not facts(whole, part, True).is_global


# --- parameters that SGD does not move ----------------------------------------------------------


def test_parameters_that_are_not_real_numbers_stay_as_they_are():
    params = {"w": np.ones(2, np.float32), "k": np.array([3, 3]), "key": jax.random.key(3)}
    apply = lambda u, x: u["k"][None] * (x + u["w"][None]) + jax.random.normal(u["key"], (1, 2))
    report = check(apply, params, BALL, BALL, radius=2.0, key=jax.random.key(0), num_samples=4)
    numbers = report.numbers
    assert numbers["num_params"] == 2
    np.testing.assert_allclose(numbers["params_norm"], math.sqrt(2), rtol=1e-6)
    # T = 3 x + 3 w + a constant.
    np.testing.assert_allclose(numbers["lipschitz_sampled"], 3 * math.sqrt(2), rtol=1e-5)
    assert numbers["lipschitz_u_bound"] >= 3 * (1 - 1e-6)
    step = lambda u, x: x + (u["k"] * jnp.where(u["w"][0] > 0, 1.0, 0.0))[None]
    jump = sample_jump(jax.random.key(1), step, params, ATOMS, 2.0)
    np.testing.assert_allclose(jump, 3 * math.sqrt(2), rtol=1e-5)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("params", [{}, {"k": np.array([1, 1])}, np.zeros(0, np.float32)])
def test_a_generator_without_parameters_is_refused(params, sampled):
    key = jax.random.key(0) if sampled else None
    with pytest.raises(ValueError, match="nothing that SGD could move"):
        check(lambda u, x: x, params, BALL, BALL, key=key)


def test_complex_parameters_are_refused():
    params = {"w": np.array([1 + 1j, 1])}
    with pytest.raises(TypeError, match=r"params\['w'\] has dtype complex128.*two arrays"):
        check(lambda u, x: jnp.real(u["w"] * x), params, BALL, BALL)
