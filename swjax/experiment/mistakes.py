"""What is wrong with a study, in words: place, value found, what is allowed, nearest name."""

import difflib
import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from swjax.experiment.pieces import OptaxScheme, scheme_tag


def explain(error: ValidationError, data: dict, kinds: dict[str, type[BaseModel]]) -> list[str]:
    """One line per mistake.

    Args:
        error: what the models found.
        data: the plain values that were validated.
        kinds: the study models by kind.

    Returns:
        Lines such as ``generator.featres: unknown key; did you mean 'features'? (known: kind,
        features)``.
    """
    lines = []
    for item in error.errors(include_url=False):
        if item["type"] == "inconsistent":
            lines += item["ctx"]["problems"]
            continue
        loc = item["loc"]
        path, model = _place(loc, data, kinds, item["type"] in ("missing", "extra_forbidden"))
        lines.append(f"{path}: {_sentence(item, model)}" if path else _sentence(item, model))
    return list(dict.fromkeys(lines))


def _sentence(item: Any, model: type[BaseModel] | None) -> str:
    kind, found, context = item["type"], item.get("input"), item.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(model.model_fields) if model else []
        return "unknown key" + _nearest(str(item["loc"][-1]), known)
    if kind == "missing":
        return "required, and not given"
    if kind == "union_tag_invalid":
        tags = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
        return f"unknown kind {context['tag']!r}" + _nearest(str(context["tag"]), tags)
    if kind == "union_tag_not_found":
        return f"needs a `kind`, got {_shown(found)}"
    if kind == "optax":
        return context["text"]
    message = item["msg"]
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "Expected `key: value` lines"
    elif kind == "tuple_type":
        message = "Expected a list"
    message = message[0].lower() + message[1:]
    return f"{message}, got {_shown(found)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return hint + (f" (known: {', '.join(known)})" if known else "")


def _place(
    loc: tuple, data: Any, kinds: dict[str, type[BaseModel]], names_a_key: bool
) -> tuple[str, type[BaseModel] | None]:
    """The path as the user wrote it, without union tags, and the model of its last parent."""
    model: Any = kinds.get(data.get("kind")) if isinstance(data.get("kind"), str) else None
    here: Any = data
    shown, parent = [], model
    for depth, step in enumerate(loc):
        last = names_a_key and depth == len(loc) - 1
        present = (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        )
        if not present and not last:
            continue  # the tag of a union: not in the file
        shown.append(str(step))
        parent = model
        here = here[step] if present else None  # pyrefly: ignore[unsupported-operation]
        model = _model_of(model, step, here)
    return ".".join(shown), parent if _is_model(parent) else None


def _model_of(model: Any, step: Any, value: Any) -> Any:
    """The model that reads `value`, found below `step` of `model`."""
    if _is_model(model):
        field = model.model_fields.get(step)
        annotation = field.annotation if field else None
    else:
        annotation = (typing.get_args(model) or (None,))[-1]
    return _chosen(annotation, value)


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _chosen(annotation: Any, value: Any) -> Any:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _chosen(typing.get_args(annotation)[0], value)
    if origin in (typing.Union, types.UnionType):
        options = [_chosen(a, value) for a in typing.get_args(annotation) if a is not type(None)]
        if len(options) == 1:
            return options[0]
        tag = value.get("kind") if isinstance(value, dict) else None
        for option in options:
            if option is OptaxScheme:
                if scheme_tag(value) == "optax":
                    return option
            elif _is_model(option):
                kind = option.model_fields.get("kind")
                if kind and tag in typing.get_args(kind.annotation):
                    return option
        return next((o for o in options if typing.get_origin(o) is dict), None)
    return annotation
