"""A study: the typed, validated content of one YAML file.

``read_study`` reads a file, ``parse_study`` plain values; both report every mistake at once. The
models are frozen, so that a study can be compared with the one a run folder was made from.
"""

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from swjax.experiment import flow_pieces, laws, pieces, stationary_pieces
from swjax.experiment.errors import StudyError
from swjax.experiment.exact_loss_checks import closed_form_problems, population_problems
from swjax.experiment.flow_checks import flow_problems
from swjax.experiment.mistakes import explain
from swjax.experiment.piece import Count, NonNegative, Piece, Positive, Several
from swjax.experiment.stationary_checks import stationarity_problems
from swjax.experiment.strict_yaml import apply_overrides, read_yaml

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]


class TrainingExpectation(Piece):
    """The relative difference of the final loss to the first arm, and the band around it."""

    relative_difference: float
    tolerance: Positive


class _Study(Piece):
    """What every study says, whatever its kind."""

    name: Name
    question: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    repetitions: Count
    horizon: Positive = Field(description="flow time: number of steps times step size")
    step_sizes: tuple[Positive, ...]
    common_random_numbers: bool = Field(
        False, description="the same draws in every arm and at every step size"
    )
    precision: Literal["float32", "float64"] = "float32"
    source: laws.Law
    target: laws.Law
    generator: pieces.Generator
    loss: pieces.Loss
    scheme: pieces.Scheme | None = None
    arms: dict[Name, pieces.Scheme] | None = None
    initial: pieces.Start
    record: pieces.Record

    @property
    def schemes(self) -> dict[str, Any]:
        """The schemes compared, by the name of their arm; a single one is named after its kind."""
        if self.arms is not None:
            return dict(self.arms)
        assert self.scheme is not None
        return {self.scheme.kind: self.scheme}

    @property
    def scheme_places(self) -> dict[str, Any]:
        """The schemes by the place where the study names them, for messages."""
        single = {"scheme": self.scheme} if self.scheme is not None else {}
        return single | {f"arms.{name}": scheme for name, scheme in (self.arms or {}).items()}

    def inconsistencies(self) -> list[str]:
        """What is wrong between the fields, each valid by itself."""
        found = []
        if (self.scheme is None) == (not self.arms):
            found.append(
                "scheme, arms: give either one `scheme` or several named `arms`, not both or none"
            )
        if len(set(self.step_sizes)) < len(self.step_sizes):
            found.append(f"step_sizes: a value is given twice in {list(self.step_sizes)}")
        if not self.step_sizes:
            found.append("step_sizes: the list is empty")
        if self.step_sizes and max(self.step_sizes) > self.horizon:
            found.append(
                f"horizon: {self.horizon} is shorter than the largest step size "
                f"{max(self.step_sizes)}; give a longer horizon or smaller step sizes"
            )
        if self.step_sizes and self.horizon / min(self.step_sizes) >= 2**31:
            found.append("step_sizes: more than 2**31 steps to the horizon; use larger steps")
        if self.record.piecewise_constant and not hasattr(self, "reference"):
            found.append(
                "record.piecewise_constant: the two interpolations are compared by their distance "
                "to a flow, in a study of kind 'flow' only"
            )
        for place, piece in (
            ("reference", getattr(self, "reference", None)),
            ("record.loss", self.record.loss),
        ):
            if piece is not None and piece.kind == "population":
                found += population_problems(self, place)
            if place == "record.loss" and piece is not None and piece.kind == "closed_form":
                found += closed_form_problems(self, place)
        return found

    @model_validator(mode="after")
    def _consistent(self) -> "_Study":
        found = self.inconsistencies()
        if found:
            raise PydanticCustomError(
                "inconsistent", "{text}", {"text": "; ".join(found), "problems": found}
            )
        return self


class FlowStudy(_Study):
    """Does interpolated SGD approach the gradient flow as steps shrink, and at what order?"""

    kind: Literal["flow"]
    repetitions: Several
    reference: flow_pieces.Reference
    expect: flow_pieces.FlowExpectation

    def inconsistencies(self) -> list[str]:
        """What is wrong between the fields, each valid by itself."""
        return super().inconsistencies() + flow_problems(self)


class TrainingStudy(_Study):
    """What do several schemes do to norms and loss, from the same starts and draws?"""

    kind: Literal["training"]
    expect: TrainingExpectation | None = None

    def inconsistencies(self) -> list[str]:
        """What is wrong between the fields, each valid by itself."""
        found = super().inconsistencies()
        if self.expect is not None and len(self.arms or {}) < 2:
            found.append("expect: a difference between arms needs at least two `arms`")
        if self.expect is not None and self.record.loss is None:
            found.append("expect: a difference in loss needs `record.loss`")
        return found


class StationarityStudy(_Study):
    """Where do long runs settle as steps shrink: at critical points, how near, how surely?

    The step size stays constant, as in the second theorem; records are iterates, not points of the
    segments between them.
    """

    kind: Literal["stationarity"]
    repetitions: Several
    burn_in: NonNegative = Field(description="flow time whose records are not used")
    critical_set: stationary_pieces.CriticalSetPiece
    expect: stationary_pieces.StationarityExpectation = stationary_pieces.StationarityExpectation()

    def inconsistencies(self) -> list[str]:
        """What is wrong between the fields, each valid by itself."""
        return super().inconsistencies() + stationarity_problems(self)


Study = FlowStudy | TrainingStudy | StationarityStudy
_KINDS: dict[str, type[BaseModel]] = {
    "flow": FlowStudy,
    "training": TrainingStudy,
    "stationarity": StationarityStudy,
}
_ADAPTER: TypeAdapter = TypeAdapter(Annotated[Study, Field(discriminator="kind")])


def parse_study(data: Any, source: str = "study") -> Study:
    """Validate plain values as a study.

    Args:
        data: what a YAML file holds.
        source: its name, for messages.

    Returns:
        The study, frozen.

    Raises:
        StudyError: with every mistake found.
    """
    if not isinstance(data, dict):
        raise StudyError(
            source, [f"a study is a list of `key: value` lines, got {type(data).__name__}"]
        )
    data = plain_values(data, source)
    try:
        return _ADAPTER.validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise StudyError(source, explain(error, data, _KINDS)) from None


def plain_values(data: Any, source: str = "study") -> Any:
    """The same values as a YAML file holds them: NumPy's numbers and arrays become plain ones.

    Raises:
        StudyError: a value is of a type that no file can hold.
    """
    try:
        return json.loads(json.dumps(data, default=_plain_value))
    except ValueError:
        raise StudyError(source, ["a value refers to itself"]) from None
    except TypeError as error:
        raise StudyError(source, [str(error)]) from None
    except RecursionError:
        raise StudyError(source, ["values are nested too deeply"]) from None


def _plain_value(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(
        f"{reprlib.repr(value)} is of type {type(value).__name__}; a study holds words, numbers, "
        "true and false, lists of these, and arrays of NumPy"
    )


def read_study(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read a study file, with ``key=value`` overrides.

    Args:
        path: the YAML file.
        overrides: assignments such as ``"loss.batch_size=64"`` or ``"step_sizes=[0.1, 0.05]"``.

    Returns:
        The study, frozen.

    Raises:
        StudyError: with every mistake found.
    """
    return parse_study(apply_overrides(read_yaml(path), overrides), str(path))


def plain(study: Study) -> dict:
    """The study as plain values, every default written out; ``parse_study`` reads it back equal."""
    data = _kind_first(json.loads(study.model_dump_json(exclude_none=True)))
    return {"name": data.pop("name"), "question": data.pop("question"), **data}


def _kind_first(value: Any) -> Any:
    if isinstance(value, dict):
        first = {"kind": value["kind"]} if "kind" in value else {}
        return first | {key: _kind_first(item) for key, item in value.items()}
    return [_kind_first(item) for item in value] if isinstance(value, list) else value


def json_schema() -> dict:
    """The JSON schema of a study file, for editors that check YAML while it is typed."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "swjax study",
    } | _ADAPTER.json_schema()
