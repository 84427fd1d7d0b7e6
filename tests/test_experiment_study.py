"""A study file says what it means, and every mistake in it is named at once."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swjax.experiment.errors import StudyError
from swjax.experiment.optax_names import optax_optimizers
from swjax.experiment.strict_yaml import apply_overrides, parse_yaml, read_yaml, write_yaml
from swjax.experiment.study import json_schema, parse_study, plain, read_study

FLOW = """
name: translation
question: Does it?
kind: flow
seed: 0
repetitions: 128
horizon: 4.0
step_sizes: [0.2, 0.1, 5e-2, 0.025]
source: {kind: ball, dim: 2}
target: {kind: ball, dim: 2, shift: [1, 0]}
generator: {kind: translation}
loss: {batch_size: 32, num_directions: 1}
scheme: {kind: sgd}
initial: {kind: uniform_ball, radius: 1.0}
reference: {kind: closed_form}
record: {num_times: 200}
expect: {order: 0.5, tolerance: 0.05}
"""
TRAINING = {
    "kind": "training",
    "reference": None,
    "expect": None,
    "scheme": None,
    "arms": {"plain": {"kind": "sgd"}, "adam": {"kind": "adam", "args": {"b1": 0.8}}},
}


def flow(*overrides):
    return parse_study(apply_overrides(parse_yaml(FLOW), list(overrides)))


def training(**changes):
    data = {k: v for k, v in (parse_yaml(FLOW) | TRAINING | changes).items() if v is not None}
    return parse_study(data)


def mistakes(*overrides):
    with pytest.raises(StudyError) as caught:
        flow(*overrides)
    return caught.value.problems


# --- YAML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5E2", 500.0),
        (".5", 0.5),
        ("-7", -7),
        ("010", 10),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("0o17", "0o17"),
        ('"\\ud83d\\ude00"', "😀"),
        ("'1e-3'", "1e-3"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    read = parse_yaml(f"key: {text}")["key"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' is given twice"),
        ("{a: {b: 1, b: 2}}", "the key 'b' is given twice"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: [1, 2", "expected ',' or ']'"),
        ("1: a", "the key 1 is not a word"),
        ("a: " + 3000 * "[" + 3000 * "]", "values are nested too deeply"),
        ("a: " + 5000 * "1", "line 1, column 4: '111111111111...1111111111111' is not a whole"),
        ("a: !!float x", "line 1, column 4: 'x' is not a number"),
        ('a: "\\ud800x"', r"'\ud800x' is not text: it has half of a character"),
    ],
)
def test_yaml_that_could_be_misread_is_refused(text, message):
    with pytest.raises(StudyError, match="1 problem") as caught:
        parse_yaml(text)
    assert message in caught.value.problems[0]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("abcno", min_size=1), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_what_is_written_is_read_back_equal(value):
    assert parse_yaml(write_yaml({"key": value})) == {"key": value}


def test_words_that_look_like_numbers_stay_words():
    for word in ("1e-3", "no", "true", "null", "~", "", "010", "0x10", ".5", "=", "<<", "1:30"):
        assert parse_yaml(write_yaml({"key": word})) == {"key": word}


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029", "\ufeff"])
def test_marks_that_are_not_seen_are_read_back_equal(mark):
    for word in (mark, f"a{mark}", f"{mark}a", f"a{mark}b", f"a\n{mark}b: c"):
        assert parse_yaml(write_yaml({"key": word})) == {"key": word}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StudyError, match="there is no such file"):
        read_yaml(tmp_path / "nowhere.yaml")


# --- overrides ------------------------------------------------------------------------------------


def test_overrides_reach_keys_list_items_and_new_branches():
    data = {"loss": {"batch_size": 8}, "steps": [1, 2]}
    changed = apply_overrides(data, ["loss.batch_size=1e1", "steps.1=5", "a.b={c: [x]}"])
    assert changed == {"loss": {"batch_size": 10.0}, "steps": [1, 5], "a": {"b": {"c": ["x"]}}}
    assert data == {"loss": {"batch_size": 8}, "steps": [1, 2]}


def test_all_bad_overrides_are_reported_together():
    with pytest.raises(StudyError) as caught:
        flow("step_sizes.9=1", "loss", "name.x=3", "seed=[")
    assert len(caught.value.problems) == 4
    assert "'9' is not a position in a list of 4 (positions 0 to 3)" in caught.value.problems[0]
    assert "not of the form key=value" in caught.value.problems[1]
    assert "inside the plain value 'translation'" in caught.value.problems[2]
    assert caught.value.problems[3].startswith("seed: line 1, column 2: expected the node content")


@pytest.mark.parametrize(
    ("override", "is_cut"),
    [
        ("step_sizes=[0.1,", True),
        ("step_sizes=[0.1", True),
        ("scheme={kind:", True),
        ("scheme={kind: sgd", True),
        ("step_sizes=0.05]", False),
        ("step_sizes=[0.1, 0.05]]", False),
    ],
)
def test_a_value_that_the_shell_cut_at_a_space_is_to_be_quoted(override, is_cut):
    (problem,) = mistakes(override)
    assert problem.startswith(override.partition("=")[0])
    assert problem.endswith("quote the whole assignment if it contains spaces") == is_cut


# --- studies --------------------------------------------------------------------------------------


def test_a_study_written_out_is_the_same_study():
    for study in (flow(), training(), flow("record.path=true", "initial={kind: network}")):
        assert parse_study(parse_yaml(write_yaml(plain(study)))) == study


def test_whole_numbers_are_accepted_where_numbers_are_meant():
    assert flow("horizon=4").horizon == 4.0
    assert flow().target.shift == (1.0, 0.0)


def test_a_single_scheme_is_an_arm_named_after_its_kind():
    assert list(flow().schemes) == ["sgd"]
    assert list(training().schemes) == ["plain", "adam"]


def test_several_mistakes_are_reported_at_once_with_place_value_and_what_is_allowed():
    found = mistakes(
        "step_szes=[1]",
        "seed=true",
        "horizon=four",
        "step_sizes.0=-0.1",
        "step_sizes.1=fast",
        "generator={kind: mpl}",
        "scheme.radius=1",
        "loss.batchsize=3",
    )
    assert [line.split(":")[0] for line in found] == [
        "seed", "horizon", "step_sizes.0", "step_sizes.1", "generator", "loss.batchsize",
        "scheme.radius", "step_szes",
    ]  # fmt: skip
    text = "\n".join(found)
    assert "seed: input should be a valid integer, got True" in text
    assert "got 'four'" in text
    assert "step_sizes.0: input should be greater than 0, got -0.1" in text
    assert "unknown kind 'mpl'; did you mean 'mlp'? (known: translation, scale" in text
    assert "loss.batchsize: unknown key; did you mean 'batch_size'?" in text
    assert "scheme.radius: unknown key (known: kind, momentum)" in text
    assert "step_szes: unknown key; did you mean 'step_sizes'?" in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kind=flo", "unknown kind 'flo'; did you mean 'flow'?"),
        ("generator=mlp", "generator: expected `key: value` lines, got 'mlp'"),
        ("generator={kind: mlp, features: [3, 0]}", "generator.features.1: input should"),
        ("source.dim=2.5", "source.dim: input should be a valid integer, got 2.5"),
        ("loss.directions={kind: fixed}", "loss.directions.num: required, and not given"),
        ("step_sizes=0.1", "step_sizes: expected a list, got 0.1"),
        ("step_sizes=[]", "step_sizes: the list is empty"),
        ("step_sizes=[0.1, 0.1]", "step_sizes: a value is given twice"),
        ("step_sizes=[8.0, 1.0]", "horizon: 4.0 is shorter than the largest step size 8.0"),
        ("step_sizes=[.inf]", "step_sizes.0: input should be a finite number"),
        ("step_sizes=[1e-12]", "more than 2**31 steps"),
        ("scheme=null", "either one `scheme` or several named `arms`"),
        ("arms={a: {kind: sgd}}", "either one `scheme` or several named `arms`"),
        ("scheme={kind: projected_sgd, radius: -1}", "scheme.radius: input should be"),
        ("scheme={kind: noised_sgd, noise_std: -1}", "scheme.noise_std: input should be greater"),
        ("scheme={kind: adam}", "'adam' does not follow the gradient flow"),
        ("scheme={kind: sgd, momentum: 0.9}", "with momentum does not follow the gradient flow"),
        ("scheme={kind: projected_sgd, radius: 1}", "the closed form is that of the free flow"),
        ("loss.directions={kind: fixed, num: 4}", "needs p = 2 and uniform directions"),
        ("generator={kind: mlp, features: [4]}", "the closed forms are those of the generators"),
        ("reference={kind: population}", "give source and target `num_atoms: ...`"),
        ("record.loss={kind: population}", "or record the loss over draws"),
        ("repetitions=1", "repetitions: input should be greater than or equal to 2"),
        ("repetitions=99999999999999999999", "should be less than or equal to 2147483647"),
        ("loss.num_directions=3000000000", "should be less than or equal to 2147483647"),
        ("name=../up", "name: string should match pattern"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(override, message):
    assert any(message in line for line in mistakes(override)), mistakes(override)


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({"a": {"kind": "adm"}}, "arms.a: unknown scheme 'adm'; did you mean 'adam'?"),
        ({"a": {"kind": "adam", "args": {"b3": 1}}}, "optax.adam has no argument 'b3' (known: b1,"),
        ({"a": {"kind": "adam", "args": {"learning_rate": 1}}}, "no argument 'learning_rate'"),
        ({"a": {"kind": "noisy_sgd"}}, "unknown scheme 'noisy_sgd'; did you mean 'noised_sgd'?"),
        ({"sgd": {"kind": "sgd", "momntum": 1}}, "arms.sgd.momntum: unknown key; did you mean"),
        ({"b": {"kind": "projected_sgd"}}, "arms.b.radius: required, and not given"),
        ({"b": {"kind": 3}}, "arms.b: needs a `kind`, got {'kind': 3}"),
        (3, "arms: expected `key: value` lines, got 3"),
    ],
)
def test_mistakes_in_arms_are_named(arms, message):
    with pytest.raises(StudyError) as caught:
        training(arms=arms)
    assert any(message in line for line in caught.value.problems), caught.value.problems


def test_a_difference_is_expected_only_where_one_can_be_measured():
    with pytest.raises(StudyError) as caught:
        training(arms={"a": {"kind": "sgd"}}, expect={"relative_difference": 0.0, "tolerance": 0.1})
    assert len(caught.value.problems) == 2


def test_the_usual_optimizers_can_be_named():
    assert {"adam", "adamw", "rmsprop", "nadam", "lion", "adagrad"} <= set(optax_optimizers())


def test_a_file_that_is_no_study_is_refused(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n- 2\n")
    with pytest.raises(StudyError, match="a study is a list of `key: value` lines, got list"):
        read_study(path)
    path.write_text("a: &x [*x]")
    with pytest.raises(StudyError, match="refers to itself"):
        read_study(path)


def test_numbers_and_arrays_of_numpy_are_plain_values():
    data = parse_yaml(FLOW) | {
        "seed": np.int64(0),
        "horizon": np.float32(4.0),
        "step_sizes": np.array([0.2, 0.1, 0.05, 0.025]),
        "common_random_numbers": np.False_,
        "target": {"kind": "ball", "dim": np.int32(2), "shift": (np.float64(1.0), 0)},
    }
    assert parse_study(data) == flow()
    data["step_sizes"] = np.array([0.2, -0.1])
    with pytest.raises(StudyError, match=r"step_sizes\.1: input .* got -0.1"):
        parse_study(data)


@pytest.mark.parametrize("value", [{1, 2}, 1j, np.array([1j]), object(), b"1"])
def test_values_that_no_file_can_hold_are_refused(value):
    with pytest.raises(StudyError, match="1 problem\n.* is of type .*; a study holds words"):
        parse_study(parse_yaml(FLOW) | {"horizon": value})


def test_a_study_nested_without_end_is_refused():
    deep = [1]
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(StudyError, match="nested too deeply"):
        parse_study({"step_sizes": deep})


def test_the_schema_is_json_and_names_the_fields():
    text = json.dumps(json_schema())
    assert "step_sizes" in text
    assert "noised_projected_sgd" in text
