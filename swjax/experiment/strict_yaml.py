"""YAML without its surprises: ``1e-3`` is a number, ``no`` is a word, a key is given once.

The scalars are those of the YAML 1.2 core schema, except that ``0x10`` and ``0o17`` are words.
PyYAML follows YAML 1.1, where ``1e-3`` is a string, ``no`` is false, ``1:30`` is ninety, ``010`` is
eight, and the last of two equal keys silently wins.
"""

import re
import reprlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from swjax.experiment.errors import StudyError


class _Loader(yaml.SafeLoader):
    """A safe loader with the resolver table of the YAML 1.2 core schema, decimal numbers only."""

    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not a word", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_RESOLVERS = [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.?[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
]
for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def _number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _text(text: str) -> str:
    """The same text, with characters that were written as two halves made whole."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


def _reader(read: Callable[[str], Any], wanted: str) -> Callable[[_Loader, yaml.ScalarNode], Any]:
    """Reads a scalar; text that it cannot read is a mistake with a place."""

    def construct(loader: _Loader, node: yaml.ScalarNode) -> Any:
        text = loader.construct_scalar(node)
        try:
            return read(text)
        except ValueError:
            raise yaml.constructor.ConstructorError(
                None, None, f"{reprlib.repr(text)} is not {wanted}", node.start_mark
            ) from None

    return construct


for _tag, _read, _wanted in (
    ("int", int, f"a whole number of at most {sys.get_int_max_str_digits()} digits"),
    ("float", _number, "a number"),
    ("str", _text, "text: it has half of a character; write the character itself"),
):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _reader(_read, _wanted))


def parse_yaml(text: str, source: str = "study") -> Any:
    """Read YAML text strictly.

    Args:
        text: the YAML document.
        source: its name, for messages.

    Returns:
        Plain Python values: dict, list, str, int, float, bool, None.

    Raises:
        StudyError: the text is not YAML, a key is repeated or is not a word, or a tag is used.

    Example:
        >>> parse_yaml("{rate: 1e-3, save: no}")
        {'rate': 0.001, 'save': 'no'}
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise StudyError(source, [f"{where}{error.problem or error.context}"]) from None
    except yaml.YAMLError as error:
        raise StudyError(source, [str(error).splitlines()[0]]) from None
    except RecursionError:
        raise StudyError(source, ["values are nested too deeply"]) from None


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file strictly; see ``parse_yaml``."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(str(path), ["there is no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(str(path), [f"cannot be read: {error}"]) from None
    return parse_yaml(text, str(path))


def write_yaml(data: Any) -> str:
    """Render plain values as YAML that ``parse_yaml`` reads back equal, keys in order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Writes words that YAML 1.1 or 1.2 readers could take for something else in quotes."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _represent_str(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = any(re.fullmatch(pattern, value) for _, pattern, _ in _RESOLVERS)
    style = '"' if "\x85" in value else "'" if plain else None  # \x85 breaks a line in YAML 1.1
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _represent_list(dumper: yaml.SafeDumper, value: list) -> yaml.SequenceNode:
    flat = not any(isinstance(item, dict | list) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


_Dumper.add_representer(str, _represent_str)
_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(list, _represent_list)


def apply_overrides(data: Any, overrides: Sequence[str]) -> Any:
    """Apply ``path.to.key=value`` assignments to plain values and return the changed copy.

    Parts of the path are keys, or positions in a list (``step_sizes.0=0.1``); the value is YAML.

    Args:
        data: what was read from the study file.
        overrides: the assignments, in order.

    Returns:
        A changed copy; ``data`` is left as it was.

    Raises:
        StudyError: an assignment has no ``=``, a position outside its list, or leads through a
        plain value; or there is no list of them.

    Example:
        >>> apply_overrides({"loss": {"p": 1}, "steps": [1, 2]}, ["loss.p=2", "steps.1=5"])
        {'loss': {'p': 2}, 'steps': [1, 5]}
    """
    if isinstance(overrides, str) or not isinstance(overrides, Sequence):
        raise StudyError(
            "overrides",
            [f"expected a list of assignments such as ['repetitions=4'], got {overrides!r}"],
        )
    problems = []
    for override in overrides:
        path, equals, text = str(override).partition("=")
        if not equals or not path.strip():
            problems.append(
                f"{override!r} is not of the form key=value, for instance loss.batch_size=32"
            )
            continue
        try:
            data = _assign(data, path.strip().split("."), parse_yaml(text, override), override)
        except StudyError as error:
            problems += [f"{path.strip()}: {each}{_hint(each)}" for each in error.problems]
        except LookupError as error:
            problems.append(str(error.args[0]))
    if problems:
        raise StudyError("overrides", problems)
    return data


def _hint(problem: str) -> str:
    """What to do about a list or mapping without its end, as the shell makes of one with spaces."""
    if "<stream end>" not in problem:
        return ""
    return "; quote the whole assignment if it contains spaces"


def _assign(data: Any, path: list[str], value: Any, override: str) -> Any:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(data, list):
        if not head.isdecimal() or int(head) >= len(data):
            raise LookupError(
                f"{override!r}: {head!r} is not a position in a list of {len(data)} "
                f"(positions 0 to {len(data) - 1})"
            )
        at = int(head)
        return [*data[:at], _assign(data[at], rest, value, override), *data[at + 1 :]]
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise LookupError(f"{override!r}: {head!r} looks for a key inside the plain value {data!r}")
    return {**data, head: _assign(data.get(head), rest, value, override)}
